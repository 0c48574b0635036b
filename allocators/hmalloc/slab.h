/* Slabs: equal blocks side by side, their state in a bitmap elsewhere. Everything here needs the
 * heap's lock. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_SLAB_H
#define HEAPMARK_ALLOCATORS_HMALLOC_SLAB_H

#include "allocators/hmalloc/heap.h"

/* Take up to `want` blocks of a class: out[0..n-1], the last one to be used first. Returns n, 0
 * without memory. ret_zeroed: that last one reads as zeros. */
unsigned slab_take(struct heap *h, unsigned class, void **out, unsigned want, bool *ret_zeroed);
/* Blocks come back; each must carry this heap's tag. Interior pointers and blocks that are free
 * already are faults. Slabs that become empty go back to their chunk. */
void slab_put(struct heap *h, void *const *blocks, size_t count);
/* Give wholly free pages inside partly used slabs back to the kernel, and empty slabs to their
 * chunks. Returns the bytes given back. */
size_t slab_purge(struct heap *h);
/* Has so much come back since the last time that it is worth it? */
bool slab_purge_due(struct heap *h);
/* Is this the start of a block, used or not? Of an address in a slab; needs no lock. */
bool slab_is_start(const void *address);

/* For harden.c: what a pointer into a slab is, as far as the slab knows. */
enum slab_block { SLAB_BLOCK_USED, SLAB_BLOCK_FREE, SLAB_BLOCK_INSIDE, SLAB_BLOCK_VIRGIN };
enum slab_block slab_state(const struct slab *s, const void *block);
/* A block in use that counts as free all the same; from HARDEN_FILL on. */
void slab_hold(struct slab *s, const void *block, bool held);

/* Figures and bitmaps of all listed slabs agree: true, or false after a line on stderr. */
bool slab_check(const struct heap *h);

#endif
