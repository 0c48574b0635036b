/* Memory for hmalloc's own data: magazines, bitmaps, messages, heaps. Never in user blocks, never
 * given back to the kernel; what is freed is used again for the same size. Powers of two from 64
 * bytes to 64 KiB, aligned to their size up to 4 KiB. Any thread; takes the innermost lock. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_META_H
#define HEAPMARK_ALLOCATORS_HMALLOC_META_H

#include "allocators/hmalloc/lock.h"

#include <stddef.h>

#define META_MIN 64
#define META_MAX 65536

/* Zeroed only when fresh: contents are whatever they are. NULL without memory. */
void *meta_alloc(size_t size);
void meta_free(void *block, size_t size);
/* Bytes taken from the kernel. */
size_t meta_bytes(void);

extern struct lock meta_lock; /* for fork.c */

#endif
