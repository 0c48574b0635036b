/* Regions: the stretches of address space blocks are cut from.
 *
 * A region is one anonymous mapping. Its first and its last word are no blocks' own:
 *
 *   start                                                       start + size
 *   | unused word | block | block | ... | block | end tag: size 0, in use |
 *
 * The first word brings payloads to multiples of 16; the end tag stops every walk and every merge.
 * The first block is marked as if something in use came before it, for the same reason.
 *
 * Regions double the heap until it is large, then grow it by a fraction, so their number stays
 * small and a sorted table finds the one an address lies in. A region that becomes wholly free is
 * given back to the kernel if another one is already empty: one is kept, so that a program that
 * hovers around the edge of a region does not map and unmap it for ever. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocators/classic/heap.h"
#include "allocators/classic/policy.h"

/* Index of the first region that starts above the address. */
static unsigned region_above(const void *address)
{
    unsigned low = 0, high = heap.regions_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (heap.regions[middle].start > (const char *)address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct region *region_of(const void *address)
{
    unsigned above = region_above(address);
    if (above == 0)
        return NULL;
    struct region *region = &heap.regions[above - 1];
    return (const char *)address < region->start + region->size ? region : NULL;
}

struct block *region_first(const struct region *region)
{
    return (struct block *)(region->start + TAG_SIZE);
}

bool region_is_empty(const struct region *region)
{
    const struct block *first = region_first(region);
    return !block_in_use(first) && block_size(first) == region->size - REGION_EXTRA;
}

static size_t region_size(size_t need)
{
    size_t grow = heap.region_bytes;
    if (grow > REGION_STEP)
        grow = grow / 64 > REGION_STEP ? grow / 64 : REGION_STEP;
    if (grow < REGION_MIN)
        grow = REGION_MIN;
    return grow > need ? grow : need;
}

static char *region_map(size_t size)
{
    char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

int region_add(size_t need)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t least = (need + REGION_EXTRA + page - 1) & ~(page - 1);
    if (heap.regions_count == REGIONS_MAX)
        return -ENOMEM;
    size_t size = (region_size(least) + page - 1) & ~(page - 1);
    char *start = region_map(size);
    while (!start && size > least) { /* address space is short: be content with less */
        size = (size / 2 + page - 1) & ~(page - 1);
        size = size > least ? size : least;
        start = region_map(size);
    }
    if (!start)
        return -ENOMEM;

    unsigned at = region_above(start);
    memmove(&heap.regions[at + 1], &heap.regions[at],
            (heap.regions_count - at) * sizeof heap.regions[0]);
    heap.regions[at] = (struct region){start, size};
    heap.regions_count++;
    heap.region_bytes += size;

    struct block *first = region_first(&heap.regions[at]);
    struct block *end = (struct block *)(start + size - TAG_SIZE);
    block_set(end, 0, TAG_IN_USE | TAG_PREV_USED);
    block_set(first, size - REGION_EXTRA, TAG_IN_USE | TAG_PREV_USED);
    heap.used_count++; /* it is "in use" until given */
    (void)block_release(first);
    heap.regions_empty++; /* until the caller takes from it */
    return 0;
}

void region_remove(struct region *region)
{
    unsigned at = (unsigned)(region - heap.regions);
    munmap(region->start, region->size);
    heap.region_bytes -= region->size;
    heap.regions_count--;
    memmove(&heap.regions[at], &heap.regions[at + 1],
            (heap.regions_count - at) * sizeof heap.regions[0]);
}
