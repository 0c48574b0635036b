/* What a program did wrong, in one line on stderr; then abort, or go on without doing what was
 * asked, as configured (HMALLOC_ON_FAULT). Never allocates; may be called with any lock held. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_FAULT_H
#define HEAPMARK_ALLOCATORS_HMALLOC_FAULT_H

#include <stddef.h>
#include <stdint.h>

/* What is wrong with a block, said in several places. */
#define FAULT_FREE_ALREADY "double free: the block is free already"
#define FAULT_INSIDE       "points into a block, not to its start"
#define FAULT_VIRGIN       "was never allocated"
#define FAULT_BEHIND       "something was written behind the block's end"
#define FAULT_GONE         "double free: no block of hmalloc's memory in use starts here"
#define FAULT_FOREIGN      "is no block of hmalloc"

/* "hmalloc: free(0x7f..): double free: the block is free already". Returns only when configured
 * to survive. */
void fault(const char *call, const void *block, const char *what);
/* A line about hmalloc itself; returns. */
void fault_note(const char *what, const void *where);
/* The same about something with a name: "hmalloc: NAME: what". */
void fault_tell(const char *name, const char *what);
/* "hmalloc: access to 0x..: what (0x.., 100 bytes)". Signal-safe; returns. */
void fault_touch(const void *address, const char *what, const void *block, size_t size);
/* Faults survived so far. */
uint64_t fault_count(void);

#endif
