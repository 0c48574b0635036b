/* What makes the three allocators differ: how free blocks are kept and which one is taken.
 * first.c, next.c and best.c each implement this; everything else is common.
 *
 * Called with the heap's lock held. The engine keeps the rule that no two free blocks touch. */
#ifndef HEAPMARK_ALLOCATORS_CLASSIC_POLICY_H
#define HEAPMARK_ALLOCATORS_CLASSIC_POLICY_H

#include "allocators/classic/block.h"

extern const char policy_name[];    /* "first fit" */
extern const char policy_version[]; /* "first fit 1" */
#define POLICY_NAMED(name)           \
    const char policy_name[] = name; \
    const char policy_version[] = name " 1"

/* b has become free: tag and last word are written, neighbours already merged into it. */
void policy_insert(struct block *b);
/* b, which is free, is about to be used, to grow or to go away. Its size is still what it was. */
void policy_remove(struct block *b);
/* The free block of at least `size` bytes that the policy prefers; NULL if none is large enough. */
struct block *policy_find(size_t size);
/* b has been handed out. */
void policy_allocated(const struct block *b);
/* Number of free blocks in the structure, or -1 if it is not in order (for classic_check). */
long policy_check(void);

#endif
