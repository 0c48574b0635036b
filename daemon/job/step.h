/* Which cells a step of a plan runs, and how one of its runners failed, in words. */
#ifndef HEAPMARK_DAEMON_JOB_STEP_H
#define HEAPMARK_DAEMON_JOB_STEP_H

#include "daemon/executor/executor.h"
#include "daemon/job/job.h"

struct store_ring_new;

/* Fill cells and roles of the step that the ring's group and position name: a ring of reference,
 * reference again and one subject; or, from the position after the rings on, one trial: of each
 * cell, then of the reference again. */
void step_cells(const struct job_spec *spec, const struct job_plan *plan,
                struct store_ring_new *ring);

/* "crashed: signal 11 after 1 of 410 turns: message" */
void step_failure_text(const struct exec_runner_result *r, char *buf, size_t size);

#endif
