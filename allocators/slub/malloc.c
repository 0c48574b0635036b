/* The malloc family on slabs: up to OBJECT_MAX an object, up to BLOCK_MAX a block of pages, above
 * it a mapping (common/large.c).
 *
 * Loaded by heapmark-runner or by LD_PRELOAD as libhm_classic_slub.so. Any thread: the usual call
 * touches what its thread owns and nothing else. Start with cache_alloc and object_free. */
#include <string.h>

#include "allocators/common/classic.h"
#include "allocators/common/fault.h"
#include "allocators/common/large.h"
#include "allocators/slub/object.h"
#include "allocators/slub/slub.h"

const char fault_name[] = "slub";

/* --- sizes and caches ------------------------------------------------------------------------- */

/* Up to 192 bytes by table, in steps of 8, because of 96 and 192; then one per power of two. */
static const uint8_t small_index[192 / 8 + 1] = {0, 0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4,
                                                 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6};

static unsigned cache_index(size_t size)
{
    if (size <= 192)
        return small_index[(size + 7) / 8];
    return (unsigned)(64 - __builtin_clzl(size - 1)) - 1;
}

static void count(struct active *a, long more)
{
    long live = atomic_load_explicit(&a->live, memory_order_relaxed);
    atomic_store_explicit(&a->live, live + more, memory_order_relaxed);
}

/* --- allocation ------------------------------------------------------------------------------- */

/* The next slab to allocate from: the thread's own, the cache's, a new one. Frozen. */
static struct page *next_slab(struct cache *cache, struct active *a)
{
    struct page *page = a->partial;
    if (page) {
        a->partial = page->next;
        a->partial_count--;
        page->next = NULL;
        return page;
    }
    page = slab_from_partial(cache);
    return page ? page : slab_new(cache);
}

/* The freelist is empty: what others freed into the active slab, or else another slab. */
static __attribute__((noinline)) struct object *refill(struct cache *cache, struct active *a)
{
    while (!a->freelist) {
        if (!a->slab)
            a->slab = next_slab(cache, a);
        if (!a->slab)
            return NULL;
        a->freelist = slab_take(a->slab);
        if (!a->freelist)
            a->slab = NULL; /* full: it will be heard of again when something in it is freed */
    }
    return a->freelist;
}

static void *cache_alloc(struct thread *thread, unsigned index)
{
    struct cache *cache = &caches[index];
    struct active *a = &thread->active[index];
    struct object *object = a->freelist;
    if (UNLIKELY(!object)) {
        object = refill(cache, a);
        if (!object)
            return NULL;
    }
    struct object *next = object_next(cache, object);
    if (UNLIKELY(!object_next_ok(cache, object, next)))
        fault("malloc", object, "a free object was written to");
    a->freelist = next;
    object_clear(cache, object);
    count(a, 1);
    return object;
}

static void *object_alloc(unsigned index)
{
    struct thread *thread = thread_self();
    void *object;
    if (UNLIKELY(!thread)) {
        object = cache_alloc(thread_shared_take(), index);
        thread_shared_leave();
    } else {
        object = cache_alloc(thread, index);
    }
    return object ? object : api_out_of_memory();
}

/* A block of pages, as large kmallocs in the kernel. */
static void *pages_alloc(size_t size)
{
    lock_take(&buddy.lock);
    void *block = buddy_alloc_locked(order_of(size));
    lock_leave(&buddy.lock);
    return block ? block : api_out_of_memory();
}

/* --- release ---------------------------------------------------------------------------------- */

/* Keep a slab that was full until this thread freed an object of it. Too many: all of those before
 * go to the cache, under its lock, once in a while instead of each time. */
static void keep_partial(struct cache *cache, struct active *a, struct page *page)
{
    if (a->partial_count >= cache->thread_partial_max) {
        struct page *partial = a->partial;
        a->partial = NULL;
        a->partial_count = 0;
        while (partial) {
            struct page *next = partial->next;
            slab_release(partial, NULL);
            partial = next;
        }
    }
    page->next = a->partial;
    a->partial = page;
    a->partial_count++;
}

static void object_free(struct page *page, struct object *object)
{
    struct cache *cache = page->cache;
    struct thread *thread = thread_self();
    if (UNLIKELY(!thread)) {
        atomic_fetch_sub_explicit(&cache->live, 1, memory_order_relaxed);
        (void)slab_free(page, object, false);
        return;
    }
    struct active *a = &thread->active[cache - caches];
    count(a, -1);
    if (page == a->slab) {
        object_set_next(cache, object, a->freelist);
        a->freelist = object;
    } else if (slab_free(page, object, true)) {
        keep_partial(cache, a, page);
    }
}

/* --- from a pointer to what it means ---------------------------------------------------------- */

