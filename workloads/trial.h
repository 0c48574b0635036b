/* What a workload sees of the trial it runs in: the allocator under test, shared memory for its
 * own data, the tape, a place for figures. Implemented by workloads/runner; the daemon never has
 * a struct trial. */
#ifndef HEAPMARK_WORKLOADS_TRIAL_H
#define HEAPMARK_WORKLOADS_TRIAL_H

#include <stddef.h>
#include <stdint.h>

#include "workloads/ring/ring.h"
#include "workloads/workload.h"

struct alloc_api {
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    void *(*calloc)(size_t count, size_t size);            /* NULL where the allocator has none */
    void *(*realloc)(void *block, size_t size);            /* likewise */
    void *(*aligned_alloc)(size_t alignment, size_t size); /* likewise */
    size_t (*usable_size)(void *block);                    /* likewise */
    uint32_t flags;                                        /* RING_SUBJECT_* */
};

struct tape; /* workloads/tape/tape.h */

/* The metric rows of what the runner asks the allocator itself: listed by every workload whose
 * subjects are allocators. */
#define TRIAL_ALLOCATOR_METRICS                                                                \
    METRIC_ALLOCATOR_ALLOCATED_BYTES, METRIC_ALLOCATOR_COMMITTED_BYTES,                        \
        METRIC_ALLOCATOR_MAPPED_BYTES, METRIC_ALLOCATOR_ALLOCATED_AFTER_FREE_BYTES,            \
        METRIC_ALLOCATOR_COMMITTED_AFTER_FREE_BYTES, METRIC_ALLOCATOR_MAPPED_AFTER_FREE_BYTES, \
        METRIC_HEAP_AFTER_PURGE_BYTES

struct trial {
    const struct workload *workload;
    const struct workload_point *point;
    struct alloc_api alloc;
    const struct tape *tape; /* NULL for TAPE_NONE */
    uint64_t seed;
    uint32_t part, parts; /* build() with build_in_parts: which share of how many */
    void *state;          /* the workload's own, from trial_shared() in setup */
    struct runner *owner; /* the runner's, not the workload's */
};

/* Zeroed, pre-faulted, page-aligned memory that counts as RssShmem, never as heap. Lives until
 * the process ends. NULL when out of memory. Main thread only (setup). */
void *trial_shared(struct trial *t, size_t size);

/* Report one figure or a vector of them. Last write of a metric wins. Main thread, or thread 0
 * inside run/step. Full tables are a failure of the harness, reported as FAIL_SYSTEM. */
void trial_metric(struct trial *t, enum metric_id metric, double value);
void trial_vector(struct trial *t, enum metric_id metric, const double *values, uint32_t count);

/* Say why a metric the workload lists has no value in this trial; `fmt` becomes one line of less
 * than RING_REASON_SIZE bytes. Last word of a metric wins; where a value was reported as well, the
 * value stands. As trial_metric otherwise. */
void trial_absent(struct trial *t, enum metric_id metric, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Record why the trial cannot go on and return -errno of its class: `return trial_fail(...)`.
 * First call wins. Any thread. Fixed buffers, no malloc. */
int trial_fail(struct trial *t, enum runner_failure failure, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* All threads of the trial meet, and leave together however late one comes: whoever slept waiting
 * for it is awake again by then. Only inside run(). 0, or -ECANCELED when another thread failed and
 * will not come: return it at once. */
int trial_barrier(struct trial *t);

/* Heap of this process now: anonymous plus hugetlb memory, minus what an empty process of this
 * runner has (taken after the allocator was loaded and the threads were there, before setup).
 * Walks the page tables: 10-40 ms per GiB, exact; never in a slice. The runner itself reports
 * METRIC_HEAP_AFTER_FREE_BYTES after teardown where the workload lists it and did not. */
uint64_t trial_heap_bytes(struct trial *t);
/* The highest value seen so far by trial_heap_bytes and by the kernel's high-water mark. */
uint64_t trial_heap_peak_bytes(struct trial *t);

/* Sum of one numeric field of /proc/self/smaps_rollup in bytes ("Private_Dirty", "AnonHugePages",
 * "Private_Hugetlb", "Pss"); pid 0 is self. 0 and *ret, or -errno. Costs 10-40 ms per GiB. */
int trial_smaps_bytes(int pid, const char *field, uint64_t *ret_bytes);

#endif
