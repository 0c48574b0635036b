#include "allocators/hmalloc/thread.h"

#include <pthread.h>

#include "allocators/hmalloc/fork.h"
#include "allocators/hmalloc/harden.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/purge.h"
#include "allocators/hmalloc/remote.h"
#include "allocators/hmalloc/slab.h"

/* Destructors of thread-specific data run in up to four rounds (PTHREAD_DESTRUCTOR_ITERATIONS), and
 * other libraries' destructors free in them: ours asks to be called again until the last. */
#define ROUNDS 3

struct lock thread_init_lock, thread_lock;
static struct heap *orphans; /* under thread_lock */

static _Atomic bool is_ready; /* release after everything is set up, acquire before use */
static pthread_key_t exit_key;
static bool has_key;
static __thread unsigned round_number INITIAL_EXEC;

static void thread_exit(void *heap)
{
    struct heap *h = heap;
    if (++round_number < ROUNDS && pthread_setspecific(exit_key, h) == 0)
        return;
    if (heap_mine != h)
        return;
    heap_mine = &heap_dead;
    thread_leave(h, true);
    purge_step(NULL);
}

bool thread_init(void)
{
    if (LIKELY(atomic_load_explicit(&is_ready, memory_order_acquire)))
        return true;
    lock_take(&thread_init_lock);
    bool ready = atomic_load_explicit(&is_ready, memory_order_relaxed);
    if (!ready) {
        options_init();
        ready = tagmap_init() && heap_shared_init();
        harden_init();
        atomic_store_explicit(&is_ready, ready, memory_order_release);
    }
    lock_leave(&thread_init_lock);
    return ready;
}

/* Neither pthread_key_create nor pthread_atfork may be called from within malloc: both may call it.
 * By now the C library is ready; threads of earlier constructors keep their heaps for ever. */
__attribute__((constructor)) static void thread_register(void)
{
    has_key = pthread_key_create(&exit_key, thread_exit) == 0;
    fork_register();
    if (has_key && heap_mine != &heap_none && heap_mine != &heap_dead)
        (void)pthread_setspecific(exit_key, heap_mine);
}

/* An orphan, or a new heap. All under the lock, so that fork finds neither a heap that is in no
 * list nor one it did not lock. */
static struct heap *heap_take(void)
{
    lock_take(&thread_lock);
    struct heap *h = orphans;
    if (h) {
        orphans = h->next_orphan;
        atomic_store_explicit(&h->is_orphan, false, memory_order_relaxed);
    } else {
        h = heap_new();
    }
    lock_leave(&thread_lock);
    return h;
}

struct heap *thread_heap(void)
{
    struct heap *h = heap_mine;
    if (LIKELY(h != &heap_none))
        return h == &heap_dead ? NULL : h;
    if (!thread_init())
        return NULL;
    h = heap_take();
    if (!h)
        return NULL;
    /* First, because pthread_setspecific may call calloc for keys beyond the first 32. */
    heap_mine = h;
    if (has_key)
        (void)pthread_setspecific(exit_key, h);
    return h;
}

void thread_orphans_reset(void)
{
    orphans = NULL;
}

void thread_leave(struct heap *h, bool is_ours)
{
    if (is_ours) {
        remote_flush(h);
        remote_stash_trim(h, 0);
    }
    lock_take(&h->lock);
    if (is_ours)
        magazine_empty(h);
    /* Before the drain: see remote.h. */
    atomic_store_explicit(&h->is_orphan, true, memory_order_seq_cst);
    (void)remote_drain(h, false, NULL);
    (void)slab_purge(h);
    lock_leave(&h->lock);
    lock_take(&thread_lock);
    h->next_orphan = orphans;
    orphans = h;
    lock_leave(&thread_lock);
    if (is_ours)
        purge_step(NULL);
}
