/* fork: the child has one thread, and must find every lock free and every slab in order. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_FORK_H
#define HEAPMARK_ALLOCATORS_HMALLOC_FORK_H

void fork_register(void);

#endif
