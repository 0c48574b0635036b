/* The heap that fork workloads copy: equal blocks from the allocator under test, every page
 * written. Runner only, thread 0. */
#ifndef HEAPMARK_WORKLOADS_FORK_FORK_HEAP_H
#define HEAPMARK_WORKLOADS_FORK_FORK_HEAP_H

#include <stdint.h>
#include <sys/types.h>

#include "workloads/trial.h"

enum { FORK_RSS, FORK_BLOCK, FORK_HEAP_PARAMS };

#define FORK_MIB (UINT64_C(1) << 20)

#define FORK_HEAP_ROWS                                                                     \
    [FORK_RSS] = PARAM_ROW_SIZE("rss_bytes", 64 * FORK_MIB, FORK_MIB, FORK_MIB * FORK_MIB, \
                                "Requested size of the heap at the time of the fork."),    \
    [FORK_BLOCK] = PARAM_ROW_SIZE("block_bytes", 4096, 64, 4 * FORK_MIB,                   \
                                  "Size of each block it is made of; the last one included.")

struct fork_heap {
    uint64_t blocks_count, block_bytes;
    char *blocks[]; /* in order of allocation; trial_shared memory: fork does not copy it */
};

/* Bytes of the param point: blocks_count x block_bytes. */
uint64_t fork_heap_bytes(const struct workload_point *point);

/* setup: room for the harness. run: the blocks; reports METRIC_HEAP_BYTES and METRIC_HUGE_BYTES and
 * fails unless the page mode is the one asked for: no huge page at all for 4k, at least half of
 * the heap for thp. For thp the kernel is first asked to collapse what it has not yet, as its
 * khugepaged would in time, so that the cell is about huge pages and not about who grows how. */
int fork_heap_setup(struct trial *t, struct fork_heap **ret);
int fork_heap_build(struct trial *t, struct fork_heap *h);
/* Every block still begins with what build wrote there. */
int fork_heap_verify(struct trial *t, const struct fork_heap *h);
void fork_heap_free(struct trial *t, struct fork_heap *h);

/* waitpid that survives EINTR: 0 when the child exited with 0, else the failure recorded. `what`:
 * what the child had to do. */
int fork_wait(struct trial *t, pid_t pid, const char *what);

#endif
