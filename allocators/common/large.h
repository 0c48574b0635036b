/* Large blocks: one mapping each, resized by mremap, unmapped by free. Any thread, no lock: a block
 * belongs to whoever holds it, and the figures are atomic. */
#ifndef HEAPMARK_ALLOCATORS_COMMON_LARGE_H
#define HEAPMARK_ALLOCATORS_COMMON_LARGE_H

#include <stdatomic.h>
#include <stddef.h>

struct large;

/* Of all large blocks. Relaxed: figures order nothing. */
struct large_figures {
    _Atomic size_t bytes; /* of their mappings */
    _Atomic size_t count;
};
extern struct large_figures large_figures;

void *large_alloc(size_t alignment, size_t size); /* zeroed; NULL and ENOMEM */
/* The allocator's calloc: malloc, and zeros unless it is large, from so many bytes on. */
void *large_calloc(size_t count, size_t size, size_t large_from);
struct large *large_of(const void *payload); /* NULL: no large block of ours starts there */
void large_free(struct large *large);        /* keeps errno */
size_t large_usable(const struct large *large);
void *large_resize(struct large *large, size_t size); /* NULL and ENOMEM: block unchanged */

#endif
