/* One random cycle through all lines of a buffer: what chase follows.
 *
 * Pure; works on memory given to it. Built in two passes that can be cut into parts: every line
 * first points to itself, then Sattolo's exchanges (1986) from the last line down make the one
 * cycle; all (n-1)! cycles are equally likely. */
#ifndef HEAPMARK_WORKLOADS_PAGES_CYCLE_H
#define HEAPMARK_WORKLOADS_PAGES_CYCLE_H

#include <stdbool.h>
#include <stdint.h>

#define CYCLE_LINE_BYTES 64

struct cycle_line {
    struct cycle_line *next;
    uint64_t mark; /* used by cycle_verify() only */
    char rest[CYCLE_LINE_BYTES - sizeof(void *) - sizeof(uint64_t)];
};

void cycle_init(struct cycle_line *lines, uint64_t from, uint64_t to);
/* Exchanges number `from` to `to` of the `count` there are. *seed is carried on between parts. */
void cycle_mix(struct cycle_line *lines, uint64_t count, uint64_t from, uint64_t to,
               uint64_t *seed);

/* True when following `next` from any line visits all `count` lines once and comes back.
 * *ret_visited: how many lines the walk from line 0 saw before it ended. Hostile contents are
 * fine: a pointer out of the buffer or between lines ends the walk. */
bool cycle_verify(struct cycle_line *lines, uint64_t count, uint64_t *ret_visited);

#endif
