/* The heap: its regions, its figures, and what the files of this directory call of each other.
 * Names ending in _locked, and everything of region.c, need the heap's lock. */
#ifndef HEAPMARK_ALLOCATORS_CLASSIC_HEAP_H
#define HEAPMARK_ALLOCATORS_CLASSIC_HEAP_H

#include <stdnoreturn.h>

#include "allocators/api/api.h"
#include "allocators/classic/block.h"
#include "allocators/common/classic.h"
#include "allocators/common/fault.h"
#include "allocators/common/large.h"
#include "allocators/common/lock.h"

#define REGION_MIN   ((size_t)1 << 20)
#define REGION_STEP  ((size_t)64 << 20) /* up to it the heap doubles, beyond it grows by 1/64 */
#define REGIONS_MAX  1024
#define REGION_EXTRA (2 * TAG_SIZE)      /* of a region that is no block; see region.c */
#define LARGE_MIN    ((size_t)256 << 10) /* blocks from here on are mappings of their own */

struct region {
    char *start;
    size_t size;
};

struct heap {
    struct lock lock;
    struct region regions[REGIONS_MAX]; /* by address */
    unsigned regions_count;
    unsigned regions_empty; /* wholly free ones: at most 1 between calls */
    size_t region_bytes;    /* of all regions */
    size_t free_bytes;      /* of all free blocks */
    size_t free_count;
    size_t used_count;
};

extern struct heap heap;

/* region.c */
struct region *region_of(const void *address); /* NULL: in none */
struct block *region_first(const struct region *region);
bool region_is_empty(const struct region *region); /* one free block and nothing else */
int region_add(size_t need); /* a new region with a free block of at least need; 0 or -ENOMEM */
void region_remove(struct region *region); /* its one free block must be out of the policy */

/* engine.c */
/* Make a block free: merge it with its neighbours, file it. Returns the free block it became. */
struct block *block_release(struct block *b);
/* Take a free block out of the policy and the figures. */
void block_unfile(struct block *b);

/* fault(), after leaving the lock, which must be held. */
noreturn void fault_locked(const char *call, const void *payload, const char *what);

#endif
