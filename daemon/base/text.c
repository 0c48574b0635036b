#include "daemon/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool text_copy(char *dst, size_t dst_size, const char *src)
{
    int n = snprintf(dst, dst_size, "%s", src);
    return n >= 0 && (size_t)n < dst_size;
}

static int text_parse_digits(const char *text, uint64_t *ret_value, const char **ret_rest)
{
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno == ERANGE)
        return -ERANGE;
    *ret_value = value;
    *ret_rest = end;
    return 0;
}

int text_parse_u64(const char *text, uint64_t *ret_value)
{
    const char *rest;
    uint64_t value;
    int r = text_parse_digits(text, &value, &rest);
    if (r < 0)
        return r;
    if (*rest)
        return -EINVAL;
    *ret_value = value;
    return 0;
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"", 0},     {"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},
                 {"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40}};
    const char *rest;
    uint64_t value;
    int r = text_parse_digits(text, &value, &rest);
    if (r < 0)
        return r;
    while (*rest == ' ')
        rest++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(rest, units[i].suffix) != 0)
            continue;
        if (value > UINT64_MAX >> units[i].shift)
            return -ERANGE;
        *ret_bytes = value << units[i].shift;
        return 0;
    }
    return -EINVAL;
}

int text_kib_field(const char *text, const char *key, uint64_t *ret_bytes)
{
    const size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0 || line[length] != ':')
            continue;
        const char *at = line + length + 1;
        at += strspn(at, " \t");
        char *end;
        errno = 0;
        const uint64_t kib = strtoull(at, &end, 10);
        uint64_t bytes;
        if (!isdigit((unsigned char)*at) || errno != 0 || strncmp(end, " kB", 3) != 0 ||
            (end[3] != '\0' && end[3] != '\n') ||
            __builtin_mul_overflow(kib, UINT64_C(1024), &bytes))
            return -EPROTO;
        *ret_bytes = bytes;
        return 0;
    }
    return -ENOENT;
}

void text_format_size(uint64_t bytes, char buf[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    bool whole = value >= 100 || value == (double)(uint64_t)value;
    snprintf(buf, 24, whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

bool text_is_name(const char *text, size_t max_length)
{
    size_t n = strlen(text);
    if (n == 0 || n > max_length || !isalnum((unsigned char)text[0]))
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

void text_hex(const uint8_t *bytes, size_t bytes_count, char *ret_hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes_count; i++) {
        ret_hex[2 * i] = digits[bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_hex[2 * bytes_count] = '\0';
}

int text_unhex(const char *hex, uint8_t *ret_bytes, size_t bytes_count)
{
    if (strlen(hex) != 2 * bytes_count || strspn(hex, "0123456789abcdefABCDEF") != 2 * bytes_count)
        return -EINVAL;
    for (size_t i = 0; i < bytes_count; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        ret_bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return 0;
}
