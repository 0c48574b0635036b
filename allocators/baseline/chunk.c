/* See chunk.h. Any thread. */
#include "allocators/baseline/chunk.h"

#include <sys/mman.h>

#include "allocators/api/api.h"

struct chunk *chunk_map(size_t size)
{
    size_t length, reserve;
    if (__builtin_add_overflow(size, (size_t)65535, &length) ||
        __builtin_add_overflow(length & ~(size_t)65535, CHUNK_SIZE, &reserve))
        return api_out_of_memory();
    length &= ~(size_t)65535; /* the largest page size of our machines */
    char *start = mmap(NULL, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return api_out_of_memory();
    size_t before = (size_t)(-(uintptr_t)start & (CHUNK_SIZE - 1));
    if (before)
        munmap(start, before);
    if (CHUNK_SIZE - before)
        munmap(start + before + length, CHUNK_SIZE - before);
    struct chunk *chunk = (struct chunk *)(start + before);
    chunk->size_bytes = length;
    return chunk;
}

void chunk_free(struct chunk *chunk)
{
    int saved = errno;
    munmap(chunk, chunk->size_bytes);
    errno = saved;
}
