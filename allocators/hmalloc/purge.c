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

/* However often it was wrong: what an idle process may keep. */
#define LEARNED_MAX (MIB(64) >> UNIT_SHIFT)

/* Units kept because giving them back was wrong before. A race loses a step of learning. Relaxed.
 */
static _Atomic size_t learned_units;
/* Times that giving back turned out wrong, since it last did not for a whole timed step. Relaxed.
 */
static _Atomic unsigned strikes;
#define STRIKES 4

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t keep_units(const struct chunk_figures *f)
{
    const size_t share = f->used_units * options.dirty_percent / 100;
    const size_t learned = atomic_load_explicit(&learned_units, memory_order_relaxed);
    return larger(larger(share, options.dirty_min >> UNIT_SHIFT), learned);
}

/* Was giving back wrong lately? Returns the units it was wrong about. */
static size_t learn(void)
{
    const size_t regret = chunk_regret();
    if (regret > 0 && atomic_fetch_add_explicit(&strikes, 1, memory_order_relaxed) + 1 >= STRIKES) {
        const size_t now = atomic_load_explicit(&learned_units, memory_order_relaxed) + regret;
        atomic_store_explicit(&learned_units, now < LEARNED_MAX ? now : LEARNED_MAX,
                              memory_order_relaxed);
    }
    return regret;
}

static void unlearn(size_t units)
{
    const size_t now = atomic_load_explicit(&learned_units, memory_order_relaxed);
    atomic_store_explicit(&learned_units, now > units ? now - units : 0, memory_order_relaxed);
}

static void purge_timed(struct heap *h, const struct chunk_figures *f)
{
    const size_t unneeded = chunk_dirty_low();
    if (learn() == 0)
        atomic_store_explicit(&strikes, 0, memory_order_relaxed);
    if (unneeded > 0) {
        unlearn((unneeded + 1) / 2);
        (void)chunk_purge(f->dirty_units - (unneeded + 1) / 2, STEP_UNITS);
    }
    (void)large_purge(os_clock_ms() - options.decay_ms);
    if (h && lock_try(&h->lock)) {
        if (slab_purge_due(h))
            (void)slab_purge(h);
        lock_leave(&h->lock);
    }
}

void purge_step(struct heap *h)
{
    const struct chunk_figures f = chunk_figures();
    if (f.dirty_units > keep_units(&f)) {
        (void)learn();
        const size_t keep = keep_units(&f);
        (void)chunk_purge(keep - keep / 8, STEP_UNITS);
    }
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

bool purge_release(size_t size)
{
    const size_t most = chunk_figures().chunks * CHUNK_SIZE + large_figures().cached_bytes;
    if (size > most)
        return false;
    const bool any = large_figures().cached_bytes > 0;
    (void)purge_all();
    return chunk_release() > 0 || any;
}
