/* The buddy system: blocks of 2^order units, split in halves on allocation and merged with the
 * other half, the buddy, on release (Knowlton, "A Fast Storage Allocator", CACM 8(10), 1965;
 * Knuth, The Art of Computer Programming, vol. 1, 2.5).
 *
 * Compiled twice: with a unit of 32 bytes it is the whole of libhm_classic_buddy.so, with a unit
 * of 4096 bytes the page allocator below libhm_classic_slub.so, as in the kernel.
 *
 *   arena, 2 MiB, aligned to its size                              map, out of band
 *   +---------------+-------+-------+-------------------------+    one byte per unit:
 *   | order 3, used | 2 free| 2 used| order 4, free ...       |    the block that starts here,
 *   +---------------+-------+-------+-------------------------+    or 0 inside of a block
 *   unit 0          8       12      16
 *
 * A block of order k starts at a multiple of 2^k units, so every block is aligned to its size, and
 * its buddy is found by flipping one bit of its index: unit ^ (1 << k).
 *
 * One heap, one lock. Names ending in _locked need it; the others take it themselves. */
#ifndef HEAPMARK_ALLOCATORS_BUDDY_BUDDY_H
#define HEAPMARK_ALLOCATORS_BUDDY_BUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/common/lock.h"

#ifndef BUDDY_UNIT_SHIFT
#define BUDDY_UNIT_SHIFT 5
#endif
/* Zeroed bytes of its own that the layer above gets for each unit, out of band. */
#ifndef BUDDY_DESCRIPTOR_SIZE
#define BUDDY_DESCRIPTOR_SIZE 0
#endif

#define UNIT_SIZE    ((size_t)1 << BUDDY_UNIT_SHIFT)
#define ARENA_SHIFT  21
#define ARENA_SIZE   ((size_t)1 << ARENA_SHIFT)
#define ARENA_UNITS  (1u << (ARENA_SHIFT - BUDDY_UNIT_SHIFT))
#define ORDER_ARENA  (ARENA_SHIFT - BUDDY_UNIT_SHIFT) /* the order of a whole arena, the highest */
#define ORDERS_COUNT (ORDER_ARENA + 1)

/* A byte of the map: one of these and the order, or 0. */
enum { MAP_INSIDE = 0, MAP_FREE = 0x40, MAP_USED = 0x80, MAP_ORDER = 0x1f };

struct arena {
    char *start;
    struct arena *prev, *next; /* all arenas */
    uint8_t map[ARENA_UNITS];
    _Alignas(64) char descriptors[]; /* BUDDY_DESCRIPTOR_SIZE each */
};

/* The first words of a free block: its place in the list of its order. */
struct link {
    struct link *prev, *next;
};

struct buddy {
    struct lock lock;
    struct free_list {
        struct link *first;
        size_t count;
    } free[ORDERS_COUNT];
    struct arena *arenas;
    size_t arenas_count;
    size_t arenas_empty; /* wholly free ones: at most 1 between calls */
    size_t used_bytes;
    size_t used_count;
};

extern struct buddy buddy;

/* arena.c */
struct arena *arena_of(const void *address); /* NULL: in none. Needs no lock for a live block */
struct arena *arena_add_locked(void);        /* map zeroed, in no list yet; NULL: out of memory */
void arena_remove_locked(struct arena *arena);

static inline unsigned unit_of(const struct arena *arena, const void *address)
{
    return (unsigned)((size_t)((const char *)address - arena->start) >> BUDDY_UNIT_SHIFT);
}

static inline void *unit_address(const struct arena *arena, unsigned unit)
{
    return arena->start + ((size_t)unit << BUDDY_UNIT_SHIFT);
}

static inline unsigned map_order(uint8_t entry)
{
    return entry & MAP_ORDER;
}

static inline size_t order_bytes(unsigned order)
{
    return UNIT_SIZE << order;
}

/* The lowest order that holds `size` bytes, size <= ARENA_SIZE. */
static inline unsigned order_of(size_t size)
{
    if (size <= UNIT_SIZE)
        return 0;
    return (unsigned)(64 - __builtin_clzl((size - 1) >> BUDDY_UNIT_SHIFT));
}

/* buddy.c */
void *buddy_alloc_locked(unsigned order); /* NULL: out of memory, errno is the kernel's */
void buddy_free_locked(struct arena *arena, unsigned unit); /* the block in use that starts there */
/* Change the order of a block in use where it stands: a lower one always, a higher one if it is
 * the lower half each time and its buddy is free. */
bool buddy_resize_locked(struct arena *arena, unsigned unit, unsigned order);
/* The unit where the block containing `unit` starts: it may be free. */
unsigned buddy_head_locked(const struct arena *arena, unsigned unit);
/* What is wrong with freeing `payload`, which no block in use starts at; for fault(). */
const char *buddy_misuse_locked(const void *payload);
/* Return empty arenas and the inner pages of free blocks to the kernel. Whether any went. */
bool buddy_trim_locked(void);

/* check.c: what is wrong and where, or NULL. */
const char *buddy_check_locked(const void **ret_where);

#endif
