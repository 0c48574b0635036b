/* Large blocks; see large.h.
 *
 * A header of 32 bytes stands before the payload. Its magic is a function of the payload's
 * address. Freed large blocks are unmapped, so a stale or foreign pointer may lead nowhere: mincore
 * tells without a fault whether the header's page exists. That costs a system call on paths that
 * make one anyway. */
#include "allocators/common/large.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocators/api/api.h"

#define LARGE_MAGIC UINT64_C(0x6c61726765626c6b)

struct large {
    uint64_t magic;
    char *base;    /* of the mapping */
    size_t length; /* of the mapping */
    uint64_t unused;
};

struct large_figures large_figures;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static char *align_up(char *address, size_t alignment)
{
    return address + (-(uintptr_t)address & (alignment - 1));
}

static char *large_payload(const struct large *large)
{
    return (char *)large + sizeof *large;
}

static uint64_t large_magic(const struct large *large)
{
    return LARGE_MAGIC ^ (uintptr_t)large * UINT64_C(0x9e3779b97f4a7c15);
}

static void count(size_t bytes_more, size_t bytes_less, size_t blocks_more, size_t blocks_less)
{
    atomic_fetch_add_explicit(&large_figures.bytes, bytes_more - bytes_less, memory_order_relaxed);
    atomic_fetch_add_explicit(&large_figures.count, blocks_more - blocks_less,
                              memory_order_relaxed);
}

/* mmap aligns to pages only: map enough to find an aligned place, then cut off what is too much. */
void *large_alloc(size_t alignment, size_t size)
{
    size_t page = page_size(), whole;
    if (__builtin_add_overflow(size, alignment + sizeof(struct large), &whole) ||
        __builtin_add_overflow(whole, 2 * page, &whole) || whole > PTRDIFF_MAX)
        return api_out_of_memory();
    whole &= ~(page - 1);
    char *start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return api_out_of_memory();
    char *payload = align_up(start + sizeof(struct large), alignment);
    struct large *large = (struct large *)(payload - sizeof *large);
    char *base = (char *)((uintptr_t)large & ~(page - 1));
    char *end = align_up(payload + size, page);
    if (base > start)
        munmap(start, (size_t)(base - start));
    if (end < start + whole)
        munmap(end, (size_t)(start + whole - end));
    *large = (struct large){.base = base, .length = (size_t)(end - base)};
    large->magic = large_magic(large);
    count(large->length, 0, 1, 0);
    return payload;
}

struct large *large_of(const void *payload)
{
    size_t page = page_size();
    struct large *large = (struct large *)((char *)payload - sizeof *large);
    /* Our headers never cross a page: payloads are 32 bytes into one or at multiples of larger
     * powers of two. */
    size_t in_page = (uintptr_t)payload % page;
    if ((uintptr_t)payload % API_ALIGNMENT != 0 || (uintptr_t)payload < page ||
        (in_page != 0 && in_page < sizeof *large))
        return NULL;
    unsigned char resident;
    int saved = errno;
    int r = mincore((void *)((uintptr_t)large & ~(page - 1)), page, &resident);
    errno = saved;
    return r == 0 && large->magic == large_magic(large) ? large : NULL;
}

size_t large_usable(const struct large *large)
{
    return (size_t)(large->base + large->length - large_payload(large));
}

void large_free(struct large *large)
{
    char *base = large->base;
    size_t length = large->length;
    int saved = errno;
    large->magic = 0;
    munmap(base, length);
    errno = saved;
    count(0, length, 0, 1);
}

void *large_resize(struct large *large, size_t size)
{
    size_t offset = (size_t)(large_payload(large) - large->base), page = page_size(), length;
    size_t old_length = large->length;
    if (__builtin_add_overflow(size, offset + page - 1, &length))
        return api_out_of_memory();
    length &= ~(page - 1);
    if (length == old_length)
        return large_payload(large);
    large->magic = 0; /* it may stay behind */
    char *base = mremap(large->base, old_length, length, MREMAP_MAYMOVE);
    if (base == MAP_FAILED) {
        large->magic = large_magic(large);
        return api_out_of_memory();
    }
    struct large *moved = (struct large *)(base + offset - sizeof *moved);
    moved->base = base;
    moved->length = length;
    moved->magic = large_magic(moved);
    count(length, old_length, 0, 0);
    return large_payload(moved);
}

void *large_calloc(size_t count, size_t size, size_t large_from)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    void *payload = API(malloc)(total);
    if (payload && total < large_from) /* a large one is fresh from the kernel */
        memset(payload, 0, total);
    return payload;
}
