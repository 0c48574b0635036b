/* Magazines: what happens when a bin runs empty or full. Owner of the heap. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_MAGAZINE_H
#define HEAPMARK_ALLOCATORS_HMALLOC_MAGAZINE_H

#include "allocators/hmalloc/heap.h"

/* A block of the class when its bin is empty. NULL without memory. ret_zeroed: it reads as zeros.
 */
void *magazine_refill(struct heap *h, unsigned class, bool *ret_zeroed);
/* Put a block back when its bin is full. */
void magazine_overflow(struct heap *h, unsigned class, void *block);
/* All blocks to their slabs, all arrays to metadata. Needs the heap's lock. */
void magazine_empty(struct heap *h);
/* Bytes in blocks in magazines: exact for the owner, approximate for others. */
size_t magazine_held(const struct heap *h);
/* The same of one class, in blocks. */
size_t magazine_blocks(const struct heap *h, unsigned class);
/* A bin that is at once empty and full. */
void magazine_reset(struct bin *b);

#endif
