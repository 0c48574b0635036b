/* Shared memory of a ring: how runners take turns, and how results come back.
 *
 * Three kinds of memfd, all made and pre-faulted by the supervisor outside the trial cgroups:
 *   plan   one per ring, sealed: what to run and in which order. Read-only for everyone after.
 *   page   one per runner: its done word, stamps, slices, metrics. The runner maps its own page
 *          writable once, reports RUNNER_MAPPED, and then the supervisor adds
 *          F_SEAL_FUTURE_WRITE: nobody, the runner included, can map it writable again. The
 *          other runners and the node hold read-only descriptors.
 *   gate   one per ring, written by the supervisor only: the start word.
 *
 * A turn is one entry of plan->turns. Turn k belongs to one runner; it may start when turn k-1 is
 * done. A runner publishes "all my turns before k are over" by storing k in its page's `done`
 * word and waking the owner of the next turn, which waits on its predecessor's word through a
 * read-only mapping. Two runners can wait on one word at once (in A B C C B A, both C and A wait
 * for B after A's first turn), so waits and wakes carry a bit set, bit i for runner i
 * (FUTEX_WAIT_BITSET): the waker reaches the one whose turn it is and nobody else.
 *
 * When the supervisor drops a runner (dead, hung, over time) it first kills it, then stores
 * RING_DROPPED in its done word and wakes everybody there (FUTEX_WAKE, all bits). That is larger
 * than any turn, so every wait on it passes, and the next owner walks back to the last owner
 * still in the ring. A runner that fails by itself drops itself the same way.
 *
 * Everything a runner writes is a claim by an untrusted process: the node checks counts, bounds
 * and that each slice fits between its neighbours' stamps before believing any of it.
 *
 * A one-shot trial is a ring of one runner with one turn of phase RING_RUN. */
#ifndef HEAPMARK_WORKLOADS_RING_RING_H
#define HEAPMARK_WORKLOADS_RING_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/workload.h"

#define RING_MAGIC         0x676e697248u /* "HRing" */
#define RING_BUILD_ID_SIZE 64            /* version + hash of the wire headers, NUL-terminated */
#define RING_RUNNERS_MAX   3
#define RING_ROTATIONS_MAX 4096
#define RING_TURNS_MAX     (RING_RUNNERS_MAX * (RING_ROTATIONS_MAX + 64))
#define RING_THREADS_MAX   256
#define RING_METRICS_MAX   64
#define RING_VECTOR_MAX    4096 /* doubles in all vectors of one runner */
#define RING_OPTIONS_MAX   8
#define RING_ABSENT_MAX    16 /* metrics of one runner that say why they are absent */
#define RING_REASON_SIZE   124
#define RING_DROPPED       UINT32_MAX

enum ring_phase { RING_BUILD, RING_WARM, RING_MEASURE, RING_SETTLE, RING_RUN };

struct ring_turn {
    uint8_t runner;
    uint8_t phase; /* enum ring_phase */
    uint16_t part; /* BUILD and WARM are split into parts of equal share: part of parts */
    uint16_t parts;
    uint16_t rotation; /* MEASURE: index into slices */
};

/* How to reach one allocator: written by the supervisor from its own catalogue. Empty symbol name:
 * the allocator does not have that call. */
struct ring_symbols {
    char malloc_name[48], free_name[48], calloc_name[48], realloc_name[48];
    char aligned_alloc_name[48], usable_size_name[48];
    char adapter[16]; /* statistics and version adapter: "jemalloc", "tcmalloc", …, "" none */
};

struct ring_subject {
    char allocator[48]; /* catalogue name */
    uint8_t sha256[32]; /* of the file behind library_fd */
    uint64_t device, inode;
    int32_t library_fd; /* descriptor in the runner; -1: the C library the runner runs on */
    uint32_t flags;     /* RING_SUBJECT_* */
    struct ring_symbols symbols;
    struct workload_point point;
};
#define RING_SUBJECT_NULL    1u /* returns one block for every call: contents cannot be verified */
#define RING_SUBJECT_NO_FREE 2u /* never reuses memory */

struct ring_plan {
    uint64_t magic;
    char build_id[RING_BUILD_ID_SIZE];
    uint32_t workload; /* index into workloads[] */
    uint32_t runners_count;
    uint32_t turns_count;
    uint32_t rotations;
    uint64_t slice_ops;  /* per thread, per slice */
    uint64_t replay_ops; /* per thread, unmeasured, at the start of each measured turn */
    uint64_t warm_ops;   /* per thread, the whole fixed warm-up */
    uint64_t seed;
    uint64_t tape_bytes;  /* size of the tape memfd, 0 without */
    uint32_t sched_batch; /* 1: SCHED_BATCH */
    uint32_t log_bytes_max;
    uint16_t cpus[RING_THREADS_MAX]; /* CPU of thread i; threads above the point's are unused */
    struct ring_subject subjects[RING_RUNNERS_MAX];
    struct ring_turn turns[]; /* turns_count */
};

enum runner_state {
    RUNNER_STARTING,
    RUNNER_MAPPED, /* own page mapped; waits for the gate */
    RUNNER_READY,  /* allocator loaded and proved, threads pinned */
    RUNNER_RUNNING,
    RUNNER_FINISHED, /* all turns done, figures complete */
    RUNNER_FAILED,   /* failure and message say why */
};

