/* fork, for an allocator with one lock: it is taken around fork, so that the child finds the heap
 * in order, and starts over free there, because threads that waited for it do not exist. */
#ifndef HEAPMARK_ALLOCATORS_COMMON_FORK_H
#define HEAPMARK_ALLOCATORS_COMMON_FORK_H

#include "allocators/common/lock.h"

/* Once, from a constructor. */
void fork_watch(struct lock *lock);

#endif
