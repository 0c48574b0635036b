#include "allocators/hmalloc/large.h"

#include <stdatomic.h>

#include "allocators/hmalloc/chunk.h"
#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"

#define CACHE_ENTRIES 16
#define CACHE_BYTES   MIB(64) /* of all kept mappings */
#define MOVE_MIN      MIB(1)  /* a block that grows past it becomes a mapping, which can move */

struct kept {
    void *address;
    size_t size;
    uint64_t since_ms;
};

struct lock large_lock;
static struct kept cache[CACHE_ENTRIES]; /* under large_lock; address NULL: empty */
static size_t cached_bytes;              /* under large_lock */

/* Statistics only: relaxed. */
static _Atomic size_t run_bytes, run_count, direct_bytes, direct_count;

static void count(_Atomic size_t *counter, size_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void discount(_Atomic size_t *counter, size_t n)
{
    atomic_fetch_sub_explicit(counter, n, memory_order_relaxed);
}

/* ---- runs ---- */

static void *run_alloc(size_t size, bool *ret_zeroed)
{
    struct slab *run = chunk_take((size + UNIT_SIZE - 1) >> UNIT_SHIFT, UNIT_RUN);
    if (!run)
        return NULL;
    run->size = (uint32_t)size;
    *ret_zeroed = run->clean;
    tagmap_set(run->base, TAG_RUN);
    count(&run_bytes, size);
    count(&run_count, 1);
    return run->base;
}

static void run_free(struct slab *run)
{
    discount(&run_bytes, run->size);
    discount(&run_count, 1);
    chunk_give(run, true);
}

static bool run_resize(struct slab *run, size_t size)
{
    if (size > RUN_MAX || !chunk_resize(run, (size + UNIT_SIZE - 1) >> UNIT_SHIFT))
        return false;
    discount(&run_bytes, run->size);
    count(&run_bytes, size);
    run->size = (uint32_t)size;
    return true;
}

/* ---- mappings of their own ---- */

static void direct_unmap(void *address, size_t size)
{
    tagmap_unclaim(address, 1);
    os_unmap(address, size);
}

/* The best of the kept ones: large enough, at most an eighth too large. */
static void *cache_take(size_t size, size_t alignment, size_t *ret_size)
{
    struct kept *best = NULL;
    lock_take(&large_lock);
    for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
        struct kept *k = &cache[i];
        if (k->address && k->size >= size && k->size - size <= size / 8 &&
            ((uintptr_t)k->address & (alignment - 1)) == 0 && (!best || k->size < best->size))
            best = k;
    }
    void *address = NULL;
    if (best) {
        address = best->address;
        *ret_size = best->size;
        cached_bytes -= best->size;
        best->address = NULL;
    }
    lock_leave(&large_lock);
    return address;
}

/* Keep a freed mapping instead of the oldest ones. False: too large to keep. */
static bool cache_keep(void *address, size_t size)
{
    if (size > CACHE_BYTES / 2)
        return false;
    struct kept out[CACHE_ENTRIES];
    unsigned outs = 0;
    lock_take(&large_lock);
    for (;;) {
        struct kept *oldest = NULL, *empty = NULL;
        for (unsigned i = 0; i < CACHE_ENTRIES; i++)
            if (!cache[i].address)
                empty = &cache[i];
            else if (!oldest || cache[i].since_ms < oldest->since_ms)
                oldest = &cache[i];
        if (!oldest || (empty && cached_bytes + size <= CACHE_BYTES)) { /* none kept: it fits */
            *empty = (struct kept){address, size, os_clock_ms()};
            cached_bytes += size;
            break;
        }
        out[outs++] = *oldest;
        cached_bytes -= oldest->size;
        oldest->address = NULL;
    }
    lock_leave(&large_lock);
    while (outs > 0) {
        outs--;
        direct_unmap(out[outs].address, out[outs].size);
    }
    return true;
}

size_t large_purge(uint64_t before_ms)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
        struct kept k = {0};
        lock_take(&large_lock);
        if (cache[i].address && (before_ms == 0 || cache[i].since_ms < before_ms)) {
            k = cache[i];
            cached_bytes -= k.size;
            cache[i].address = NULL;
        }
        lock_leave(&large_lock);
        if (k.address)
            direct_unmap(k.address, k.size);
        bytes += k.size;
    }
    return bytes;
}

