/* Slabs: from pages and back, their own lists, and the partial lists of the caches. */
#include <string.h>
#include <sys/auxv.h>

#include "allocators/common/fault.h"
#include "allocators/slub/object.h"
#include "allocators/slub/slub.h"

/* At least 16 objects to a slab, but never more than 8 pages. A thread keeps partial slabs for
 * about 240 small objects, fewer of the larger ones, and half of each slab is assumed to be in
 * use; all numbers are the kernel's or close to them. */
#define CACHE(bytes, slab_order, keep)                                                           \
    {                                                                                            \
        .size = (bytes), .order = (slab_order),                                                  \
        .objects = (unsigned)((UNIT_SIZE << (slab_order)) / (bytes)),                            \
        .offset = (bytes) / 2 / 8 * 8,                                                           \
        .reciprocal = (uint32_t)(((UINT64_C(1) << 32) + (bytes)-1) / (bytes)), .min_partial = 5, \
        .thread_partial_max = (keep),                                                            \
    }
struct cache caches[CACHES_COUNT] = {
    CACHE(8, 0, 1),    CACHE(16, 0, 1),   CACHE(32, 0, 2),   CACHE(64, 0, 4),  CACHE(96, 0, 6),
    CACHE(128, 0, 8),  CACHE(192, 0, 12), CACHE(256, 0, 7),  CACHE(512, 1, 7), CACHE(1024, 2, 3),
    CACHE(2048, 3, 3), CACHE(4096, 3, 2), CACHE(8192, 3, 3),
};

static struct slab_state state_of(const struct page *page)
{
    return atomic_load_explicit(&page->state, memory_order_relaxed);
}