/* Why a runner did not finish, by its own word or the supervisor's. */
enum runner_failure {
    FAIL_NONE,
    FAIL_PROTOCOL,          /* plan, descriptors or build id are not what they must be */
    FAIL_LOAD,              /* dlopen or a symbol failed */
    FAIL_IDENTITY,          /* a resolved symbol does not live in the hashed file */
    FAIL_PIN,               /* a CPU of the plan could not be used */
    FAIL_PAGES_UNAVAILABLE, /* the backing really obtained is not the one asked for */
    FAIL_PAGES_UNSUPPORTED, /* this allocator cannot use that page mode */
    FAIL_ENOMEM,            /* the allocator returned NULL */
    FAIL_VERIFY,            /* contents, counts or alignment wrong: the allocator is broken */
    FAIL_SYSTEM,            /* a system call of the harness failed */
    FAIL_COUNT_
};
const char *runner_failure_name(enum runner_failure failure); /* "pages_unavailable" */

struct ring_slice {
    uint64_t start_ns, end_ns; /* CLOCK_MONOTONIC: first thread's start, last thread's end */
    uint64_t ops;              /* per thread, as really done */
    uint32_t involuntary_switches, migrations;
};

struct ring_metric {
    uint32_t metric;                      /* enum metric_id */
    uint32_t vector_offset, vector_count; /* 0 for a plain value */
    uint32_t pad;
    double value;
};

/* A metric the workload lists and this trial has no value of, and why: one line. */
struct ring_absent {
    uint32_t metric; /* enum metric_id */
    char reason[RING_REASON_SIZE];
};

struct ring_page {
    _Atomic uint32_t done; /* futex. Release by its owner, acquire by waiters; see the top. */
    _Atomic uint32_t
        state;        /* futex, enum runner_state. Release by runner, acquire by supervisor. */
    uint32_t failure; /* enum runner_failure */
    uint32_t slices_count;
    uint32_t metrics_count;
    uint32_t vector_count;
    uint32_t absent_count;
    /* With RUNNER_FAILED: how far it came. Relaxed; ordered by the drop in `done`. */
    _Atomic uint32_t done_before_drop;
    uint64_t device, inode; /* of the map that holds every resolved symbol: the identity proof */
    char version[64];       /* by the allocator's own version call, "" if it has none */
    char message[256];      /* with failure: one line */
    struct ring_metric metrics[RING_METRICS_MAX];
    struct ring_absent absent[RING_ABSENT_MAX];
    double vectors[RING_VECTOR_MAX];
    struct ring_slice slices[]; /* plan->rotations */
};

struct ring_gate {
    _Atomic uint32_t start; /* futex. 0: wait, 1: go, 2: leave. Release by supervisor. */
};

static inline uint64_t ring_plan_size(uint32_t turns_count)
{
    return sizeof(struct ring_plan) + (uint64_t)turns_count * sizeof(struct ring_turn);
}

static inline uint64_t ring_page_size(uint32_t rotations)
{
    return sizeof(struct ring_page) + (uint64_t)rotations * sizeof(struct ring_slice);
}

/* The id that says "same build of both sides": version and a hash over the headers above. */
const char *ring_build_id(void);

/* Write the turn order into turns[capacity]: build and warm-up parts in turns, each part in a
 * random order of its own, then `rotations` (even number; odd rotations repeat the even one's
 * random permutation reversed, so every pair of runners forms ABBA), then one settle turn each.
 * Pure; permutations come from `seed` only. Returns the count, or -ENOSPC, -EINVAL. */
int ring_schedule(uint32_t runners_count, uint32_t rotations, uint32_t build_parts,
                  uint32_t warm_parts, uint64_t seed, struct ring_turn *turns, uint32_t capacity);

/* Structure check of a plan of `size` bytes that came from another process. 0 or -EPROTO. */
int ring_plan_check(const struct ring_plan *plan, uint64_t size);

/* Descriptors of a runner process, fixed numbers: set up by the supervisor before exec. */
enum ring_fd {
    RING_FD_PLAN = 3,
    RING_FD_GATE = 4,
    RING_FD_PAGE = 5,    /* own, read-write, closed after mapping */
    RING_FD_TAPE = 6,    /* sealed; absent when tape_bytes is 0 */
    RING_FD_LIBRARY = 7, /* the allocator, read-only; absent for the C library */
    RING_FD_OTHERS = 8,  /* 8, 9, 10: every runner's page, read-only, by runner index */
    RING_FD_COUNT_ = 11
};
/* argv of a runner: heapmark-runner INDEX. stderr is the log pipe, stdin and stdout /dev/null.
 * Environment: built from empty by the supervisor: GLIBC_TUNABLES for static TLS, the allocator's
 * allow-listed options, HEAPMARK_PAD of 0-4095 characters (layout sampling). */

/* Exit status of a runner. Anything else is a crash or a kill. */
enum runner_exit { RUNNER_EXIT_OK = 0, RUNNER_EXIT_FAILED = 10, RUNNER_EXIT_USAGE = 11 };

#endif
