/* All locks are taken before fork, in their order, so nobody is in a slow path while the copy is
 * made, and slabs are in order in the child. Other threads may be in the middle of a fast path:
 * what is in their magazines and outboxes cannot be told from what is not, so the child leaves
 * those blocks alone (lost, at most what one thread caches) and takes over the rest of the heap. */
#include "allocators/hmalloc/fork.h"

#include <pthread.h>

#include "allocators/hmalloc/guard.h"
#include "allocators/hmalloc/heap.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/thread.h"

static struct heap *first_heap(void)
{
    return atomic_load_explicit(&heap_list, memory_order_acquire);
}

/* Heaps are made under the first two locks: none joins the list while we hold them. */
static void fork_prepare(void)
{
    lock_take(&thread_init_lock);
    lock_take(&thread_lock);
    for (struct heap *h = first_heap(); h; h = h->next)
        lock_take(&h->lock);
    lock_take(&guard_lock);
    lock_take(&large_lock);
    lock_take(&chunk_lock);
    tagmap_lock();
    lock_take(&meta_lock);
}

static void fork_release(void (*leave)(struct lock *))
{
    leave(&meta_lock);
    tagmap_unlock(leave == lock_reset);
    leave(&chunk_lock);
    leave(&large_lock);
    leave(&guard_lock);
    for (struct heap *h = first_heap(); h; h = h->next)
        leave(&h->lock);
    leave(&thread_lock);
    leave(&thread_init_lock);
}

static void fork_parent(void)
{
    fork_release(lock_leave);
}

/* Arrays of magazines and messages go with the blocks in them. */
static void fork_forget(struct heap *h)
{
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        h->magazines[class] = (struct magazine){0};
        magazine_reset(&h->bins[class]);
    }
    for (unsigned i = 0; i < OUTBOXES; i++)
        h->outboxes[i] = (struct outbox){0};
    h->stash = NULL;
    h->stash_count = 0;
    h->magazine_bytes = 0;
}

static void fork_child(void)
{
    fork_release(lock_reset);
    /* Orphans too: one may have been on its way into the list. */
    thread_orphans_reset();
    for (struct heap *h = first_heap(); h; h = h->next)
        if (h != heap_mine && !h->is_shared) {
            if (!atomic_load_explicit(&h->is_orphan, memory_order_relaxed))
                fork_forget(h);
            thread_leave(h, false);
        }
}

void fork_register(void)
{
    (void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}
