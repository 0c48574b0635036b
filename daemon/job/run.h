/* Running one job: every step it still lacks, in an order that interleaves all cells. Called by
 * the scheduler's thread only. */
#ifndef HEAPMARK_DAEMON_JOB_RUN_H
#define HEAPMARK_DAEMON_JOB_RUN_H

#include <stdatomic.h>

#include "daemon/executor/executor.h"
#include "daemon/job/events.h"
#include "daemon/job/job.h"

struct store;
struct store_job;
struct scheduler;

#define RUN_DISCARDS_MAX 3 /* attempts of one step thrown away for noise before it is given up */
#define RUN_FAILURES_MAX 3 /* failures of one cell in a row before its rest is not tried */
#define RUN_READS_MAX    5 /* tries to read what the rings stored, a second apart */

struct run_config {
    struct scheduler *scheduler;
    struct store *store;
    struct executor *executor;
    struct events *events;
    const struct job_limits *limits;
    const char *host_key;
    uint32_t attempts_max;
    const _Atomic bool *interrupt;
};

/* 0: every cell has a result (or could not have one here, and says so); -EINTR: asked to end,
 * unfinished; else failed, with a summary of what has no result in *why. */
int run_job(const struct run_config *config, const struct store_job *job, struct err *why);

/* Implemented by the scheduler: stop between steps? Any thread. */
bool scheduler_should_end(struct scheduler *s);

#endif
