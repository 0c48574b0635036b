#include "allocators/hmalloc/purge.h"

#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/remote.h"
#include "allocators/hmalloc/slab.h"

#define STEP_UNITS 256 /* given back in one slow path: 16 MiB */

static _Atomic uint64_t
    next_ms; /* of the next timed step. Relaxed; who moves it on does the step */

static size_t keep_units(const struct chunk_figures *f)
{
    const size_t kept = f->used_units * options.dirty_percent / 100;
    const size_t least = options.dirty_min >> UNIT_SHIFT;
    return kept > least ? kept : least;
}

static void purge_timed(struct heap *h, const struct chunk_figures *f)
{
    const size_t unneeded = chunk_dirty_low();
    if (unneeded > 0)
        (void)chunk_purge(f->dirty_units - (unneeded + 1) / 2, STEP_UNITS);
    (void)large_purge(os_clock_ms() - options.decay_ms);
    if (h && lock_try(&h->lock)) {
        if (h->free_bytes > options.dirty_min / 4)
            (void)slab_purge(h);
        lock_leave(&h->lock);
    }
}

void purge_step(struct heap *h)
{
    const struct chunk_figures f = chunk_figures();
    const size_t keep = keep_units(&f);
    if (f.dirty_units > keep)
        (void)chunk_purge(keep - keep / 8, STEP_UNITS);
    const uint64_t now = os_clock_ms();
    uint64_t due = atomic_load_explicit(&next_ms, memory_order_relaxed);
    if (now >= due &&
        atomic_compare_exchange_strong_explicit(&next_ms, &due, now + options.decay_ms,
                                                memory_order_relaxed, memory_order_relaxed))
        purge_timed(h, &f);
}

size_t purge_all(void)
{
    size_t bytes = 0;
    struct heap *mine = heap_mine;
    if (mine != &heap_none && mine != &heap_dead) {
        remote_flush(mine);
        lock_take(&mine->lock);
        magazine_empty(mine);
        lock_leave(&mine->lock);
    }
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next) {
        lock_take(&h->lock);
        (void)remote_drain(h, false, NULL);
        bytes += slab_purge(h);
        lock_leave(&h->lock);
    }
    bytes += chunk_purge(0, SIZE_MAX) << UNIT_SHIFT;
    return bytes + large_purge(0);
}
