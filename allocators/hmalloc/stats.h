/* Figures of heaps and size classes, read under each heap's lock. Any thread. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_STATS_H
#define HEAPMARK_ALLOCATORS_HMALLOC_STATS_H

#include "allocators/hmalloc/heap.h"

struct class_figures {
    uint64_t slabs;
    uint64_t out;       /* blocks slabs handed out: in use, in magazines, or on their way home */
    uint64_t magazines; /* of these, blocks in magazines */
};

/* Bytes. */
struct heap_figures {
    bool is_shared, is_orphan;
    uint64_t slabs, handed_out, magazines, free, virgin, quarantined;
    struct class_figures classes[CLASS_COUNT];
};

void stats_heap(struct heap *h, struct heap_figures *ret);
/* Sums of all heaps. */
void stats_classes(struct class_figures ret[CLASS_COUNT], uint64_t *ret_heaps);

#endif
