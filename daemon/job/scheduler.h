/* The scheduler: one thread that claims jobs, runs their rings and blocks through an executor,
 * stores what comes back and publishes progress. One job at a time on this host. */
#ifndef HEAPMARK_DAEMON_JOB_SCHEDULER_H
#define HEAPMARK_DAEMON_JOB_SCHEDULER_H

#include "daemon/executor/executor.h"
#include "daemon/job/events.h"
#include "daemon/job/job.h"

struct store;
struct scheduler;

struct scheduler_config {
    struct store *store;       /* borrowed */
    struct executor *executor; /* borrowed */
    struct events *events;     /* borrowed */
    const struct job_limits *limits;
    /* The key of this host as its knobs stand now; asked before a job is claimed, when nothing
     * runs. Stores the host's facts under it when it is a new one. 0 or -errno with *e. */
    int (*host_key)(void *ctx, char ret_key[65], struct err *e);
    void *host_ctx;
    uint32_t attempts_max; /* of one ring, and claims of one job; default 3 */
};

int scheduler_start(const struct scheduler_config *config, struct scheduler **ret, struct err *e);

/* A job was stored, or is waiting since before the start. Any thread; never blocks. */
void scheduler_wake(struct scheduler *s);

/* Stop the running job if it is this one (the store already says cancel_requested). Any thread. */
void scheduler_cancel(struct scheduler *s, const char *job_uuid);

/* Break the running ring off, also while scheduler_stop() drains. Any thread. */
void scheduler_interrupt(struct scheduler *s);

/* Let the running ring end (drain) or break it off, then join the thread. An interrupted job goes
 * back to queued and continues at the next start with the rings it lacks. */
void scheduler_stop(struct scheduler *s, bool drain);
void scheduler_free(struct scheduler *s); /* after scheduler_stop */

#endif
