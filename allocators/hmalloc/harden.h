/* Hardening, HMALLOC_HARDEN=1 and 2 (3: guard.h). No magazine has an array then (magazine.c), so
 * every call comes through the slow paths, the slabs know at once what is free, and the fast paths
 * carry no check.
 *
 * From HARDEN_FILL on a block of up to 32 KiB looks like this, all of it in the block:
 *
 *   bytes asked for | filler, to the last 8 bytes of the block | seal
 *
 * The seal is a keyed hash of the block's address and says how long filler and seal are; so the
 * size asked for is known, and one byte written behind it is seen at free. A freed block is zeroed
 * and held back in its heap's quarantine, first in, first out. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_HARDEN_H
#define HEAPMARK_ALLOCATORS_HMALLOC_HARDEN_H

#include "allocators/hmalloc/heap.h"

/* Once, after the options are known. */
void harden_init(void);

/* free at HARDEN_CHECK and above, of a block whose tag is not 0. */
void harden_free(void *block, tag_t tag);
/* Usable bytes of a block in use; 0 after a fault: it is not in use, or not a block's start. */
size_t harden_usable(const char *call, void *block, tag_t tag);
/* Blocks with this tag know the size asked for: realloc must move them. */
bool harden_knows_size(tag_t tag);

/* From HARDEN_FILL on: what to take from a slab for so many bytes. 0: it does not fit a slab. */
size_t harden_padded(size_t size, size_t alignment);
/* Write filler and seal into a block of harden_padded bytes or more. Returns it. */
void *harden_seal(void *block, size_t size);

/* Bytes in the quarantine. Under the heap's lock. */
size_t harden_held(const struct heap *h);

#endif
