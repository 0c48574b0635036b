#include "workloads/fork/cow_targets.h"

#include <stdbool.h>

#define HEADER_BYTES 8 /* fork_heap_verify() looks at them */

uint64_t cow_targets_max(uint64_t heap_bytes, uint64_t stride, uint64_t percent)
{
    const uint64_t places = heap_bytes * percent / 100 / stride;
    return places > 0 ? places : 1;
}

static void swap(unsigned char **a, unsigned char **b)
{
    unsigned char *c = *a;
    *a = *b;
    *b = c;
}

static void sift_down(unsigned char **heap, uint64_t root, uint64_t count)
{
    for (uint64_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && heap[child] < heap[child + 1])
            child++;
        if (heap[root] >= heap[child])
            return;
        swap(&heap[root], &heap[child]);
    }
}

/* Heap sort: in place, and nothing from malloc, which qsort takes. Most allocators hand out
 * ascending addresses, so look first. */
static void sort(unsigned char **targets, uint64_t count)
{
    bool sorted = true;
    for (uint64_t i = 1; i < count && sorted; i++)
        sorted = targets[i - 1] <= targets[i];
    if (sorted)
        return;
    for (uint64_t i = count / 2; i-- > 0;)
        sift_down(targets, i, count);
    for (uint64_t end = count; end-- > 1;) {
        swap(&targets[0], &targets[end]);
        sift_down(targets, 0, end);
    }
}

uint64_t cow_targets(const struct fork_heap *h, uint64_t stride, uint64_t percent,
                     unsigned char **targets)
{
    const uint64_t places = cow_targets_max(h->blocks_count * h->block_bytes, stride, percent);
    for (uint64_t i = 0; i < places; i++) {
        uint64_t offset = i * stride % h->block_bytes;
        if (offset < HEADER_BYTES)
            offset = HEADER_BYTES;
        targets[i] = (unsigned char *)h->blocks[i * stride / h->block_bytes] + offset;
    }
    sort(targets, places);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < places; i++)
        if (kept == 0 ||
            (uintptr_t)targets[i] / COW_PAGE != (uintptr_t)targets[kept - 1] / COW_PAGE)
            targets[kept++] = targets[i];
    return kept;
}

unsigned char cow_value(uint64_t i, unsigned after)
{
    return (unsigned char)(i % 127 << 1 | after);
}
