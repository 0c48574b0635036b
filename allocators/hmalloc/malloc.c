/* The calls a program makes. The fast paths are malloc and free below, seventeen and twenty
 * instructions on x86-64; everything else is out of line. */
#include <string.h>

#include "allocators/hmalloc/chunk.h"
#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/guard.h"
#include "allocators/hmalloc/harden.h"
#include "allocators/hmalloc/heap.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/purge.h"
#include "allocators/hmalloc/remote.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"
#include "allocators/hmalloc/thread.h"

/* ---- taking ---- */

/* A thread without a heap of its own: its destructors have run, or there is no memory for one. */
static void *take_shared(unsigned class, bool *ret_zeroed)
{
    void *block = NULL;
    struct heap *h = heap_shared_lock();
    if (slab_take(h, class, &block, 1, ret_zeroed) == 0)
        block = NULL;
    lock_leave(&h->lock);
    return block;
}

/* From HARDEN_FILL on; not 0: the block is sealed. */
static NOINLINE void *take_hardened(size_t size, size_t alignment, bool *ret_zeroed)
{
    void *block = guard_alloc(size, alignment);
    *ret_zeroed = true;
    if (block)
        return block;
    const size_t padded = harden_padded(size, alignment);
    if (padded == 0)
        return large_alloc(size, alignment, ret_zeroed);
    struct heap *h = thread_heap();
    const unsigned class = size_class(padded);
    block = h ? magazine_refill(h, class, ret_zeroed) : take_shared(class, ret_zeroed);
    return block ? harden_seal(block, size) : NULL;
}

/* Nothing left: what was free elsewhere, once its addresses went back to the kernel. */
static NOINLINE void *take_last(size_t size, bool *ret_zeroed)
{
    void *block = NULL;
    if (!purge_release(size))
        return api_out_of_memory();
    if (UNLIKELY(options.hardened >= HARDEN_FILL))
        block = take_hardened(size, GRANULE, ret_zeroed);
    else if (size > SLAB_MAX)
        block = large_alloc(size, GRANULE, ret_zeroed);
    else
        block = take_shared(size_class(size), ret_zeroed);
    return block ? block : api_out_of_memory();
}

/* ret_zeroed: the block reads as zeros. */
static void *take(size_t size, bool *ret_zeroed)
{
    void *block = NULL;
    *ret_zeroed = false;
    if (!thread_init())
        return api_out_of_memory();
    if (UNLIKELY(options.hardened >= HARDEN_FILL)) {
        block = take_hardened(size, GRANULE, ret_zeroed);
    } else if (size > SLAB_MAX) {
        block = large_alloc(size, GRANULE, ret_zeroed);
    } else {
        struct heap *h = thread_heap();
        const unsigned class = size_class(size);
        if (!h)
            block = take_shared(class, ret_zeroed);
        else if (h->bins[class].next)
            block = bin_pop(&h->bins[class]);
        else
            block = magazine_refill(h, class, ret_zeroed);
    }
    return block ? block : take_last(size, ret_zeroed);
}

static NOINLINE void *malloc_slow(size_t size)
{
    bool zeroed;
    return take(size, &zeroed);
}

void *API(malloc)(size_t size)
{
    struct heap *h = heap_mine;
    /* Rounded up it says where the bin is. Sizes near SIZE_MAX wrap to 0, whose bin is always
     * empty, as is that of a request of no bytes. */
    const size_t offset = (size + GRANULE - 1) & ~(size_t)(GRANULE - 1);
    if (UNLIKELY(offset > FAST_MAX))
        return malloc_slow(size);
    struct bin *b = (struct bin *)((char *)h + 2 * offset);
    void *block = b->next;
    if (UNLIKELY(!block))
        return malloc_slow(size);
    void **top = b->top, *next = top[-1];
    b->next = next;
    /* Release, as in free. */
    __atomic_store_n(&b->top, top - 1, __ATOMIC_RELEASE);
    return block;
}

/* ---- giving back ---- */

static void free_foreign(const char *call, void *block)
{
    fault(call, block, chunk_owns(block) ? FAULT_GONE : FAULT_FOREIGN);
}

static void free_small(void *block, tag_t tag)
{
    struct heap *to = heap_of_tag(tag), *h = to->is_shared ? NULL : thread_heap();
    if (h == to) {
        magazine_overflow(h, class_of_tag(tag), block);
        purge_step(h);
    } else if (h) {
        if (remote_free(h, to, block, class_of_tag(tag)))
            purge_step(NULL);
    } else {
        lock_take(&to->lock);
        slab_put(to, &block, 1);
        if (slab_purge_due(to))
            (void)slab_purge(to);
        lock_leave(&to->lock);
        purge_step(NULL);
    }
}

