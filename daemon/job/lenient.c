#include "daemon/job/lenient.h"

#include <stdint.h>

static int subject_lenient(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    const struct job_limits *limits = ctx;
    struct err why = {0};
    int r = limits->subject_check(limits->ctx, subject, field, &why);
    if (r < 0 && why.code == ERR_UNAVAILABLE)
        return 0;
    if (r < 0 && e)
        *e = why;
    return r;
}

static int pages_lenient(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    (void)ctx;
    (void)mode;
    (void)field;
    (void)e;
    return 0;
}

struct job_limits lenient_limits(const struct job_limits *limits)
{
    struct job_limits lenient = *limits;
    lenient.subject_check = subject_lenient;
    lenient.pages_check = pages_lenient;
    lenient.ctx = (void *)(uintptr_t)limits;
    return lenient;
}
