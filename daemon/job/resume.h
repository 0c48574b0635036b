/* What a job's stored attempts say when it is continued: who may measure it on, which cells are not
 * tried again, and whether a step is settled. For run.c. */
#ifndef HEAPMARK_DAEMON_JOB_RESUME_H
#define HEAPMARK_DAEMON_JOB_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/err.h"

struct store;
struct store_job;
struct store_ring_new;
struct store_view;

/* 0, or ERR_INCOMPATIBLE: steps of this claimed job were measured by another build of the harness.
 * Results of two builds do not mix, and it would be summarised as this one's. */
int resume_check_build(const struct store_job *job, struct err *e);

/* By cell (cells_count of each): failures in a row, RUN_FAILURES_MAX when it is not to be tried
 * again; and whether that is for what this host or allocator does not have. Told from stored codes,
 * never from texts: those are a runner's own. Lost and discarded attempts say nothing. */
int resume_failures(struct store_view *view, int64_t job_id, uint32_t cells_count,
                    uint32_t *failures, bool *hopeless, struct err *e);

/* Whether the store has the last word on this step. False when it cannot be read. */
bool resume_settled(struct store *store, const struct store_ring_new *ring);

#endif
