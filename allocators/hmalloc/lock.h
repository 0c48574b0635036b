/* Locks of hmalloc. Order, outermost first: initialisation and the orphans (thread.c), one heap's
 * lock, direct mappings (large.c), chunks (chunk.c), the tag map's claims, metadata (meta.c).
 * Nobody holds two heaps' locks, except fork. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_LOCK_H
#define HEAPMARK_ALLOCATORS_HMALLOC_LOCK_H

#include <stdbool.h>

#include "allocators/common/lock.h"

#endif
