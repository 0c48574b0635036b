/* What the heap says of itself, and malloc_trim. The walks take time linear in the heap's blocks;
 * mallinfo2 does not walk. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocators/classic/heap.h"
#include "allocators/classic/policy.h"

static size_t empty_bytes(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < heap.regions_count && heap.regions_empty > 0; i++)
        if (region_is_empty(&heap.regions[i]))
            bytes += heap.regions[i].size;
    return bytes;
}

struct mallinfo2 API(mallinfo2)(void)
{
    lock_take(&heap.lock);
    struct mallinfo2 info = {
        .arena = heap.region_bytes,
        .ordblks = heap.free_count,
        .hblks = atomic_load_explicit(&large_figures.count, memory_order_relaxed),
        .hblkhd = atomic_load_explicit(&large_figures.bytes, memory_order_relaxed),
        .uordblks = heap.region_bytes - heap.free_bytes - heap.regions_count * REGION_EXTRA,
        .fordblks = heap.free_bytes,
        .keepcost = empty_bytes(),
    };
    lock_leave(&heap.lock);
    return info;
}

void API(malloc_stats)(void)
{
    struct mallinfo2 info = API(mallinfo2)();
    char text[320];
    int length = snprintf(text, sizeof text,
                          "classic, %s\n"
                          "regions       %14zu bytes\n"
                          "in use        %14zu bytes\n"
                          "free          %14zu bytes in %zu blocks\n"
                          "large         %14zu bytes in %zu blocks\n",
                          policy_name, info.arena, info.uordblks, info.fordblks, info.ordblks,
                          info.hblkhd, info.hblks);
    (void)!write(STDERR_FILENO, text, (size_t)length);
}

/* Give back the whole pages between a free block's node and its last word. */
static bool purge_block(const struct block *b, size_t page)
{
    uintptr_t from = ((uintptr_t)(b + 1) + page - 1) & ~(page - 1);
    uintptr_t to = (uintptr_t)block_last_word(b) & ~(page - 1);
    return to > from && madvise((void *)from, to - from, MADV_DONTNEED) == 0;
}

int API(malloc_trim)(size_t pad)
{
    (void)pad; /* glibc's: bytes to leave at the top; there is no single top here */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bool released = false;
    lock_take(&heap.lock);
    for (unsigned i = heap.regions_count; i-- > 0;) {
        struct region *region = &heap.regions[i];
        struct block *b = region_first(region);
        if (region_is_empty(region)) {
            block_unfile(b);
            heap.regions_empty--;
            region_remove(region);
            released = true;
            continue;
        }
        for (; block_size(b) > 0; b = block_next(b))
            if (!block_in_use(b))
                released |= purge_block(b, page);
    }
    lock_leave(&heap.lock);
    return released;
}
