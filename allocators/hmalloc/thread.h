/* Which heap a thread has: from its first call to its last destructor. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_THREAD_H
#define HEAPMARK_ALLOCATORS_HMALLOC_THREAD_H

#include "allocators/hmalloc/heap.h"

/* The calling thread's heap, made or taken over on its first call. NULL when there is no memory,
 * or when the thread's destructors have run: then the shared heaps serve. */
struct heap *thread_heap(void);
/* Before any block: tables, options, shared heaps. Once; cheap afterwards. False: no memory. */
bool thread_init(void);
/* Leave a heap to whoever comes next. Its blocks go to slabs; blocks others still hold stay valid.
 * Owner, or the child of a fork for a thread that does not exist there (`is_ours` false: what only
 * the thread itself could have left in order is not touched). */
void thread_leave(struct heap *h, bool is_ours);

extern struct lock thread_lock; /* for fork.c; guards the orphans */

#endif
