/* What hmalloc says of itself. There are no counters on the fast paths: allocated is what slabs
 * handed out less what waits in magazines. */
#include <malloc.h>
#include <stdio.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/guard.h"
#include "allocators/hmalloc/harden.h"
#include "allocators/hmalloc/hmalloc.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/purge.h"
#include "allocators/hmalloc/slab.h"

EXPORT struct mallinfo2 API(mallinfo2)(void);
EXPORT int API(malloc_trim)(size_t pad);
EXPORT void API(malloc_stats)(void);

EXPORT const char *hmalloc_version(void)
{
    return "1.0.0";
}

struct slab_sums {
    size_t slabs, handed_out, free, magazines, held;
    uint64_t heaps;
};

static struct slab_sums slab_sums(void)
{
    struct slab_sums sums = {0};
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next) {
        lock_take(&h->lock);
        sums.heaps++;
        sums.slabs += h->slab_bytes;
        sums.free += h->free_bytes;
        sums.held += harden_held(h);
        sums.handed_out += h->block_bytes - h->free_bytes - h->virgin_bytes;
        sums.magazines += magazine_held(h);
        lock_leave(&h->lock);
    }
    return sums;
}

EXPORT void hmalloc_stats_get(struct hmalloc_stats *ret)
{
    const struct slab_sums slabs = slab_sums();
    const struct large_figures large = large_figures();
    const struct chunk_figures chunks = chunk_figures();
    const size_t idle = slabs.magazines + slabs.held, guarded = guard_bytes();
    const size_t small = slabs.handed_out > idle ? slabs.handed_out - idle : 0;
    *ret = (struct hmalloc_stats){
        .allocated = small + guarded + large.run_bytes + large.direct_bytes,
        .large = large.run_bytes + large.direct_bytes,
        .magazines = slabs.magazines,
        .slabs_free = slabs.free,
        .quarantined = slabs.held,
        .guarded = guarded,
        .dirty = chunks.dirty_units << UNIT_SHIFT,
        .kept = large.cached_bytes,
        .metadata = meta_bytes(),
        .committed = ((chunks.used_units + chunks.dirty_units) << UNIT_SHIFT) + large.direct_bytes +
                     large.cached_bytes + meta_bytes(),
        .mapped =
            chunks.chunks * CHUNK_SIZE + large.direct_bytes + large.cached_bytes + meta_bytes(),
        .heaps_count = slabs.heaps,
        .faults_count = fault_count(),
    };
}

EXPORT size_t hmalloc_purge(void)
{
    return purge_all();
}

EXPORT int hmalloc_check(void)
{
    bool fine = true;
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h && fine;
         h = h->next) {
        lock_take(&h->lock);
        fine = slab_check(h);
        lock_leave(&h->lock);
    }
    return fine ? 0 : -1;
}

struct mallinfo2 API(mallinfo2)(void)
{
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    return (struct mallinfo2){
        .arena = s.mapped - large_figures().direct_bytes - s.kept,
        .hblks = large_figures().direct_count,
        .hblkhd = large_figures().direct_bytes,
        .fsmblks = s.magazines,
        .uordblks = s.allocated - large_figures().direct_bytes,
        .fordblks = s.magazines + s.slabs_free + s.dirty,
        .keepcost = s.dirty + s.kept,
    };
}

int API(malloc_trim)(size_t pad)
{
    (void)pad;
    return purge_all() > 0;
}

void API(malloc_stats)(void)
{
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    fprintf(stderr,
            "hmalloc: %zu bytes in use (%zu of them large), %zu in magazines, %zu free in slabs, "
            "%zu dirty, %zu kept, %zu metadata, %zu mapped\n",
            s.allocated, s.large, s.magazines, s.slabs_free, s.dirty, s.kept, s.metadata, s.mapped);
}
