#include "daemon/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int errno_value;
} codes[ERR_CODE_COUNT_] = {
    [ERR_NONE] = {"none", 0},
    [ERR_MALFORMED] = {"malformed", EBADMSG},
    [ERR_INVALID] = {"invalid", EINVAL},
    [ERR_OUT_OF_RANGE] = {"out-of-range", ERANGE},
    [ERR_UNKNOWN_NAME] = {"unknown-name", ENOKEY},
    [ERR_TOO_LARGE] = {"too-large", E2BIG},
    [ERR_NOT_FOUND] = {"not-found", ENOENT},
    [ERR_CONFLICT] = {"conflict", EBUSY},
    [ERR_UNAVAILABLE] = {"unavailable", EOPNOTSUPP},
    [ERR_LIMIT] = {"limit", EAGAIN},
    [ERR_NO_SPACE] = {"no-space", ENOSPC},
    [ERR_UNAUTHORIZED] = {"unauthorized", EACCES},
    [ERR_FORBIDDEN] = {"forbidden", EPERM},
    [ERR_INCOMPATIBLE] = {"incompatible", EPROTO},
    [ERR_IO] = {"io", EIO},
    [ERR_CANCELLED] = {"cancelled", ECANCELED},
    [ERR_INTERNAL] = {"internal", ENOTRECOVERABLE},
};

static void err_fill(struct err *e, enum err_code code, const char *field, const char *fmt,
                     va_list ap)
{
    e->code = code == ERR_NONE ? ERR_INTERNAL : code;
    snprintf(e->field, sizeof e->field, "%s", field ? field : "");
    vsnprintf(e->message, sizeof e->message, fmt, ap);
}

int(err_set)(struct err *e, enum err_code code, const char *field, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        err_fill(e, code, field, fmt, ap);
        va_end(ap);
    }
    return err_code_errno(code == ERR_NONE ? ERR_INTERNAL : code);
}

int(err_set_errno)(struct err *e, enum err_code code, int errno_value, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        err_fill(e, code, NULL, fmt, ap);
        va_end(ap);
        size_t used = strlen(e->message);
        char text[128];
        snprintf(e->message + used, sizeof e->message - used, ": %s",
                 strerror_r(errno_value, text, sizeof text));
    }
    return errno_value > 0 ? -errno_value : err_code_errno(code == ERR_NONE ? ERR_INTERNAL : code);
}

const char *err_code_name(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT_ ? codes[code].name : "internal";
}

enum err_code err_code_parse(const char *name)
{
    for (unsigned i = 0; i < ERR_CODE_COUNT_; i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum err_code)i;
    return ERR_NONE;
}

int err_code_errno(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT_ ? -codes[code].errno_value : -ENOTRECOVERABLE;
}
