/* trial.h where there is no trial: the daemon and everything else that links workload descriptors
 * for their rows. The functions behind them run only in heapmark-runner, which has the real ones;
 * reaching this file is a bug. */
#include <stdio.h>
#include <stdlib.h>

#include "workloads/trial.h"

static _Noreturn void absent(const char *name)
{
    fprintf(stderr, "%s: workload functions run only in heapmark-runner\n", name);
    abort();
}

void *trial_shared(struct trial *t, size_t size)
{
    (void)t, (void)size;
    absent(__func__);
}

void trial_metric(struct trial *t, enum metric_id metric, double value)
{
    (void)t, (void)metric, (void)value;
    absent(__func__);
}

void trial_vector(struct trial *t, enum metric_id metric, const double *values, uint32_t count)
{
    (void)t, (void)metric, (void)values, (void)count;
    absent(__func__);
}

void trial_absent(struct trial *t, enum metric_id metric, const char *fmt, ...)
{
    (void)t, (void)metric, (void)fmt;
    absent(__func__);
}

int trial_fail(struct trial *t, enum runner_failure failure, const char *fmt, ...)
{
    (void)t, (void)failure, (void)fmt;
    absent(__func__);
}

int trial_barrier(struct trial *t)
{
    (void)t;
    absent(__func__);
}

uint64_t trial_heap_bytes(struct trial *t)
{
    (void)t;
    absent(__func__);
}

uint64_t trial_heap_peak_bytes(struct trial *t)
{
    (void)t;
    absent(__func__);
}

int trial_smaps_bytes(int pid, const char *field, uint64_t *ret_bytes)
{
    (void)pid, (void)field, (void)ret_bytes;
    absent(__func__);
}
