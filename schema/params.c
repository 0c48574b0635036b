#include "schema/params.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

const char *param_type_name(enum param_type type)
{
    static const char *const names[] = {
        [PARAM_U64] = "integer", [PARAM_SIZE] = "size",    [PARAM_F64] = "number",
        [PARAM_ENUM] = "enum",   [PARAM_BOOL] = "boolean",
    };
    return names[type];
}

int param_find(const struct param_row *rows, size_t rows_count, const char *name)
{
    for (size_t i = 0; i < rows_count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

static int param_bad_choice(const struct param_row *row, const char *text, const char *field,
                            struct err *e)
{
    char list[256] = "";
    size_t used = 0;
    for (const char *const *c = row->choices; *c && used < sizeof list; c++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *c);
    return err_set(e, ERR_INVALID, field, "%s: \"%.64s\" is not one of %s", row->name, text, list);
}

int param_parse(const struct param_row *row, const char *text, const char *field,
                union param_value *ret_value, struct err *e)
{
    union param_value value = {0};
    char *end;
    int r = 0;
    if (!field)
        field = row->name;
    switch (row->type) {
    case PARAM_U64:
        r = text_parse_u64(text, &value.u);
        break;
    case PARAM_SIZE:
        r = text_parse_size(text, &value.u);
        break;
    case PARAM_F64:
        value.f = strtod(text, &end);
        r = *text && !*end ? 0 : -EINVAL;
        break;
    case PARAM_ENUM:
        for (const char *const *c = row->choices; *c; c++, value.u++)
            if (strcmp(*c, text) == 0) {
                *ret_value = value;
                return 0;
            }
        return param_bad_choice(row, text, field, e);
    case PARAM_BOOL:
        value.u = strcmp(text, "true") == 0;
        r = value.u || strcmp(text, "false") == 0 ? 0 : -EINVAL;
        break;
    }
    if (r < 0)
        return err_set(e, ERR_INVALID, field, "%s: \"%.64s\" is not a%s %s", row->name, text,
                       row->type == PARAM_U64 ? "n" : "", param_type_name(row->type));
    r = param_check(row, value, field, e);
    if (r < 0)
        return r;
    *ret_value = value;
    return 0;
}

int param_check(const struct param_row *row, union param_value value, const char *field,
                struct err *e)
{
    bool ok = true;
    size_t choices_count = 0;
    if (!field)
        field = row->name;
    switch (row->type) {
    case PARAM_U64:
    case PARAM_SIZE:
        ok = value.u >= row->min.u && value.u <= row->max.u;
        break;
    case PARAM_F64:
        ok = isfinite(value.f) && value.f >= row->min.f && value.f <= row->max.f;
        break;
    case PARAM_ENUM:
        while (row->choices[choices_count])
            choices_count++;
        ok = value.u < choices_count;
        break;
    case PARAM_BOOL:
        ok = value.u <= 1;
        break;
    }
    if (ok)
        return 0;
    if (row->type == PARAM_F64)
        return err_set(e, ERR_OUT_OF_RANGE, field, "%s: %g is outside %g to %g %s", row->name,
                       value.f, row->min.f, row->max.f, row->unit);
    return err_set(e, ERR_OUT_OF_RANGE, field, "%s: %llu is outside %llu to %llu %s", row->name,
                   (unsigned long long)value.u, (unsigned long long)row->min.u,
                   (unsigned long long)row->max.u, row->unit);
}

void param_format(const struct param_row *row, union param_value value, char buf[32])
{
    switch (row->type) {
    case PARAM_F64:
        snprintf(buf, 32, "%.15g", value.f);
        break;
    case PARAM_ENUM:
        snprintf(buf, 32, "%s", row->choices[value.u]);
        break;
    case PARAM_BOOL:
        snprintf(buf, 32, "%s", value.u ? "true" : "false");
        break;
    default:
        snprintf(buf, 32, "%llu", (unsigned long long)value.u);
    }
}

bool param_equal(const struct param_row *row, union param_value a, union param_value b)
{
    return row->type == PARAM_F64 ? !(a.f < b.f) && !(a.f > b.f) : a.u == b.u;
}

int param_key(const struct param_row *rows, size_t rows_count, const union param_value *values,
              char *buf, size_t buf_size)
{
    size_t used = 0;
    if (buf_size == 0)
        return -ENOSPC;
    buf[0] = '\0';
    for (size_t i = 0; i < rows_count; i++) {
        if (param_equal(&rows[i], values[i], rows[i].def))
            continue;
        char text[32];
        param_format(&rows[i], values[i], text);
        int n =
            snprintf(buf + used, buf_size - used, "%s%s=%s", used ? "," : "", rows[i].name, text);
        if (n < 0 || (size_t)n >= buf_size - used)
            return -ENOSPC;
        used += (size_t)n;
    }
    return (int)used;
}
