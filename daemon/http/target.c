#include "daemon/http/target.h"

#include <string.h>

bool target_is_utf8(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        unsigned more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
        if (*p < 0xc2 || *p > 0xf4)
            return false;
        /* The second byte excludes overlong forms, surrogates and what is above U+10FFFF. */
        unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
        unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
        if (p[1] < low || p[1] > high)
            return false;
        for (unsigned i = 2; i <= more; i++)
            if (p[i] < 0x80 || p[i] > 0xbf)
                return false;
        p += more + 1;
    }
    return true;
}

/* RFC 3986: unreserved, sub-delims, and what path and query add. */
static bool target_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~!$&'()*+,;=:@/?%", c));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decode in place. A slash must come as itself: "%2f" would move a segment's border. */
static int target_decode(char *text, bool is_query, struct err *e)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        char c = *p;
        if (c == '%') {
            int high = hex_digit(p[1]);
            int low = high < 0 ? -1 : hex_digit(p[2]);
            if (low < 0)
                return err_set(e, ERR_MALFORMED, NULL, "broken %%-escape in the URL");
            c = (char)(high * 16 + low);
            p += 2;
            if ((unsigned char)c < 0x20 || c == 0x7f)
                return err_set(e, ERR_MALFORMED, NULL, "control character in the URL");
            if (!is_query && (c == '/' || c == '\\'))
                return err_set(e, ERR_MALFORMED, NULL, "escaped slash in the path");
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        *out++ = c;
    }
    *out = '\0';
    return target_is_utf8(text) ? 0 : err_set(e, ERR_MALFORMED, NULL, "the URL is not UTF-8");
}

static int path_check(const char *path, struct err *e)
{
    if (strcmp(path, "/") == 0)
        return 0;
    for (const char *segment = path; segment;) {
        segment++; /* the slash */
        const char *end = strchr(segment, '/');
        size_t size = end ? (size_t)(end - segment) : strlen(segment);
        if (size == 0 || (size == 1 && segment[0] == '.') ||
            (size == 2 && segment[0] == '.' && segment[1] == '.'))
            return err_set(e, ERR_MALFORMED, NULL, "empty, \".\" or \"..\" segment in the path");
        segment = end;
    }
    return 0;
}

static int query_add(struct target *t, const char *name, const char *value, struct err *e)
{
    if (!*name)
        return err_set(e, ERR_MALFORMED, NULL, "query parameter without a name");
    for (unsigned i = 0; i < t->query_count; i++)
        if (strcmp(t->query[i].name, name) == 0)
            return err_set(e, ERR_MALFORMED, NULL, "query parameter given twice: %.64s", name);
    if (t->query_count == HTTP_QUERY_MAX)
        return err_set(e, ERR_TOO_LARGE, NULL, "more than %d query parameters", HTTP_QUERY_MAX);
    t->query[t->query_count++] = (struct http_query_value){.name = name, .value = value};
    return 0;
}

static int query_parse(char *text, struct target *t, struct err *e)
{
    while (text && *text) {
        char *end = strchr(text, '&');
        if (end)
            *end++ = '\0';
        char *value = strchr(text, '=');
        if (value)
            *value++ = '\0';
        else
            value = text + strlen(text);
        int r = target_decode(text, true, e);
        if (r == 0)
            r = target_decode(value, true, e);
        if (r == 0)
            r = query_add(t, text, value, e);
        if (r < 0)
            return r;
        text = end;
    }
    return 0;
}

int target_parse(const char *raw, char *buf, struct target *ret, struct err *e)
{
    struct target t = {.path = buf};
    if (raw[0] != '/')
        return err_set(e, ERR_MALFORMED, NULL, "the request target must be a path");
    size_t size = strlen(raw);
    if (size > HTTP_TARGET_MAX)
        return err_set(e, ERR_TOO_LARGE, NULL, "request target longer than %d bytes",
                       HTTP_TARGET_MAX);
    for (size_t i = 0; i < size; i++)
        if (!target_char(raw[i]))
            return err_set(e, ERR_MALFORMED, NULL, "character that no URL can have");
    memcpy(buf, raw, size + 1);
    char *query = strchr(buf, '?');
    if (query)
        *query++ = '\0';
    int r = target_decode(t.path, false, e);
    if (r == 0)
        r = path_check(t.path, e);
    if (r == 0)
        r = query_parse(query, &t, e);
    if (r == 0)
        *ret = t;
    return r;
}
