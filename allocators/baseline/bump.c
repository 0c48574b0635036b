/* bump: a pointer per thread that only goes up. The cheapest malloc there can be; free does
 * nothing and no memory is ever used twice (RING_SUBJECT_NO_FREE).
 *
 * Loaded by heapmark-runner, catalogue entry `bump`. Blocks have no header: nobody ever asks for
 * their size but realloc, which copies as many bytes as the new block holds and stops at the
 * chunk's end. For the same reason there is no malloc_usable_size. */
#include <string.h>

#include "allocators/api/api.h"
#include "allocators/baseline/chunk.h"

#define OWN_CHUNK_MIN (CHUNK_SIZE / 4) /* larger blocks get a mapping of their own */
#define ALIGNMENT_MAX (CHUNK_SIZE / 2) /* beyond it chunk_of() would find the wrong start */

static __thread struct {
    char *at, *end;
} bump INITIAL_EXEC;

static char *chunk_block(struct chunk *chunk, size_t alignment)
{
    size_t offset = alignment > CHUNK_HEADER ? alignment : CHUNK_HEADER;
    return (char *)chunk + offset;
}

static __attribute__((noinline, cold)) void *bump_slow(size_t size, size_t alignment)
{
    size_t whole;
    if (size > PTRDIFF_MAX || alignment > ALIGNMENT_MAX ||
        __builtin_add_overflow(size, CHUNK_HEADER + alignment, &whole))
        return api_out_of_memory();
    bool own = whole > OWN_CHUNK_MIN;
    struct chunk *chunk = chunk_map(own ? whole : CHUNK_SIZE);
    if (!chunk)
        return NULL;
    char *block = chunk_block(chunk, alignment);
    if (!own) {
        bump.at = block + size;
        bump.end = (char *)chunk + chunk->size_bytes;
    }
    return block;
}

/* Rounded up to the alignment, at least one unit; 0 for a size no object can have. */
static size_t round_size(size_t size)
{
    if (UNLIKELY(size > PTRDIFF_MAX))
        return 0;
    return size ? (size + API_ALIGNMENT - 1) & ~(size_t)(API_ALIGNMENT - 1) : API_ALIGNMENT;
}

void *API(malloc)(size_t size)
{
    size_t rounded = round_size(size);
    char *block = bump.at;
    if (UNLIKELY(rounded - 1 >= (size_t)(bump.end - block)))
        return bump_slow(rounded ? rounded : SIZE_MAX, API_ALIGNMENT);
    bump.at = block + rounded;
    return block;
}

void API(free)(void *block)
{
    (void)block;
}

void *API(calloc)(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    return API(malloc)(total); /* fresh from the kernel: zero */
}

void *API(realloc)(void *block, size_t size)
{
    if (block && size == 0)
        return NULL;
    char *fresh = API(malloc)(size);
    if (!block || !fresh)
        return fresh;
    const struct chunk *chunk = chunk_of(block);
    size_t readable = (size_t)((const char *)chunk + chunk->size_bytes - (char *)block);
    return memcpy(fresh, block, size < readable ? size : readable);
}

void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= API_ALIGNMENT)
        return API(malloc)(size);
    size_t rounded = round_size(size);
    size_t skip = (size_t)(-(uintptr_t)bump.at & (alignment - 1));
    if (!rounded || rounded > OWN_CHUNK_MIN || skip > (size_t)(bump.end - bump.at) ||
        rounded > (size_t)(bump.end - bump.at) - skip)
        return bump_slow(rounded ? rounded : SIZE_MAX, alignment);
    char *block = bump.at + skip;
    bump.at = block + rounded;
    return block;
}
