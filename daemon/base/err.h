/* What a caller (finally: an HTTP client or a terminal) must see of a failure.
 *
 * A function that can fail for a reason a person can mend takes `struct err *` as its last
 * argument and fills it where the cause is known. It returns 0 or -errno; err_set() returns the
 * errno of the code, so `return err_set(...)` is the idiom. `e` may be NULL: then only the number
 * travels. HTTP status is not decided here but in daemon/http. */
#ifndef HEAPMARK_BASE_ERR_H
#define HEAPMARK_BASE_ERR_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>

enum err_code {
    ERR_NONE,
    ERR_MALFORMED,    /* not JSON, not UTF-8, not the grammar expected */
    ERR_INVALID,      /* well-formed, but a field is missing, of the wrong type or meaningless */
    ERR_OUT_OF_RANGE, /* the message names value and bounds */
    ERR_UNKNOWN_NAME, /* workload, allocator, parameter, field that does not exist */
    ERR_TOO_LARGE,    /* body, matrix, list over its bound; the message names the bound */
    ERR_NOT_FOUND,    /* no such job, token, page */
    ERR_CONFLICT,     /* state forbids it (already finished, key reused, locked) */
    ERR_UNAVAILABLE,  /* this host cannot: library, pages, controller missing; says what to do */
    ERR_LIMIT,        /* quota or queue bound reached; try later */
    ERR_NO_SPACE,     /* disk full or below the low-water mark */
    ERR_UNAUTHORIZED, /* no or wrong token */
    ERR_FORBIDDEN,    /* token lacks the scope, or configuration forbids it */
    ERR_INCOMPATIBLE, /* newer schema, other build of a helper program */
    ERR_IO,           /* the system failed us */
    ERR_CANCELLED,    /* asked to stop */
    ERR_INTERNAL,     /* a bug of ours */
    ERR_CODE_COUNT_
};

struct err {
    enum err_code code;
    char field[160];   /* JSON Pointer ("/params/threads") or configuration key; "" when none */
    char message[512]; /* one line: what, where, what to do */
};

/* Fill *e (if not NULL) and return the code's -errno, which is always negative: ERR_NONE, which
 * would say that nothing failed, becomes ERR_INTERNAL. `field` may be NULL. */
int err_set(struct err *e, enum err_code code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As err_set, with ": <strerror(errno_value)>" appended. Returns -errno_value (or, were that 0,
 * the code's). */
int err_set_errno(struct err *e, enum err_code code, int errno_value, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Callers see from the assertion that after an error `ret_` outputs are not read; compilers that
 * analyse one file at a time know it no other way. */
static inline int err_negative(int r)
{
    assert(r < 0);
    return r;
}
#define err_set(...)       err_negative(err_set(__VA_ARGS__))
#define err_set_errno(...) err_negative(err_set_errno(__VA_ARGS__))

/* The stable slug of a code ("out-of-range"), used in problem types; and back (ERR_NONE if none).
 */
const char *err_code_name(enum err_code code);
enum err_code err_code_parse(const char *name);

/* The -errno a code maps to. */
int err_code_errno(enum err_code code);

#endif
