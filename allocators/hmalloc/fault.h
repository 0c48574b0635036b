/* What a program did wrong, in one line on stderr; then abort, or go on without doing what was
 * asked, as configured (HMALLOC_ON_FAULT). Never allocates; may be called with any lock held. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_FAULT_H
#define HEAPMARK_ALLOCATORS_HMALLOC_FAULT_H

#include <stdint.h>

/* "hmalloc: free(0x7f..): double free: the block is free already". Returns only when configured
 * to survive. */
void fault(const char *call, const void *block, const char *what);
/* A line about hmalloc itself; returns. */
void fault_note(const char *what, const void *where);
/* Faults survived so far. */
uint64_t fault_count(void);

#endif
