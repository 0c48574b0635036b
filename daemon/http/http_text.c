/* Growing text for bodies: one buffer that doubles; errors are remembered, not returned. */
#include "daemon/http/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool text_room(struct http_text *text, size_t more)
{
    if (text->failed)
        return false;
    size_t need;
    if (__builtin_add_overflow(text->size, more, &need) || __builtin_add_overflow(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity : 512;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void http_text_add(struct http_text *text, const void *data, size_t size)
{
    if (!text_room(text, size))
        return;
    memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void http_text_puts(struct http_text *text, const char *string)
{
    http_text_add(text, string, strlen(string));
}

void http_text_printf(struct http_text *text, const char *fmt, ...)
{
    char buf[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof buf)
        text->failed = true; /* every caller formats numbers and short names */
    else
        http_text_add(text, buf, (size_t)n);
}

void http_text_json(struct http_text *text, const char *string)
{
    http_text_add(text, "\"", 1);
    const char *from = string;
    for (const char *p = string;; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        http_text_add(text, from, (size_t)(p - from));
        if (!c)
            break;
        if (c == '"' || c == '\\')
            http_text_printf(text, "\\%c", c);
        else
            http_text_printf(text, "\\u%04x", c);
        from = p + 1;
    }
    http_text_add(text, "\"", 1);
}

void http_text_done(struct http_text *text)
{
    free(text->data);
    *text = (struct http_text){0};
}
