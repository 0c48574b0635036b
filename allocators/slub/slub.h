/* The slab allocator as SLUB has it: each size has a cache, a cache has slabs, a slab is a block of
 * pages cut into objects of that size, with nothing between them (Bonwick, "The Slab Allocator",
 * USENIX Summer 1994; Lameter's SLUB, mm/slub.c of Linux since 2.6.22).
 *
 * What there is to know about a slab stands in its page descriptor, out of band. A free object
 * holds the pointer to the next one (object.h). Free objects of a slab can be in two lists:
 *
 *   thread ----> active slab of a cache: `freelist`, touched by the owner only, no atomics
 *                  |
 *                  v
 *   page   ----> the slab's own list: `state.head`, where everybody else frees to
 *
 * A slab is in one of these places; `frozen` says that it is some thread's:
 *
 *   active of a thread   frozen     the thread allocates from it
 *   partial of a thread  frozen     waits to be its active slab, needs no lock to get
 *   partial of a cache   not        has free objects, in the cache's list, under its lock
 *   full                 not        in no list: nothing can be had from it until something is freed
 *
 * Taking a slab off a list freezes it; who froze it unfreezes it or returns its pages. */
#ifndef HEAPMARK_ALLOCATORS_SLUB_SLUB_H
#define HEAPMARK_ALLOCATORS_SLUB_SLUB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocators/buddy/buddy.h"
#include "allocators/common/lock.h"

#define CACHES_COUNT 13 /* 8, 16, 32, 64, 96, 128, 192, 256, then by two up to OBJECT_MAX */
#define OBJECT_MAX   ((size_t)8192)
#define BLOCK_MAX    (ARENA_SIZE / 2) /* above OBJECT_MAX: pages; above this: a mapping */

struct object; /* a slot of a slab, free or in use */

/* The part of a slab that several threads change: one word, by compare-and-exchange. Release when
 * objects are added, acquire when they are taken, so that what the freeing thread wrote to an
 * object comes before what the next owner does. The list is only pushed to or taken whole: a head
 * that went and came back (ABA) does no harm. */
struct slab_state {
    uint16_t head;   /* index + 1 of the first object of the slab's own list; 0: empty */
    uint16_t inuse;  /* objects not in that list: the program's, or in a thread's freelist */
    uint16_t frozen; /* 0 or 1 */
    uint16_t spare;
};

/* One per page of every arena; of a slab's pages the first one's speaks for all. */
struct page {
    _Atomic(struct page *) head; /* the slab's first; NULL: not in a slab */
    struct cache *cache;
    _Atomic struct slab_state state;
    struct page *prev,
        *next;   /* partial list: of the cache (its lock), or of a thread (next only) */
    char *start; /* of the slab */
    char unused[16];
};
_Static_assert(sizeof(struct page) == BUDDY_DESCRIPTOR_SIZE, "told to the page allocator");
_Static_assert(sizeof(struct slab_state) == 8, "one word");

struct cache {
    /* Constant. */
    size_t size;
    unsigned order;       /* of its slabs */
    unsigned objects;     /* per slab */
    unsigned offset;      /* of the pointer in a free object: the middle, where an overflow of
                             the object before does not reach at once */
    uint32_t reciprocal;  /* 2^32 / size, rounded up: index = (offset in slab * it) >> 32 */
    unsigned min_partial; /* so many slabs stay in the list, even empty */
    unsigned thread_partial_max; /* slabs a thread keeps */

    struct lock lock;
    uintptr_t secret; /* written with the first slab */
    struct page *first, *last;
    size_t partial_count;
    _Atomic size_t slabs_count; /* relaxed: a figure */
    _Atomic long live;          /* relaxed: objects in use, but what `struct active` counts */
};

extern struct cache caches[CACHES_COUNT];

/* What a thread has of a cache. */
struct active {
    struct object *freelist;
    struct page *slab; /* the active one, NULL: none. All of freelist is in it */
    struct page *partial;
    unsigned partial_count;
    _Atomic long live; /* allocated - freed by this thread; relaxed, only the owner writes */
};

struct thread {
    struct active active[CACHES_COUNT];
    struct thread *prev, *next; /* all threads, or the idle ones: next only */
};

/* --- slab.c: slabs and the lists of a cache --------------------------------------------------- */

struct page *
slab_new(struct cache *cache); /* frozen, all objects in its own list; NULL: no memory */
/* Freeze the first slab of the cache's partial list. NULL: there is none. */
struct page *slab_from_partial(struct cache *cache);
/* Take the own list of a frozen slab whole. NULL: there was nothing, and the slab is now full and
 * nobody's. */
struct object *slab_take(struct page *page);
/* Put an object into the slab's own list. True: the slab was full, and the caller, who said that he
 * could keep it, now owns it, frozen. */
bool slab_free(struct page *page, struct object *object, bool can_keep);
/* Unfreeze a slab, its objects in `list` going back with it: partial, full, or back to pages. */
void slab_release(struct page *page, struct object *list);
/* Return the pages of the empty slabs in the cache's list. */
void slab_shrink(struct cache *cache);

/* --- thread.c --------------------------------------------------------------------------------- */

/* The caller's, made on the first call. NULL: no memory for it, or the thread is at its end. */
struct thread *thread_self(void);
/* For a caller without one: one that all of them share, until thread_shared_leave. */
struct thread *thread_shared_take(void);
void thread_shared_leave(void);
/* Give all slabs of the caller's thread, and of the shared one, back to their caches. */
void thread_flush_self(void);
/* Every lock, in their order: shared thread, list of threads, caches, buddy. */
void lock_everything(void);
void leave_everything(void);
/* With every lock held: each thread in turn, the shared one first; NULL at the end. */
struct thread *thread_next(const struct thread *thread);
/* Forks that left other threads' slabs frozen for ever in this process. */
bool thread_was_abandoned(void);

#endif
