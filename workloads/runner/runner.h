/* heapmark-runner: one process, one allocator, one trial. What its files share.
 *
 * main.c   order of events          join.c   descriptors to mappings, the gate
 * load.c   dlopen and its proof     pin.c    CPUs and scheduling class
 * turns.c  the baton                threads.c the threads that share a turn
 * trial.c  what workloads call      heap.c   /proc figures      perf.c  kernel counters
 * stats.c  what the allocator says of itself
 *
 * Everything lives in one struct runner, owned by the main thread (thread 0 of the trial); what
 * other threads touch says so. Nothing here allocates from malloc: memory for harness data is
 * mapped shared, so that it never counts as the allocator's. */
#ifndef HEAPMARK_WORKLOADS_RUNNER_RUNNER_H
#define HEAPMARK_WORKLOADS_RUNNER_RUNNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/ring/ring.h"
#include "workloads/tape/tape.h"
#include "workloads/trial.h"

/* What the kernel counted for one thread since it started. */
struct perf_sample {
    uint64_t involuntary_switches, migrations, dtlb_misses;
};

struct perf_thread {
    int migrations_fd, dtlb_fd; /* -1: not available; migrations then come from sched_getcpu */
    uint64_t moved;             /* times the thread was found on another CPU than its own */
    uint16_t cpu;
};

enum crew_job { CREW_BUILD, CREW_STEP, CREW_SLICE, CREW_RUN, CREW_VERIFY, CREW_TEARDOWN };

/* One thread of the trial. Written by that thread during a job, read by the main thread after
 * the job; own cache lines, two since the prefetcher fetches pairs. */
struct crew_thread {
    _Alignas(128) struct runner *runner;
    pthread_t handle;
    uint32_t index;
    int result;
    uint64_t start_ns, end_ns; /* CLOCK_MONOTONIC of the measured part of CREW_SLICE */
    struct perf_sample gained; /* in the measured part */
    uint64_t cpu_left_ns;      /* its CPU clock when it last finished a slice; 0 before */
    uint64_t cpu_outside_ns;   /* CPU it used itself between slices: sleeping and waking up */
    struct perf_thread perf;
};

struct crew {
    uint32_t threads;
    enum crew_job job;
    uint64_t replay_ops, ops;
    /* Release by the main thread with job and ops written; acquire by workers. Futex. */
    _Alignas(128) _Atomic uint32_t generation;
    /* Workers done with the job (or, at start, ready): release by them, acquire by main. Futex. */
    _Alignas(128) _Atomic uint32_t arrived;
    /* The barrier: see threads.c. */
    _Alignas(128) _Atomic uint32_t barrier_count;
    _Alignas(128) _Atomic uint32_t barrier_generation;
    _Alignas(128) _Atomic uint32_t barrier_sleepers;
    struct crew_thread thread[RING_THREADS_MAX];
};

struct heap_state {
    uint64_t base_bytes; /* of the process with allocator and threads, before setup */
    uint64_t seen_bytes; /* highest heap_bytes so far */
};

/* Sums over the measured turns, main thread. */
struct turn_sums {
    uint64_t process_inside_ns, process_outside_ns, process_left_ns;
    uint64_t minor_faults, major_faults;
    uint64_t involuntary_switches, migrations, dtlb_misses;
    uint64_t ops; /* per thread */
    double *skew; /* by slice: how far apart the threads started, of its duration */
    uint32_t skews;
};

struct runner {
    uint32_t index;
    const struct ring_plan *plan;
    const struct ring_subject *subject;
    const struct ring_gate *gate;
    struct ring_page *page;                          /* own, writable */
    const struct ring_page *pages[RING_RUNNERS_MAX]; /* all, read-only */
    uint32_t slices_max;
    struct tape tape;
    struct trial trial;
    void *dl; /* the allocator, never closed */
    struct crew crew;
    struct heap_state heap;
    struct turn_sums sums;
    /* Failure of the trial: whoever moves it away from FAIL_NONE writes message, then releases
     * failure_told. Any thread. */
    _Atomic uint32_t failure;
    _Atomic bool failure_told;
    char message[256];
};

/* join.c. 0, or -errno with the failure recorded. Before the page is mapped there is nowhere to
 * record it but the log. */
int join_ring(struct runner *r);
/* Report `state` and wake whoever waits for it. */
void join_report(struct runner *r, enum runner_state state);
/* Wait for the gate: 1 go, 2 leave, or -EPROTO. */
int join_wait_gate(struct runner *r);

/* load.c */
int load_allocator(struct runner *r);

/* pin.c */
int pin_process(struct runner *r);                 /* scheduling class and page mode */
int pin_thread(struct runner *r, uint32_t thread); /* the calling thread, to its CPU of the plan */

/* threads.c */
int crew_start(struct runner *r);
/* All threads do `job` together; returns when they are done. 0 or the failure's -errno. */
int crew_do(struct runner *r, enum crew_job job, uint64_t replay_ops, uint64_t ops);
/* Let everybody out of the barrier: the trial has failed. Any thread. */
void crew_release(struct runner *r);
/* All threads meet. Whoever waits long sleeps, and then leaves later than the others. */
int crew_meet(struct runner *r);
/* The same twice: the second time nobody sleeps, so all leave together. */
int crew_barrier(struct runner *r);

/* turns.c */
int turns_run(struct runner *r);
/* Leave the ring for ever: own done word to RING_DROPPED, everybody woken. */
void turns_drop(struct runner *r);

/* heap.c */
int heap_base(struct runner *r);
/* After settle: is the heap backed by what the point asked for? 0 or the failure. */
int heap_check_pages(struct runner *r);

/* stats.c: the allocator's own figures and its purge call, where the workload lists them. Main
 * thread, after the kernel's figures of the same moment: the calls may allocate. */
void stats_steady(struct runner *r);
void stats_freed(struct runner *r);

/* perf.c: on the calling thread */
void perf_open(struct runner *r, struct crew_thread *t);
struct perf_sample perf_read(struct crew_thread *t);

/* trial.c */
bool trial_lists(const struct trial *t, enum metric_id metric);
int runner_fail(struct runner *r, enum runner_failure failure, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline bool runner_failed(struct runner *r)
{
    /* Acquire: partner of the compare-exchange in runner_fail(). */
    return atomic_load_explicit(&r->failure, memory_order_acquire) != FAIL_NONE;
}

/* futex.c: shared futexes; val is what the word must still hold. Spurious returns are normal. */
void futex_wait(const _Atomic uint32_t *word, uint32_t value, uint32_t bits);
void futex_wake(_Atomic uint32_t *word, uint32_t bits);
#define FUTEX_ALL UINT32_MAX

#endif