static NOINLINE void free_slow(void *block, tag_t tag)
{
    if (!block)
        return;
    if (tag == 0 || !tagmap_owns(block)) {
        free_foreign("free", block);
    } else if (UNLIKELY(options.hardened)) {
        harden_free(block, tag);
    } else if (tag & TAG_SPECIAL) {
        large_free(block, tag);
        purge_step(NULL);
    } else {
        free_small(block, tag);
    }
}

void API(free)(void *block)
{
    const tag_t tag = tagmap_get(block);
    struct heap *h = heap_mine;
    /* Mine and small: then the tag is the address of the bin. */
    if (UNLIKELY((tag ^ (uintptr_t)h) >= HEAP_ALIGN)) {
        free_slow(block, tag);
        return;
    }
    struct bin *b = (struct bin *)tag;
    void **top = b->top;
    if (UNLIKELY(top == b->limit)) {
        free_slow(block, tag);
        return;
    }
    *top = b->next;
    b->next = block;
    /* Its first line, for writing: whoever gets the block next writes there first. Allocators that
     * keep lists in free blocks touch them here anyway; without it the program's own stores miss,
     * one after the other. */
    __builtin_prefetch(block, 1);
    /* Release: whoever sees the new top (the thread that takes figures) sees the entry. Free of
     * cost on x86-64. */
    __atomic_store_n(&b->top, top + 1, __ATOMIC_RELEASE);
}

/* ---- the rest of the family; api.c derives the others ---- */

void *API(calloc)(size_t count, size_t size)
{
    size_t total;
    bool zeroed;
    if (__builtin_mul_overflow(count, size, &total))
        return api_out_of_memory();
    void *block = take(total, &zeroed);
    if (block && !zeroed)
        memset(block, 0, total);
    return block;
}

/* 0: no block's start, and that was said. realloc would copy from inside a block, and beyond it. */
static size_t usable(const char *call, void *block)
{
    const tag_t tag = tagmap_get(block);
    if (tag == 0 || !tagmap_owns(block)) {
        free_foreign(call, block);
        return 0;
    }
    if (UNLIKELY(options.hardened))
        return harden_usable(call, block, tag);
    if (UNLIKELY(!(tag & TAG_SPECIAL ? large_is_start(block, tag) : slab_is_start(block)))) {
        fault(call, block, FAULT_INSIDE);
        return 0;
    }
    return tag & TAG_SPECIAL ? large_usable(block, tag) : class_size(class_of_tag(tag));
}

size_t API(malloc_usable_size)(void *block)
{
    return block ? usable("malloc_usable_size", block) : 0;
}

static void *move(void *block, size_t old, size_t size)
{
    bool zeroed;
    void *to = size > old && size > SLAB_MAX ? large_alloc_growing(size) : NULL;
    if (!to)
        to = take(size, &zeroed);
    if (!to)
        return NULL;
    memcpy(to, block, old < size ? old : size);
    API(free)(block);
    return to;
}

void *API(realloc)(void *block, size_t size)
{
    if (!block)
        return API(malloc)(size);
    if (size == 0) {
        API(free)(block);
        return NULL;
    }
    const size_t old = usable("realloc", block);
    if (old == 0) {
        errno = EINVAL;
        return NULL;
    }
    const tag_t tag = tagmap_get(block);
    if (UNLIKELY(harden_knows_size(tag)))
        return move(block, old, size);
    if (size <= old && size >= old / 2)
        return block;
    if ((tag & TAG_SPECIAL) && size > SLAB_MAX) {
        void *to = large_resize(block, tag, size);
        if (to) {
            purge_step(NULL);
            return to;
        }
    }
    return move(block, old, size);
}

void *API(memalign)(size_t alignment, size_t size)
{
    bool zeroed;
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (alignment <= GRANULE)
        return API(malloc)(size);
    if (size > SIZE_LIMIT)
        return api_out_of_memory();
    if (!thread_init())
        return api_out_of_memory();
    if (UNLIKELY(options.hardened >= HARDEN_FILL)) {
        void *block = take_hardened(size, alignment, &zeroed);
        return block ? block : api_out_of_memory();
    }
    /* Slabs start at a multiple of 64 KiB and blocks at multiples of their size: a size that is a
     * multiple of the alignment is enough. So is every coarser class (sizes.h). */
    size_t rounded = ALIGN_UP(size ? size : 1, alignment);
    if (rounded > FAST_MAX && rounded <= SLAB_MAX)
        rounded = (size_t)1 << (64 - __builtin_clzl(rounded - 1));
    if (rounded <= SLAB_MAX && alignment <= SLAB_MAX)
        return API(malloc)(rounded);
    void *block = large_alloc(size, alignment, &zeroed);
    return block ? block : api_out_of_memory();
}
