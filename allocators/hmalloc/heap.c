#include "allocators/hmalloc/heap.h"

#include <string.h>

#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/meta.h"

void *bin_nothing[1];

_Alignas(HEAP_ALIGN) struct heap heap_none = {
    .bins = {[0 ... CLASS_COUNT - 1] = {NULL, bin_nothing, bin_nothing, bin_nothing}}};
_Alignas(HEAP_ALIGN) struct heap heap_dead = {
    .bins = {[0 ... CLASS_COUNT - 1] = {NULL, bin_nothing, bin_nothing, bin_nothing}}};
__thread struct heap *heap_mine __attribute__((tls_model("initial-exec"))) = &heap_none;

_Atomic(struct heap *) heap_list;

static struct heap *shared[HEAPS_SHARED];

_Static_assert(sizeof(struct heap) <= 16384, "a heap is a few pages");

struct heap *heap_new(void)
{
    /* Metadata of 4 KiB and more is aligned to 4 KiB. */
    struct heap *h = meta_alloc(sizeof *h);
    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    for (unsigned class = 0; class < CLASS_COUNT; class ++)
        magazine_reset(&h->bins[class]);
    /* Release: who walks the list sees the heap's first contents. Partner: acquire in the walks. */
    h->next = atomic_load_explicit(&heap_list, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&heap_list, &h->next, h, memory_order_release,
                                                  memory_order_relaxed))
        ;
    return h;
}

bool heap_shared_init(void)
{
    for (unsigned i = 0; i < HEAPS_SHARED; i++) {
        shared[i] = heap_new();
        if (!shared[i])
            return false;
        shared[i]->is_shared = true;
    }
    return true;
}

struct heap *heap_shared_lock(void)
{
    /* Threads' heaps lie apart by their size: spread by that. */
    const unsigned usual = ((uintptr_t)heap_mine >> 13) % HEAPS_SHARED;
    for (unsigned i = 0; i < HEAPS_SHARED; i++) {
        struct heap *h = shared[(usual + i) % HEAPS_SHARED];
        if (lock_try(&h->lock))
            return h;
    }
    lock_take(&shared[usual]->lock);
    return shared[usual];
}
