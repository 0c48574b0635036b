/* Where fork-cow writes: one byte in each of a list of different pages, in order of address.
 * Pure; works on memory given to it. */
#ifndef HEAPMARK_WORKLOADS_FORK_COW_TARGETS_H
#define HEAPMARK_WORKLOADS_FORK_COW_TARGETS_H

#include <stdint.h>

#include "workloads/fork/fork_heap.h"

#define COW_PAGE 4096u

/* How many places cow_targets() looks at: every `stride` bytes of the first `percent` of the heap,
 * its blocks taken as one row in order of allocation. At least 1. */
uint64_t cow_targets_max(uint64_t heap_bytes, uint64_t stride, uint64_t percent);

/* Writes up to cow_targets_max() addresses, ascending, no two in one page of 4 KiB, none within a
 * block's first 8 bytes. Returns the count: each is the first write of its page, so that writes
 * and pages written are one number. */
uint64_t cow_targets(const struct fork_heap *h, uint64_t stride, uint64_t percent,
                     unsigned char **targets);

/* What target `i` holds: before the fork (`after` 0) and after the writer wrote it (1). */
unsigned char cow_value(uint64_t i, unsigned after);

#endif