static bool state_replace(struct page *page, struct slab_state *old, struct slab_state new)
{
    return atomic_compare_exchange_weak_explicit(&page->state, old, new, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

/* --- from pages and back ---------------------------------------------------------------------- */

static uintptr_t make_secret(const struct cache *cache)
{
    uintptr_t secret = 0;
    const void *random = (const void *)getauxval(AT_RANDOM); /* 16 bytes, at any address */
    if (random)
        memcpy(&secret, random, sizeof secret);
    return secret * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)cache << 7;
}

/* Thread all objects into the slab's own list, in the order of their addresses. */
static void fill_slab(const struct cache *cache, struct page *page)
{
    struct object *next = NULL;
    for (unsigned i = cache->objects; i-- > 0;) {
        struct object *object = (struct object *)(page->start + i * cache->size);
        object_set_next(cache, object, next);
        next = object;
    }
    atomic_store_explicit(&page->state, ((struct slab_state){.head = 1, .frozen = 1}),
                          memory_order_relaxed);
}

struct page *slab_new(struct cache *cache)
{
    lock_take(&cache->lock);
    if (cache->secret == 0)
        cache->secret = make_secret(cache);
    lock_leave(&cache->lock);
    lock_take(&buddy.lock);
    char *start = buddy_alloc_locked(cache->order);
    lock_leave(&buddy.lock);
    if (!start)
        return NULL;
    struct arena *arena = arena_of(start);
    struct page *page = (struct page *)arena->descriptors + unit_of(arena, start);
    page->cache = cache;
    page->start = start;
    fill_slab(cache, page);
    /* The first page's last: from there on it is a slab, for a fork that comes in between too. */
    for (unsigned i = 1u << cache->order; i-- > 0;)
        atomic_store_explicit(&page[i].head, page, memory_order_release);
    atomic_fetch_add_explicit(&cache->slabs_count, 1, memory_order_relaxed);
    return page;
}

/* Return the pages of a frozen slab whose objects are all free. */
static void discard(struct page *page)
{
    struct cache *cache = page->cache;
    char *start = page->start;
    for (unsigned i = 0; i < 1u << cache->order; i++)
        atomic_store_explicit(&page[i].head, NULL, memory_order_relaxed);
    atomic_fetch_sub_explicit(&cache->slabs_count, 1, memory_order_relaxed);
    lock_take(&buddy.lock);
    struct arena *arena = arena_of(start);
    buddy_free_locked(arena, unit_of(arena, start));
    lock_leave(&buddy.lock);
}

/* --- the partial list of a cache -------------------------------------------------------------- */

/* To the end: slabs at the front get time to become empty or full. */
static void list_add_locked(struct page *page)
{
    struct cache *cache = page->cache;
    page->prev = cache->last;
    page->next = NULL;
    if (cache->last)
        cache->last->next = page;
    else
        cache->first = page;
    cache->last = page;
    cache->partial_count++;
}

/* Off the list and frozen. */
static void list_remove_locked(struct page *page)
{
    struct cache *cache = page->cache;
    struct slab_state old = state_of(page), new;
    do {
        new = old;
        new.frozen = 1;
    } while (!state_replace(page, &old, new));
    if (page->prev)
        page->prev->next = page->next;
    else
        cache->first = page->next;
    if (page->next)
        page->next->prev = page->prev;
    else
        cache->last = page->prev;
    page->prev = page->next = NULL;
    cache->partial_count--;
}

struct page *slab_from_partial(struct cache *cache)
{
    lock_take(&cache->lock);
    struct page *page = cache->first;
    if (page)
        list_remove_locked(page);
    lock_leave(&cache->lock);
    return page;
}

/* The slab has just become what it is, which is not frozen: file it where it belongs. Returns it
 * frozen if its pages are to go, which the caller does without the lock. */
static struct page *file_locked(struct page *page, struct slab_state state, bool listed)
{
    bool keep = state.inuse > 0 || page->cache->partial_count < page->cache->min_partial;
    if (!listed && state.head > 0)
        list_add_locked(page);
    if (keep)
        return NULL;
    list_remove_locked(page);
    return page;
}

void slab_shrink(struct cache *cache)
{
    struct page *empty = NULL;
    lock_take(&cache->lock);
    for (struct page *page = cache->first, *next; page; page = next) {
        next = page->next;
        if (state_of(page).inuse > 0)
            continue;
        list_remove_locked(page);
        page->next = empty;
        empty = page;
    }
    lock_leave(&cache->lock);
    while (empty) {
        struct page *page = empty;
        empty = page->next;
        discard(page);
    }
}

/* --- objects to and from the own list --------------------------------------------------------- */

static struct object *object_at(const struct page *page, unsigned head)
{
    return head ? (struct object *)(page->start + (head - 1) * page->cache->size) : NULL;
}

static uint16_t head_of(const struct cache *cache, const struct object *object)
{
    return (uint16_t)(object_index(cache, object) + 1);
}

struct object *slab_take(struct page *page)
{
    struct slab_state old = state_of(page), new;
    do {
        new = (struct slab_state){.inuse = (uint16_t)page->cache->objects, .frozen = old.head > 0};
    } while (!state_replace(page, &old, new));
    return object_at(page, old.head);
}

/* What the state becomes when an object is freed into it. */
static struct slab_state after_free(const struct cache *cache, struct slab_state old,
                                    const struct object *object, bool freeze)
{
    return (struct slab_state){
        .head = head_of(cache, object),
        .inuse = (uint16_t)(old.inuse - 1),
        .frozen = old.frozen || freeze,
    };
}

/* A frozen slab takes the object and nothing else happens, nor to one in the list that does not
 * become empty. A full one can become the caller's. The rest changes lists, under the lock, which
 * is taken before the state changes: between the two nobody may find the slab in the wrong place.
 */
bool slab_free(struct page *page, struct object *object, bool can_keep)
{
    struct cache *cache = page->cache;
    struct page *empty = NULL;
    bool locked = false, was_full, freeze, refile;
    struct slab_state old = state_of(page), new;
    do {
        was_full = !old.frozen && old.head == 0;
        freeze = was_full && can_keep && !locked;
        new = after_free(cache, old, object, freeze);
        refile = !new.frozen && (was_full || new.inuse == 0);
        if (refile && !locked) {
            lock_take(&cache->lock);
            locked = true;
        }
        object_set_next(cache, object, object_at(page, old.head));
    } while (!state_replace(page, &old, new));
    if (refile)
        empty = file_locked(page, new, !was_full);
    if (locked)
        lock_leave(&cache->lock);
    if (empty)
        discard(empty);
    return freeze;
}

/* The last object of a list; their number to *ret_count. */
static struct object *list_end(const struct cache *cache, struct object *list, unsigned *ret_count)
{
    unsigned count = 1;
    for (struct object *next; (next = object_next(cache, list)); list = next) {
        if (!object_next_ok(cache, list, next) || ++count > cache->objects)
            fault("free list", list, "a free object was written to");
    }
    *ret_count = count;
    return list;
}

void slab_release(struct page *page, struct object *list)
{
    struct cache *cache = page->cache;
    unsigned count = 0;
    struct object *end = list ? list_end(cache, list, &count) : NULL;
    lock_take(&cache->lock);
    struct slab_state old = state_of(page), new;
    do {
        new = (struct slab_state){.head = list ? head_of(cache, list) : old.head,
                                  .inuse = (uint16_t)(old.inuse - count)};
        if (list)
            object_set_next(cache, end, object_at(page, old.head));
    } while (!state_replace(page, &old, new));
    struct page *empty = file_locked(page, new, false);
    lock_leave(&cache->lock);
    if (empty)
        discard(empty);
}
