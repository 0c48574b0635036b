/* Guarded blocks, HMALLOC_HARDEN=3: one block in HMALLOC_GUARD_SAMPLE ends at a page nobody may
 * touch, and nobody may touch its own pages after it was freed until HMALLOC_GUARD_SLOTS others
 * were guarded. Whoever does gets SIGSEGV, after a line that says which block it was (unless the
 * program has put a handler of its own in the place of ours).
 *
 * Slots lie side by side in one reserved range, so there are never more mappings than twice the
 * slots. Each slot: pages without access, the block's pages, one page without access. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_GUARD_H
#define HEAPMARK_ALLOCATORS_HMALLOC_GUARD_H

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/lock.h"
#include "allocators/hmalloc/tagmap.h"

#define TAG_GUARD (TAG_SPECIAL | 3)

/* Once, before the first block, at HARDEN_GUARD. Without memory nothing will be guarded. */
void guard_init(void);
/* A zeroed block if it is this one's turn; NULL: take it elsewhere. */
void *guard_alloc(size_t size, size_t alignment);
/* Of any pointer whose tag is TAG_GUARD. */
void guard_free(void *block);
/* Bytes asked for; 0 after a fault. */
size_t guard_usable(const char *call, void *block);
/* Bytes in blocks in use. */
size_t guard_bytes(void);

extern struct lock guard_lock; /* for fork.c */

#endif
