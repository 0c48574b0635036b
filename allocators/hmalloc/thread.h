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

/* For fork.c: of thread_init, before all others; and of the orphans. */
extern struct lock thread_init_lock, thread_lock;
/* In the child of a fork: there are none. */
void thread_orphans_reset(void);

#endif
