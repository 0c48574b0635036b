/* The executor interface: run one ring (steady workload) or one trial (one-shot) somewhere and
 * bring back checked results. The scheduler knows nothing of where or how.
 *
 * Two implementations are foreseen: `local` (daemon/executor/local.c: node code in this process
 * and the supervisor beside it) and later `slurm` (the same node code on another host). Requests
 * carry a placement policy, never CPU numbers: those exist only on the host that measures. */
#ifndef HEAPMARK_DAEMON_EXECUTOR_EXECUTOR_H
#define HEAPMARK_DAEMON_EXECUTOR_EXECUTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/err.h"
#include "schema/wire.h"

#define EXEC_LOG_MAX 4096

enum placement {
    PLACE_COMPACT,      /* fill cores near each other; SMT siblings only when cores run out */
    PLACE_SCATTER,      /* spread over packages and L3 groups */
    PLACE_ONE_PER_CORE, /* as compact, but refuse more threads than physical cores */
    PLACE_ONE_PER_L3,   /* refuse more threads than L3 caches */
    PLACE_NUMA_LOCAL, /* all threads and memory on one NUMA node; refuse if it has too few cores */
    PLACE_EXPLICIT,   /* the job's cpuset, in its order */
    PLACE_COUNT_
};
const char *placement_name(enum placement placement);
int placement_parse(const char *name); /* or -ENOENT */

enum exec_role { ROLE_REFERENCE, ROLE_CONTROL /* reference again: A/A */, ROLE_SUBJECT };

struct exec_subject {
    enum exec_role role;
    char allocator[48];
    char options[RING_OPTIONS_MAX][32];
    struct workload_point point;
};

struct exec_request {
    char attempt[37]; /* UUID of the attempt row */
    const struct workload *workload;
    uint32_t subjects_count; /* 1 for a one-shot trial, up to RING_RUNNERS_MAX in a ring */
    struct exec_subject subjects[RING_RUNNERS_MAX];
    uint64_t seed;      /* of the schedule and the layout of this ring */
    uint64_t tape_seed; /* of the tape: the same for all rings of one repetition */
    uint32_t rotations; /* even; 0 for one-shot */
    /* Operations of one thread: measured in a slice, unmeasured before each, warm-up. */
    uint64_t slice_ops, replay_ops, warm_ops;
    uint64_t memory_limit_bytes; /* per runner, 0 none */
    bool memory_require;
    uint64_t prefault_bytes; /* planned peak of a one-shot trial, to be backed before; 0: none */
    enum placement placement;
    char cpuset[256]; /* PLACE_EXPLICIT: "0-3,8" */
    uint32_t turn_ms_max, wall_ms_max;
};

struct exec_metric {
    enum metric_id metric;
    double value;
    uint32_t vector_count; /* 0 plain; else vector holds the values */
    double *vector;        /* owned by the result */
};

/* A metric without a value, and why: one line, escaped. */
struct exec_absent {
    enum metric_id metric;
    char reason[RING_REASON_SIZE];
};

struct exec_runner_result {
    enum wire_outcome outcome;
    enum runner_failure failure;
    int exit_status, signal;
    uint32_t turns_done, turns_total; /* how far */
    char message[256];                /* one line, control characters escaped */
    char log[EXEC_LOG_MAX];           /* what it wrote on stderr, escaped, cut */
    char sha256[65];                  /* proved identity: the file every symbol came from */
    char version[64];
    char library_path[256];
    uint32_t isolation;
    struct ring_slice *slices; /* checked, slices_count of them; owned by the result */
    uint32_t slices_count;
    struct exec_metric metrics[RING_METRICS_MAX + 16]; /* runner's and supervisor's */
    uint32_t metrics_count;
    struct exec_absent absent[RING_ABSENT_MAX]; /* a value of the same metric wins */
    uint32_t absent_count;
};

struct exec_result {
    uint32_t runners_count;
    struct exec_runner_result runners[RING_RUNNERS_MAX];
    struct ring_turn *turns; /* the order really used; owned */
    uint32_t turns_count;
    uint16_t cpus[RING_THREADS_MAX]; /* where threads ran */
    uint32_t cpus_count;
    bool housekeeping;                /* false: no CPU was left for the daemon beside the threads */
    uint64_t started_us, finished_us; /* realtime */
    double steal_ratio, psi_cpu_ratio; /* of the ring's wall time, all CPUs used */
    uint64_t migrations;
    bool discard; /* whole ring, blind to its values: steal or migration over the bound */
    char discard_reason[96];
};

struct executor {
    const char *name; /* "local" */
    /* Blocks until the ring is over. 0: *ret holds results, failed runners included. Negative:
     * nothing was measured and e says why (UNAVAILABLE: retrying cannot help; IO: lost, retry;
     * CANCELLED). `cancel` may be set by another thread at any time (relaxed; polled). */
    int (*run)(struct executor *x, const struct exec_request *request, const _Atomic bool *cancel,
               struct exec_result *ret, struct err *e);
    void (*free)(struct executor *x);
};

void exec_result_done(struct exec_result *result);

#endif
