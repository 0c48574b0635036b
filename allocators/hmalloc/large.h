/* Blocks above 32 KiB. Up to 16 MiB they are runs of units in a chunk; larger or more strictly
 * aligned ones are mappings of their own, some of which are kept for a while when freed. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_LARGE_H
#define HEAPMARK_ALLOCATORS_HMALLOC_LARGE_H

#include <stdbool.h>

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/lock.h"
#include "allocators/hmalloc/tagmap.h"

/* alignment: a power of two. NULL without memory. ret_zeroed: it reads as zeros. */
void *large_alloc(size_t size, size_t alignment, bool *ret_zeroed);
/* For a block that is growing: a mapping of its own, if it is large enough to be worth moving
 * pages instead of copying from now on; else as large_alloc. */
void *large_alloc_growing(size_t size);
/* tag: of the block, TAG_RUN or TAG_DIRECT. */
void large_free(void *block, tag_t tag);
bool large_is_start(const void *block, tag_t tag);
size_t large_usable(const void *block, tag_t tag);
/* Resize without copying, perhaps elsewhere. NULL: cannot be done so; the block is unchanged. */
void *large_resize(void *block, tag_t tag, size_t size);

struct large_figures {
    size_t run_bytes, run_count, direct_bytes, direct_count, cached_bytes;
};
struct large_figures large_figures(void);
/* Unmap freed mappings kept since before this time; 0 of os_clock_ms: all. Returns the bytes. */
size_t large_purge(uint64_t before_ms);

extern struct lock large_lock; /* for fork.c */

#endif
