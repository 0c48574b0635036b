/* Naturally aligned chunks of address space for bump and lifo: the start of the chunk a block
 * lies in is found by masking its address. Never given back, except by chunk_free. */
#ifndef HEAPMARK_ALLOCATORS_BASELINE_CHUNK_H
#define HEAPMARK_ALLOCATORS_BASELINE_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#define CHUNK_SIZE   ((size_t)4 << 20)
#define CHUNK_HEADER ((size_t)64)

struct chunk {
    size_t size_bytes; /* of the whole mapping, a multiple of the page size */
};

/* A mapping of at least size bytes (header included) that starts at a multiple of CHUNK_SIZE.
 * NULL and ENOMEM. */
struct chunk *chunk_map(size_t size);
void chunk_free(struct chunk *chunk);

static inline struct chunk *chunk_of(const void *block)
{
    return (struct chunk *)((uintptr_t)block & ~(CHUNK_SIZE - 1));
}

#endif
