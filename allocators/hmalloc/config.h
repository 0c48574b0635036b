/* Sizes everything in hmalloc is built on. No state. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_CONFIG_H
#define HEAPMARK_ALLOCATORS_HMALLOC_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "allocators/api/api.h"

#define LIKELY(x)       __builtin_expect(!!(x), 1)
#define NOINLINE        __attribute__((noinline))
#define HIDDEN          __attribute__((visibility("hidden"))) /* reached without the GOT */
#define CACHE_LINE      128 /* two lines: the adjacent-line prefetcher fetches pairs */
#define KIB(n)          ((size_t)(n) << 10)
#define MIB(n)          ((size_t)(n) << 20)
#define ALIGN_UP(n, to) (((n) + (to)-1) & ~((size_t)(to)-1))

/* A unit is what one entry of the tag map covers. */
#define UNIT_SHIFT 16
#define UNIT_SIZE  ((size_t)1 << UNIT_SHIFT)
/* A chunk is what is taken from the kernel for slabs and runs; aligned to its size. */
#define CHUNK_SHIFT 25
#define CHUNK_SIZE  ((size_t)1 << CHUNK_SHIFT)
#define CHUNK_UNITS (CHUNK_SIZE / UNIT_SIZE)

#define GRANULE     16    /* smallest block, and the step between classes up to FAST_MAX */
#define FAST_MAX    1024  /* the rounded size is the byte offset of the bin */
#define SLAB_MAX    32768 /* largest block that lives in a slab */
#define RUN_MAX     (CHUNK_SIZE / 2) /* largest block that lives in a chunk */
#define CLASS_COUNT 105  /* 1..64 in steps of 16 bytes, then 8 per doubling; 0 is none */
#define HEAP_ALIGN  4096 /* a tag is a heap's address plus the offset of a bin */
#define SIZE_LIMIT  ((size_t)PTRDIFF_MAX)

#endif
