#include "daemon/api/writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/clock.h"

static void w_comma(struct writer *w)
{
    if (w->comma)
        http_text_add(&w->text, ",", 1);
    w->comma = true;
}

void w_begin(struct writer *w, char bracket)
{
    w_comma(w);
    http_text_add(&w->text, &bracket, 1);
    w->comma = false;
}

void w_open(struct writer *w, const char *key, char bracket)
{
    w_key(w, key);
    w_begin(w, bracket);
}

void w_end(struct writer *w, char bracket)
{
    http_text_add(&w->text, &bracket, 1);
    w->comma = true;
}

void w_key(struct writer *w, const char *key)
{
    w_comma(w);
    http_text_json(&w->text, key);
    http_text_add(&w->text, ":", 1);
    w->comma = false; /* the value follows without one */
}

void w_string(struct writer *w, const char *value)
{
    w_comma(w);
    if (value)
        http_text_json(&w->text, value);
    else
        http_text_puts(&w->text, "null");
}

void writer_format_number(double value, char buf[32])
{
    if (!isfinite(value)) {
        memcpy(buf, "null", 5);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, 32, "%.*g", digits, value);
        if (strtod(buf, NULL) == value)
            break;
    }
}

void w_number(struct writer *w, double value)
{
    char buf[32];
    writer_format_number(value, buf);
    w_comma(w);
    http_text_puts(&w->text, buf);
}

void w_integer(struct writer *w, int64_t value)
{
    w_comma(w);
    http_text_printf(&w->text, "%" PRId64, value);
}

void w_str(struct writer *w, const char *key, const char *value)
{
    w_key(w, key);
    w_string(w, value);
}

void w_str_or_null(struct writer *w, const char *key, const char *value)
{
    w_str(w, key, value && *value ? value : NULL);
}

void w_num(struct writer *w, const char *key, double value)
{
    w_key(w, key);
    w_number(w, value);
}

void w_int(struct writer *w, const char *key, int64_t value)
{
    w_key(w, key);
    w_integer(w, value);
}

void w_u64(struct writer *w, const char *key, uint64_t value)
{
    w_key(w, key);
    w_comma(w);
    http_text_printf(&w->text, "%" PRIu64, value);
}

void w_bool(struct writer *w, const char *key, bool value)
{
    w_raw(w, key, value ? "true" : "false");
}

void w_null(struct writer *w, const char *key)
{
    w_raw(w, key, "null");
}

void w_time(struct writer *w, const char *key, int64_t us)
{
    char buf[32];
    if (us)
        clock_format_utc(us, buf);
    w_str(w, key, us ? buf : NULL);
}

void w_raw(struct writer *w, const char *key, const char *json)
{
    w_key(w, key);
    w_comma(w);
    http_text_puts(&w->text, json);
}

void w_json(struct writer *w, const char *key, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(json);
    if (text)
        w_raw(w, key, text);
    else
        w->text.failed = true;
    free(text);
}

int w_reply(struct writer *w, struct http_reply *reply, struct err *e)
{
    if (w->text.failed)
        return err_set(e, ERR_IO, NULL, "out of memory");
    size_t size = w->text.size;
    char *text = take_ptr(w->text.data);
    w->text = (struct http_text){0};
    http_reply_take(reply, "application/json", text, size);
    return 0;
}
