/* Chunks: 32 MiB of addresses, aligned to 32 MiB, in units of 64 KiB. Runs of units become slabs
 * (1 or 4 units) or large blocks (up to 16 MiB). The chunk's first unit holds one descriptor of
 * 128 bytes for each unit, found from any block's address by masking.
 *
 * A free unit is dirty (its pages may be resident) or clean (they read as zeros). Dirty ones are
 * used first; what has been dirty for a while and was not needed goes back to the kernel
 * (purge.h). One lock for all; never held during a system call that grows with the memory it
 * touches. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_CHUNK_H
#define HEAPMARK_ALLOCATORS_HMALLOC_CHUNK_H

#include <stdbool.h>

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/lock.h"

struct heap;

/* What a run of units is used for; of its first unit's descriptor. */
enum unit_kind { UNIT_FREE, UNIT_SLAB, UNIT_RUN };

#define SLAB_INLINE_WORDS 7 /* slabs of up to 448 blocks need no other bitmap */

/* A slab's or run's descriptor. Of slabs: under their heap's lock, but for base, size, reciprocal,
 * class_index and units, which do not change while blocks are out. */
struct slab {
    struct slab *next, *previous; /* partial slabs of its heap and class */
    char *base;
    uint64_t *bitmap; /* bit set: the block is free and here */
    struct heap *heap;
    uint64_t purged;     /* bit set: this page of the slab was given back, it reads as zeros */
    uint32_t size;       /* of a block */
    uint32_t reciprocal; /* ceil(2^32 / size): offset * reciprocal >> 32 is the block's index */
    uint16_t blocks, free_count;
    uint16_t virgin; /* blocks from this index on were never handed out */
    uint16_t class_index;
    uint16_t units; /* of the whole slab or run */
    uint16_t first; /* in every unit's descriptor: distance to the first unit's */
    uint8_t kind;   /* enum unit_kind */
    bool listed;
    bool clean; /* its pages read as zeros when it was taken */
    bool huge;  /* lies where huge pages may be: touched once, all of it is resident */
    uint64_t inline_bits[SLAB_INLINE_WORDS];
};
_Static_assert(sizeof(struct slab) == 128, "the descriptors of a chunk fill one unit");

static inline struct slab *slab_of(const void *address)
{
    const uintptr_t chunk = (uintptr_t)address & ~(uintptr_t)(CHUNK_SIZE - 1);
    struct slab *unit =
        (struct slab *)chunk + (((uintptr_t)address >> UNIT_SHIFT) & (CHUNK_UNITS - 1));
    return unit - unit->first;
}

/* A run of so many units, its descriptor filled as far as base, units, kind, clean and `first` go;
 * tags are the caller's. NULL without memory. */
struct slab *chunk_take(size_t units, enum unit_kind kind);
/* Back; tags cleared here. `dirty`: it may have resident pages. */
void chunk_give(struct slab *run, bool dirty);
/* Resize in place. Growing takes the units behind; false when they are not free. */
bool chunk_resize(struct slab *run, size_t units);
/* Is this address inside a chunk's units at all? For addresses that may be anybody's. */
bool chunk_owns(const void *address);

struct chunk_figures {
    size_t chunks, used_units, dirty_units, clean_units;
};
struct chunk_figures chunk_figures(void);

/* Give pages inside a run back to the kernel; they read as zeros from now on. The run's owner. */
void chunk_discard(void *address, size_t size);
/* Give dirty units back to the kernel until at most so many are left; returns how many went.
 * Largest runs at the highest addresses first: low addresses are used again soonest. */
size_t chunk_purge(size_t keep_units, size_t budget_units);
/* Smallest number of dirty units since the last call: what nobody needed meanwhile. */
size_t chunk_dirty_low(void);
/* Units that were given back to the kernel and had to be fetched again soon after, since the last
 * call: each was a mistake. */
size_t chunk_regret(void);
/* Unmap chunks without a block, for when addresses are short. Returns the bytes. */
size_t chunk_release(void);

extern struct lock chunk_lock; /* for fork.c */

#endif