/* A fresh mapping whose first unit has an entry of its own in the tag map. */
static void *direct_map(size_t size, size_t alignment)
{
    void *address = os_map_aligned(size, alignment, false);
    if (address && !tagmap_claim(address, 1)) {
        /* Where the map is small: try the next unit, beyond the one that is taken. */
        os_unmap(address, size);
        address =
            alignment == UNIT_SIZE ? os_map_aligned(size + UNIT_SIZE, UNIT_SIZE, false) : NULL;
        if (address && !tagmap_claim(address, 1)) {
            os_unmap(address, size + UNIT_SIZE);
            address = NULL;
        } else if (address) {
            os_unmap((char *)address + size, UNIT_SIZE);
        }
    }
    return address;
}

static void *direct_alloc(size_t size, size_t alignment, bool *ret_zeroed)
{
    alignment = alignment < UNIT_SIZE ? UNIT_SIZE : alignment;
    size_t mapped = size;
    void *address = cache_take(size, alignment, &mapped);
    *ret_zeroed = !address;
    if (!address)
        address = direct_map(size, alignment);
    if (!address)
        return NULL;
    tagmap_set(address, TAG_DIRECT | mapped);
    count(&direct_bytes, mapped);
    count(&direct_count, 1);
    return address;
}

static void direct_free(void *address, size_t size)
{
    tagmap_set(address, 0);
    discount(&direct_bytes, size);
    discount(&direct_count, 1);
    if (!cache_keep(address, size))
        direct_unmap(address, size);
}

static void *direct_resize(void *address, size_t old_size, size_t size)
{
    void *to = address;
    if (!os_resize(address, old_size, size)) {
        to = direct_map(size, UNIT_SIZE);
        if (!to)
            return NULL;
        /* Before the addresses are free: another thread may map and tag them at once. */
        tagmap_set(address, 0);
        if (!os_move(address, to, old_size, size)) {
            tagmap_set(address, TAG_DIRECT | old_size);
            direct_unmap(to, size);
            return NULL;
        }
        tagmap_unclaim(address, 1);
    }
    tagmap_set(to, TAG_DIRECT | size);
    discount(&direct_bytes, old_size);
    count(&direct_bytes, size);
    return to;
}

/* ---- both ---- */

/* Whole pages; 0 when it cannot be. */
static size_t large_size(size_t size)
{
    return size > SIZE_LIMIT - MIB(2) ? 0 : ALIGN_UP(size, os_page_size());
}

void *large_alloc(size_t size, size_t alignment, bool *ret_zeroed)
{
    const size_t whole = large_size(size ? size : 1);
    if (whole == 0)
        return NULL;
    if (whole <= RUN_MAX && alignment <= UNIT_SIZE) {
        void *block = run_alloc(whole, ret_zeroed);
        if (block)
            return block;
    }
    return direct_alloc(whole, alignment, ret_zeroed);
}

void *large_alloc_growing(size_t size)
{
    bool zeroed;
    const size_t whole = large_size(size);
    if (whole < MOVE_MIN)
        return large_alloc(size, GRANULE, &zeroed);
    return direct_alloc(whole, GRANULE, &zeroed);
}

static bool is_run(tag_t tag)
{
    return (tag & TAG_KIND) == (TAG_RUN & TAG_KIND);
}

bool large_is_start(const void *block, tag_t tag)
{
    return is_run(tag) ? slab_of(block)->base == block : ((uintptr_t)block & (UNIT_SIZE - 1)) == 0;
}

void large_free(void *block, tag_t tag)
{
    if (!large_is_start(block, tag))
        fault("free", block, FAULT_INSIDE);
    else if (is_run(tag))
        run_free(slab_of(block));
    else
        direct_free(block, TAG_BYTES(tag));
}

size_t large_usable(const void *block, tag_t tag)
{
    return is_run(tag) ? slab_of(block)->size : TAG_BYTES(tag);
}

void *large_resize(void *block, tag_t tag, size_t size)
{
    const size_t whole = large_size(size);
    if (whole == 0)
        return NULL;
    if (is_run(tag))
        return run_resize(slab_of(block), whole) ? block : NULL;
    const size_t old = TAG_BYTES(tag);
    if (old == whole)
        return block;
    /* Shrunk below half of what a mapping is for, it is better copied into a chunk. */
    return whole >= MOVE_MIN / 2 ? direct_resize(block, old, whole) : NULL;
}

struct large_figures large_figures(void)
{
    lock_take(&large_lock);
    const size_t cached = cached_bytes;
    lock_leave(&large_lock);
    return (struct large_figures){
        .run_bytes = atomic_load_explicit(&run_bytes, memory_order_relaxed),
        .run_count = atomic_load_explicit(&run_count, memory_order_relaxed),
        .direct_bytes = atomic_load_explicit(&direct_bytes, memory_order_relaxed),
        .direct_count = atomic_load_explicit(&direct_count, memory_order_relaxed),
        .cached_bytes = cached,
    };
}
