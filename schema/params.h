/* Parameter rows: the one place where a parameter's name, type, unit, default, bounds and help
 * stand. Drives parsing, validation, OpenAPI, docs and the web form.
 * Pure; no allocation; any thread. */
#ifndef HEAPMARK_SCHEMA_PARAMS_H
#define HEAPMARK_SCHEMA_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/err.h"

#define PARAMS_MAX 16 /* rows of one workload */

enum param_type {
    PARAM_U64,  /* whole number */
    PARAM_SIZE, /* bytes; text form takes KiB, MiB, GiB */
    PARAM_F64,  /* real number */
    PARAM_ENUM, /* one of choices; the value is its index */
    PARAM_BOOL, /* 0 or 1 */
};

union param_value {
    uint64_t u; /* U64, SIZE, ENUM (index), BOOL */
    double f;   /* F64 */
};

struct param_row {
    const char *name; /* snake_case, unit last: "remote_pct", "size_min_bytes" */
    enum param_type type;
    const char *unit;                /* for people: "bytes", "%", "ops"; "" when none */
    const char *help;                /* one sentence for the form and the docs */
    union param_value def, min, max; /* min and max inclusive; ignored for ENUM and BOOL */
    const char *const *choices;      /* ENUM: NULL-terminated */
};

#define PARAM_ROW_U64(n, d, lo, hi, un, h)                                                        \
    {                                                                                             \
        .name = n, .type = PARAM_U64, .unit = un, .help = h, .def.u = d, .min.u = lo, .max.u = hi \
    }
#define PARAM_ROW_SIZE(n, d, lo, hi, h)                                                     \
    {                                                                                       \
        .name = n, .type = PARAM_SIZE, .unit = "bytes", .help = h, .def.u = d, .min.u = lo, \
        .max.u = hi                                                                         \
    }
#define PARAM_ROW_F64(n, d, lo, hi, un, h)                                                        \
    {                                                                                             \
        .name = n, .type = PARAM_F64, .unit = un, .help = h, .def.f = d, .min.f = lo, .max.f = hi \
    }
#define PARAM_ROW_ENUM(n, d, list, h)                                                     \
    {                                                                                     \
        .name = n, .type = PARAM_ENUM, .unit = "", .help = h, .def.u = d, .choices = list \
    }
#define PARAM_ROW_BOOL(n, d, h)                                                      \
    {                                                                                \
        .name = n, .type = PARAM_BOOL, .unit = "", .help = h, .def.u = d, .max.u = 1 \
    }

const char *param_type_name(enum param_type type);

/* Index of the row called `name`, or -ENOENT. */
int param_find(const struct param_row *rows, size_t rows_count, const char *name);

/* Text to value, checked against type and bounds. On failure e->message says value and bounds,
 * e->field is `field` (a JSON Pointer) if not NULL, else the row's name. */
int param_parse(const struct param_row *row, const char *text, const char *field,
                union param_value *ret_value, struct err *e);

/* Check a value already typed (from JSON) against bounds. Same errors. */
int param_check(const struct param_row *row, union param_value value, const char *field,
                struct err *e);

/* Canonical text of a value: decimal, choice name, true/false, %.17g shortened. buf of 32. */
void param_format(const struct param_row *row, union param_value value, char buf[32]);

bool param_equal(const struct param_row *row, union param_value a, union param_value b);

/* Canonical key of a parameter set, defaults omitted, rows in their order:
 * "live=1000,remote_pct=1". Empty when all are defaults. Returns length or -ENOSPC. */
int param_key(const struct param_row *rows, size_t rows_count, const union param_value *values,
              char *buf, size_t buf_size);

#endif
