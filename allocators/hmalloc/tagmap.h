/* The tag map: what each 64 KiB of the address space holds, in eight bytes.
 *
 *   0                      not ours
 *   heap | bin offset      a slab: its heap (aligned to 4 KiB) and the offset of its class's bin,
 *                          so that the tag is the bin's address
 *   TAG_SPECIAL | ...      the first unit of a large block
 *
 * Flat where address space may be reserved: one entry for every unit there can be. Elsewhere
 * (RLIMIT_AS, vm.overcommit_memory = 2) a smaller table indexed by the low bits of the unit's
 * number; two of our units never share an entry, because memory that would is not used
 * (tagmap_claim). A foreign address may then hit an entry of ours, so slow paths ask tagmap_owns.
 *
 * Entries are written before a block of theirs is handed out and cleared after the last came back:
 * whoever holds a block sees its tag without ordering of his own. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_TAGMAP_H
#define HEAPMARK_ALLOCATORS_HMALLOC_TAGMAP_H

#include <stdbool.h>

#include "allocators/hmalloc/config.h"

typedef uint64_t tag_t;

#define TAG_SPECIAL    ((tag_t)1 << 63)
#define TAG_KIND       ((tag_t)4095)
#define TAG_RUN        (TAG_SPECIAL | 1) /* a run: its descriptor knows the size */
#define TAG_DIRECT     (TAG_SPECIAL | 2) /* a mapping of its own; | mapped size, whole pages */
#define TAG_BYTES(tag) ((size_t)((tag) & ~(TAG_SPECIAL | TAG_KIND)))

/* Two variables, not a struct: free() reaches each with one instruction. */
extern HIDDEN tag_t *tagmap_table;
extern HIDDEN uintptr_t tagmap_mask; /* entries - 1 */

/* Once, before the first block. False: no memory for any table. */
bool tagmap_init(void);
/* Reserve the entries of so many units. False: an entry is taken by another address of ours, and
 * this memory cannot be used. Always true while flat. Under the lock of the caller's kind of
 * memory; claims of chunks and of direct mappings may race, so they take a lock of their own. */
bool tagmap_claim(const void *address, size_t units);
void tagmap_unclaim(const void *address, size_t units);
/* Is the entry this address falls on really about it? */
bool tagmap_owns(const void *address);
void tagmap_lock(void); /* for fork.c */
void tagmap_unlock(bool is_child);
void tagmap_set_range(const void *address, size_t units, tag_t tag);

static inline tag_t tagmap_get(const void *address)
{
    return __atomic_load_n(&tagmap_table[((uintptr_t)address >> UNIT_SHIFT) & tagmap_mask],
                           __ATOMIC_RELAXED);
}

static inline void tagmap_set(const void *address, tag_t tag)
{
    tagmap_set_range(address, 1, tag);
}

#endif
