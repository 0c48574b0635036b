/* When free memory goes back to the kernel. There is no thread for it: those who free do it.
 *
 * At once: free units beyond max(dirty_min, dirty_percent of what is in use), so that a program
 * that frees and then sleeps keeps little. If what was given back is needed again soon, that was
 * wrong: as much more is kept from then on. With time: every decay_ms half of the units nobody
 * needed since the last time go, and are no longer kept. All from slow paths only. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_PURGE_H
#define HEAPMARK_ALLOCATORS_HMALLOC_PURGE_H

#include <stddef.h>

#include "allocators/hmalloc/heap.h"

/* From slow paths that freed something; no locks held. h: the caller's heap, or NULL. */
void purge_step(struct heap *h);
/* Everything that can go, of all heaps. Returns the bytes. */
size_t purge_all(void);
/* The kernel has no addresses left for a block of this size: the same, and whole chunks that are
 * free. True: it is worth trying again. */
bool purge_release(size_t size);

#endif