/* Exactly one of slab, arena and large is set. */
struct found {
    struct page *slab;
    struct arena *arena; /* pages of the buddy system, from `unit` on */
    unsigned unit;
    struct large *large;
};

static struct page *slab_of(const struct arena *arena, const void *payload)
{
    struct page *pages = (struct page *)arena->descriptors;
    return atomic_load_explicit(&pages[unit_of(arena, payload)].head, memory_order_acquire);
}

static void check_object(const struct cache *cache, const char *call, const void *payload)
{
    if (UNLIKELY(!object_is_start(cache, payload)))
        fault(call, payload, "not the start of a block");
    if (UNLIKELY(object_looks_free(cache, payload)))
        fault(call, payload, "double free: the block is already free");
}

/* Pages or a mapping of its own; else the program ends. */
static struct found resolve_block(struct arena *arena, const char *call, const void *payload)
{
    struct found found = {.arena = arena};
    if (!arena) {
        found.large = large_of(payload);
    } else {
        found.unit = unit_of(arena, payload);
        lock_take(&buddy.lock);
        bool good = (uintptr_t)payload % UNIT_SIZE == 0 && arena->map[found.unit] & MAP_USED;
        lock_leave(&buddy.lock);
        if (good)
            return found;
    }
    if (found.large)
        return found;
    lock_take(&buddy.lock);
    const char *misuse = buddy_misuse_locked(payload);
    lock_leave(&buddy.lock);
    fault(call, payload, misuse);
}

static struct found resolve(const char *call, const void *payload)
{
    struct arena *arena = arena_of(payload);
    struct page *slab = arena ? slab_of(arena, payload) : NULL;
    if (UNLIKELY(!slab))
        return resolve_block(arena, call, payload);
    check_object(slab->cache, call, payload);
    return (struct found){.slab = slab};
}

static size_t found_usable(const struct found *found)
{
    if (found->slab)
        return found->slab->cache->size;
    if (found->large)
        return large_usable(found->large);
    lock_take(&buddy.lock);
    size_t usable = order_bytes(map_order(found->arena->map[found->unit]));
    lock_leave(&buddy.lock);
    return usable;
}

/* --- the family ------------------------------------------------------------------------------- */

void *API(malloc)(size_t size)
{
    if (size <= OBJECT_MAX)
        return object_alloc(cache_index(size));
    if (size <= BLOCK_MAX)
        return pages_alloc(size);
    return size <= PTRDIFF_MAX ? large_alloc(API_ALIGNMENT, size) : api_out_of_memory();
}

void API(free)(void *payload)
{
    if (!payload)
        return;
    int saved = errno;
    struct found found = resolve("free", payload);
    if (found.slab) {
        object_free(found.slab, payload);
    } else if (found.large) {
        large_free(found.large);
    } else {
        lock_take(&buddy.lock);
        buddy_free_locked(found.arena, found.unit);
        lock_leave(&buddy.lock);
    }
    errno = saved;
}

void *API(calloc)(size_t count, size_t size)
{
    return large_calloc(count, size, BLOCK_MAX + 1);
}

/* Objects of a power of two and blocks of pages are aligned to their size. */
void *API(memalign)(size_t alignment, size_t size)
{
    if (!api_is_power_of_two(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    if (size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)
        return api_out_of_memory();
    if (size > BLOCK_MAX || alignment > BLOCK_MAX)
        return large_alloc(alignment > API_ALIGNMENT ? alignment : API_ALIGNMENT, size);
    size_t need = size > alignment ? size : alignment;
    if (need > OBJECT_MAX)
        return pages_alloc(need);
    unsigned index = cache_index(need);
    while (caches[index].size % alignment != 0) /* 96 and 192 */
        index++;
    return object_alloc(index);
}

size_t API(malloc_usable_size)(void *payload)
{
    if (!payload)
        return 0;
    struct found found = resolve("malloc_usable_size", payload);
    return found_usable(&found);
}

/* What malloc(size) would give: the block stays if that is no less than what it has. */
static size_t rounded(size_t size)
{
    return size <= OBJECT_MAX ? caches[cache_index(size)].size : order_bytes(order_of(size));
}

void *API(realloc)(void *payload, size_t size)
{
    if (!payload)
        return API(malloc)(size);
    if (size == 0) {
        API(free)(payload);
        return NULL;
    }
    if (UNLIKELY(size > PTRDIFF_MAX))
        return api_out_of_memory();
    struct found found = resolve("realloc", payload);
    size_t usable = found_usable(&found);
    if (found.large && size > BLOCK_MAX)
        return large_resize(found.large, size);
    if (!found.large && size <= usable && rounded(size) >= usable)
        return payload;
    void *moved = API(malloc)(size);
    if (!moved)
        return NULL;
    memcpy(moved, payload, size < usable ? size : usable);
    API(free)(payload);
    return moved;
}
