#include "daemon/job/job_field.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/base/text.h"

#define POINTER_MAX 160

static const char *pointer(char buf[POINTER_MAX], const char *at, const char *name)
{
    snprintf(buf, POINTER_MAX, "%.90s/%.60s", at, name);
    return buf;
}

int field_object(const json_t *json, const char *at, const char *const *known, struct err *e)
{
    if (!json_is_object(json))
        return err_set(e, ERR_INVALID, at, "%s: an object is needed", at);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k) {
            char where[POINTER_MAX];
            return err_set(e, ERR_UNKNOWN_NAME, pointer(where, at, key),
                           "unknown field \"%.60s\"; known here: %s, …", key, known[0]);
        }
    }
    return 0;
}

/* Where the first control character is, or `length`. Names and labels end in terminals, log lines
 * and headers, where such a byte is an instruction. */
static size_t text_control_at(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && (unsigned char)text[i] >= 0x20 && text[i] != 0x7f)
        i++;
    return i;
}

int field_text(const json_t *object, const char *at, const char *name, char *ret, size_t ret_size,
               struct err *e)
{
    char where[POINTER_MAX];
    const json_t *value = json_object_get(object, name);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return err_set(e, ERR_INVALID, pointer(where, at, name), "%s: text is needed", name);
    size_t bad = text_control_at(json_string_value(value), json_string_length(value));
    if (bad < json_string_length(value))
        return err_set(e, ERR_INVALID, pointer(where, at, name),
                       "%s: byte %zu is the control character 0x%02x; one line of plain text is "
                       "needed",
                       name, bad + 1, (unsigned char)json_string_value(value)[bad]);
    if (!text_copy(ret, ret_size, json_string_value(value)))
        return err_set(e, ERR_TOO_LARGE, pointer(where, at, name), "%s: %zu bytes, at most %zu",
                       name, json_string_length(value), ret_size - 1);
    return 0;
}

static int field_bounds(const char *where, const char *name, uint64_t value, uint64_t min,
                        uint64_t max, uint64_t *ret, struct err *e)
{
    if (value < min || value > max)
        return err_set(e, ERR_OUT_OF_RANGE, where, "%s: %llu is outside %llu to %llu", name,
                       (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
    *ret = value;
    return 0;
}

int field_u64(const json_t *object, const char *at, const char *name, uint64_t min, uint64_t max,
              uint64_t *ret, struct err *e)
{
    char where[POINTER_MAX];
    const json_t *value = json_object_get(object, name);
    if (!value)
        return 0;
    pointer(where, at, name);
    if (!json_is_integer(value))
        return err_set(e, ERR_INVALID, where, "%s: a whole number is needed", name);
    if (json_integer_value(value) < 0)
        return err_set(e, ERR_OUT_OF_RANGE, where, "%s: %lld is outside %llu to %llu", name,
                       (long long)json_integer_value(value), (unsigned long long)min,
                       (unsigned long long)max);
    return field_bounds(where, name, (uint64_t)json_integer_value(value), min, max, ret, e);
}

int field_u32(const json_t *object, const char *at, const char *name, uint32_t min, uint32_t max,
              uint32_t *ret, struct err *e)
{
    uint64_t value = *ret;
    int r = field_u64(object, at, name, min, max, &value, e);
    if (r == 0)
        *ret = (uint32_t)value;
    return r;
}

int field_size(const json_t *object, const char *at, const char *name, uint64_t min, uint64_t max,
               uint64_t *ret, struct err *e)
{
    char where[POINTER_MAX];
    const char *text = json_string_value(json_object_get(object, name));
    if (!text)
        return field_u64(object, at, name, min, max, ret, e);
    uint64_t value;
    pointer(where, at, name);
    if (text_parse_size(text, &value) < 0)
        return err_set(e, ERR_INVALID, where, "%s: \"%.32s\" is not a size such as 256MiB", name,
                       text);
    return field_bounds(where, name, value, min, max, ret, e);
}

int field_rotations(const json_t *object, const char *at, uint32_t *ret, struct err *e)
{
    char where[POINTER_MAX];
    int r = field_u32(object, at, "rotations", 2, RING_ROTATIONS_MAX, ret, e);
    if (r == 0 && *ret % 2 != 0)
        r = err_set(e, ERR_INVALID, pointer(where, at, "rotations"),
                    "rotations: %u is odd; every second rotation mirrors the one before", *ret);
    return r;
}

int field_time(const json_t *object, const char *at, const char *name, int64_t *ret_us,
               struct err *e)
{
    char where[POINTER_MAX];
    const json_t *value = json_object_get(object, name);
    if (!value)
        return 0;
    pointer(where, at, name);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret_us = json_integer_value(value);
        return 0;
    }
    struct tm tm = {0};
    const char *text = json_string_value(value);
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (rest && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!rest || strcmp(rest, "Z") != 0)
        return err_set(e, ERR_INVALID, where, "%s: UTC time such as 2026-01-31T12:00:00Z is needed",
                       name);
    *ret_us = (int64_t)timegm(&tm) * 1000000;
    return 0;
}
