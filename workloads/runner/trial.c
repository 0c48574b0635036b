/* trial.h for workloads, apart from the heap figures in heap.c. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "workloads/runner/runner.h"

static int failure_errno(enum runner_failure failure)
{
    static const int numbers[FAIL_COUNT_] = {
        [FAIL_NONE] = EIO,
        [FAIL_PROTOCOL] = EPROTO,
        [FAIL_LOAD] = ELIBACC,
        [FAIL_IDENTITY] = EPERM,
        [FAIL_PIN] = EINVAL,
        [FAIL_PAGES_UNAVAILABLE] = EOPNOTSUPP,
        [FAIL_PAGES_UNSUPPORTED] = EOPNOTSUPP,
        [FAIL_ENOMEM] = ENOMEM,
        [FAIL_VERIFY] = EBADMSG,
        [FAIL_SYSTEM] = EIO,
    };
    return numbers[failure];
}

static int fail_with(struct runner *r, enum runner_failure failure, const char *fmt, va_list ap)
{
    uint32_t none = FAIL_NONE;
    /* Acquire-release: the first one to get here owns the message. */
    if (atomic_compare_exchange_strong_explicit(&r->failure, &none, (uint32_t)failure,
                                                memory_order_acq_rel, memory_order_acquire)) {
        vsnprintf(r->message, sizeof r->message, fmt, ap);
        atomic_store_explicit(&r->failure_told, true, memory_order_release);
        crew_release(r);
    }
    return -failure_errno(failure);
}

int runner_fail(struct runner *r, enum runner_failure failure, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int e = fail_with(r, failure, fmt, ap);
    va_end(ap);
    return e;
}

int trial_fail(struct trial *t, enum runner_failure failure, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int e = fail_with(t->owner, failure, fmt, ap);
    va_end(ap);
    return e;
}

void *trial_shared(struct trial *t, size_t size)
{
    (void)t;
    void *map = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

bool trial_lists(const struct trial *t, enum metric_id metric)
{
    for (unsigned i = 0; i < t->workload->metrics_count; i++)
        if (t->workload->metrics[i] == metric)
            return true;
    return false;
}

/* The metric's row in the page, a new one if need be; NULL when the table is full. */
static struct ring_metric *trial_row(struct ring_page *page, enum metric_id metric)
{
    for (uint32_t i = 0; i < page->metrics_count; i++)
        if (page->metrics[i].metric == (uint32_t)metric)
            return &page->metrics[i];
    return page->metrics_count < RING_METRICS_MAX ? &page->metrics[page->metrics_count++] : NULL;
}

void trial_metric(struct trial *t, enum metric_id metric, double value)
{
    struct runner *r = t->owner;
    struct ring_metric *row = trial_row(r->page, metric);
    if (row)
        *row = (struct ring_metric){.metric = (uint32_t)metric, .value = value};
    else
        (void)runner_fail(r, FAIL_SYSTEM, "more than %d metrics", RING_METRICS_MAX);
}

void trial_vector(struct trial *t, enum metric_id metric, const double *values, uint32_t count)
{
    struct runner *r = t->owner;
    struct ring_page *page = r->page;
    struct ring_metric *row = trial_row(page, metric);
    if (!row) {
        (void)runner_fail(r, FAIL_SYSTEM, "more than %d metrics", RING_METRICS_MAX);
        return;
    }
    /* A vector written again in its old length takes its old place. */
    const bool again = row->metric == (uint32_t)metric && row->vector_count == count;
    const uint32_t offset = again ? row->vector_offset : page->vector_count;
    if (count > RING_VECTOR_MAX || offset > RING_VECTOR_MAX - count) {
        (void)runner_fail(r, FAIL_SYSTEM, "vectors of more than %d values", RING_VECTOR_MAX);
        return;
    }
    memcpy(page->vectors + offset, values, count * sizeof *values);
    if (!again)
        page->vector_count = offset + count;
    *row = (struct ring_metric){
        .metric = (uint32_t)metric, .vector_offset = offset, .vector_count = count};
}

void trial_absent(struct trial *t, enum metric_id metric, const char *fmt, ...)
{
    struct runner *r = t->owner;
    struct ring_page *page = r->page;
    uint32_t i = 0;
    while (i < page->absent_count && page->absent[i].metric != (uint32_t)metric)
        i++;
    if (i == RING_ABSENT_MAX) {
        (void)runner_fail(r, FAIL_SYSTEM, "more than %d metrics are absent", RING_ABSENT_MAX);
        return;
    }
    if (i == page->absent_count)
        page->absent_count++;
    page->absent[i].metric = (uint32_t)metric;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(page->absent[i].reason, sizeof page->absent[i].reason, fmt, ap);
    va_end(ap);
}

int trial_barrier(struct trial *t)
{
    return crew_barrier(t->owner);
}
