/* The walker: the buddy system's own, then every slab of every arena, then the lists of caches and
 * threads. Slabs are counted by what their descriptors say and must be found where that says. */
#include <stdio.h>

#include "allocators/common/classic.h"
#include "allocators/slub/object.h"
#include "allocators/slub/slub.h"

struct walk {
    size_t slabs[CACHES_COUNT];   /* of the arenas */
    size_t frozen[CACHES_COUNT];  /* of these, as the descriptors say */
    size_t partial[CACHES_COUNT]; /* not frozen and with free objects */
    long inuse[CACHES_COUNT];
    const char *wrong; /* NULL so far */
    const void *where;
};

static void wrong(struct walk *walk, const void *where, const char *what)
{
    if (!walk->wrong) {
        walk->wrong = what;
        walk->where = where;
    }
}

static struct slab_state state_of(const struct page *page)
{
    return atomic_load_explicit(&page->state, memory_order_acquire);
}

/* Length of a list of free objects, which all must be in one slab. */
static long walk_objects(struct walk *walk, const struct page *page, const struct object *object)
{
    const struct cache *cache = page->cache;
    long length = 0;
    for (; object; object = object_next(cache, object)) {
        if (!object_same_slab(cache, object, page->start) || !object_is_start(cache, object) ||
            ++length > (long)cache->objects) {
            wrong(walk, page->start, "a list of free objects leads astray");
            break;
        }
    }
    return length;
}

static void walk_slab(struct walk *walk, const struct page *page, unsigned order)
{
    const struct cache *cache = page->cache;
    struct slab_state state = state_of(page);
    size_t i = (size_t)(cache - caches);
    if (i >= CACHES_COUNT || order != cache->order || state.head > cache->objects ||
        state.inuse > cache->objects || state.frozen > 1) {
        wrong(walk, page, "a slab's descriptor was overwritten");
        return;
    }
    for (unsigned k = 0; k < 1u << order; k++)
        if (atomic_load_explicit(&page[k].head, memory_order_relaxed) != page)
            wrong(walk, page->start, "a page does not lead to the first one of its slab");
    const char *first = state.head ? page->start + (state.head - 1) * cache->size : NULL;
    long length = walk_objects(walk, page, (const struct object *)first);
    if (length + state.inuse != (long)cache->objects)
        wrong(walk, page->start, "a slab's count is not what its list leaves");
    walk->slabs[i]++;
    walk->frozen[i] += state.frozen;
    walk->partial[i] += !state.frozen && state.head > 0;
    walk->inuse[i] += state.inuse;
}

static void walk_arena(struct walk *walk, const struct arena *arena)
{
    const struct page *pages = (const struct page *)arena->descriptors;
    for (unsigned unit = 0; unit < ARENA_UNITS && !walk->wrong;) {
        unsigned order = map_order(arena->map[unit]);
        bool used = arena->map[unit] & MAP_USED;
        const struct page *head = atomic_load_explicit(&pages[unit].head, memory_order_acquire);
        if (head && (!used || head != &pages[unit]))
            wrong(walk, &pages[unit], "a page is said to be in a slab that is none");
        else if (head)
            walk_slab(walk, head, order);
        unit += 1u << order;
    }
}

static void walk_partial(struct walk *walk, const struct cache *cache)
{
    const struct page *before = NULL;
    size_t count = 0;
    for (const struct page *page = cache->first; page && !walk->wrong; page = page->next) {
        struct slab_state state = state_of(page);
        if (page->cache != cache || page->prev != before || state.frozen || state.head == 0 ||
            ++count > cache->partial_count)
            wrong(walk, page, "a slab is wrongly in the partial list of a cache");
        before = page;
    }
    if (cache->last != before || count != cache->partial_count ||
        count != walk->partial[cache - caches])
        wrong(walk, cache, "the partial list does not hold every partial slab");
}

/* What a thread has of a cache: its slabs are frozen, its free objects are among those in use. */
static void walk_active(struct walk *walk, const struct active *a, size_t i)
{
    size_t count = 0;
    if (a->slab) {
        if (a->slab->cache != &caches[i] || !state_of(a->slab).frozen)
            wrong(walk, a->slab, "an active slab is not frozen");
        walk->frozen[i]--;
        walk->inuse[i] -= walk_objects(walk, a->slab, a->freelist);
    } else if (a->freelist) {
        wrong(walk, a->freelist, "free objects of no slab");
    }
    for (const struct page *page = a->partial; page && !walk->wrong; page = page->next) {
        if (page->cache != &caches[i] || !state_of(page).frozen || ++count > a->partial_count)
            wrong(walk, page, "a slab is wrongly in the partial list of a thread");
        walk->frozen[i]--;
    }
    if (count != a->partial_count)
        wrong(walk, a, "the partial list of a thread has another length");
    walk->inuse[i] -= atomic_load_explicit(&a->live, memory_order_relaxed);
}

static void walk_heap(struct walk *walk)
{
    walk->wrong = buddy_check_locked(&walk->where);
    for (const struct arena *arena = buddy.arenas; arena && !walk->wrong; arena = arena->next)
        walk_arena(walk, arena);
    for (size_t i = 0; i < CACHES_COUNT && !walk->wrong; i++)
        walk_partial(walk, &caches[i]);
    for (const struct thread *t = NULL; (t = thread_next(t)) && !walk->wrong;)
        for (size_t i = 0; i < CACHES_COUNT && !walk->wrong; i++)
            walk_active(walk, &t->active[i], i);
    for (size_t i = 0; i < CACHES_COUNT && !walk->wrong; i++) {
        long live = atomic_load_explicit(&caches[i].live, memory_order_relaxed);
        size_t slabs = atomic_load_explicit(&caches[i].slabs_count, memory_order_relaxed);
        /* Threads a fork left behind were in the middle of something. */
        if (!thread_was_abandoned() &&
            (walk->inuse[i] != live || walk->frozen[i] != 0 || walk->slabs[i] != slabs))
            wrong(walk, &caches[i], "the figures do not agree with the slabs");
    }
}

int classic_check(void)
{
    struct walk walk = {0};
    lock_everything();
    walk_heap(&walk);
    leave_everything();
    if (!walk.wrong)
        return 0;
    fprintf(stderr, "slub: check: %p: %s\n", walk.where, walk.wrong);
    return -1;
}
