/* The part of the malloc family that follows from the rest; see api.h. Compiled into each in-tree
 * allocator, bound inside it (-Bsymbolic-functions). Any thread, no state. */
#include "allocators/api/api.h"

#include <unistd.h>

void *API(aligned_alloc)(size_t alignment, size_t size)
{
    return API(memalign)(alignment, size);
}

int API(posix_memalign)(void **ret_block, size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    int saved = errno; /* POSIX: the error is the return value, errno is left alone */
    void *block = API(memalign)(alignment, size);
    errno = saved;
    if (!block)
        return ENOMEM;
    *ret_block = block;
    return 0;
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *API(valloc)(size_t size)
{
    return API(memalign)(page_size(), size);
}

void *API(pvalloc)(size_t size)
{
    size_t page = page_size(), rounded;
    if (__builtin_add_overflow(size, page - 1, &rounded))
        return api_out_of_memory();
    rounded &= ~(page - 1);
    return API(memalign)(page, rounded ? rounded : page);
}

void *API(reallocarray)(void *block, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    return API(realloc)(block, total);
}

void API(cfree)(void *block)
{
    API(free)(block);
}

void API(free_sized)(void *block, size_t size)
{
    (void)size;
    API(free)(block);
}

void API(free_aligned_sized)(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    API(free)(block);
}
