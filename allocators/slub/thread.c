/* The slabs of threads: made with a thread's first call, given back when it ends, and what a fork
 * leaves of them. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "allocators/api/api.h"
#include "allocators/slub/slub.h"

static struct {
    struct lock lock;
    struct thread *first; /* alive */
    struct thread *idle;  /* of threads that ended: for the next ones */
    bool was_abandoned;
} threads;

/* For calls from threads that have none: because there was no memory for one, or because they are
 * at their end and the destructor below has run. */
static struct {
    struct lock lock;
    struct thread thread;
} shared;

static __thread struct thread *self INITIAL_EXEC;
static __thread bool has_ended INITIAL_EXEC;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

/* --- giving back ------------------------------------------------------------------------------ */

/* Leave a and the counter behind as if the thread had never been. */
static void flush_active(struct cache *cache, struct active *a)
{
    struct page *slab = a->slab, *partial = a->partial;
    struct object *list = a->freelist;
    long live = atomic_load_explicit(&a->live, memory_order_relaxed);
    a->freelist = NULL;
    a->slab = a->partial = NULL;
    a->partial_count = 0;
    atomic_store_explicit(&a->live, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->live, live, memory_order_relaxed);
    if (slab)
        slab_release(slab, list);
    while (partial) {
        struct page *next = partial->next;
        slab_release(partial, NULL);
        partial = next;
    }
}

static void flush(struct thread *thread)
{
    for (unsigned i = 0; i < CACHES_COUNT; i++)
        flush_active(&caches[i], &thread->active[i]);
}

void thread_flush_self(void)
{
    if (self)
        flush(self);
    flush(thread_shared_take());
    thread_shared_leave();
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void list_remove_locked(struct thread *thread)
{
    if (thread->prev)
        thread->prev->next = thread->next;
    else
        threads.first = thread->next;
    if (thread->next)
        thread->next->prev = thread->prev;
    thread->prev = NULL;
    thread->next = threads.idle;
    threads.idle = thread;
}

static void on_thread_exit(void *arg)
{
    struct thread *thread = arg;
    self = NULL;
    has_ended = true;
    flush(thread);
    lock_take(&threads.lock);
    list_remove_locked(thread);
    lock_leave(&threads.lock);
}

static void make_exit_key(void)
{
    (void)pthread_key_create(&exit_key, on_thread_exit);
}

/* An idle one or a new one, in the list of threads. Idle ones are all zero. */
static struct thread *attach(void)
{
    lock_take(&threads.lock);
    struct thread *thread = threads.idle;
    if (thread) {
        threads.idle = thread->next;
    } else {
        thread =
            mmap(NULL, sizeof *thread, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (thread == MAP_FAILED)
            thread = NULL;
    }
    if (thread) {
        thread->prev = NULL;
        thread->next = threads.first;
        if (thread->next)
            thread->next->prev = thread;
        threads.first = thread;
    }
    lock_leave(&threads.lock);
    return thread;
}

static __attribute__((noinline, cold)) struct thread *thread_begin(void)
{
    if (has_ended)
        return NULL;
    struct thread *thread = attach();
    if (!thread)
        return NULL;
    self = thread; /* before pthread_setspecific, which may allocate */
    pthread_once(&exit_once, make_exit_key);
    (void)pthread_setspecific(exit_key, thread);
    return thread;
}

struct thread *thread_self(void)
{
    return self ? self : thread_begin();
}

struct thread *thread_shared_take(void)
{
    lock_take(&shared.lock);
    return &shared.thread;
}

void thread_shared_leave(void)
{
    lock_leave(&shared.lock);
}

struct thread *thread_next(const struct thread *thread)
{
    if (!thread)
        return &shared.thread;
    return thread == &shared.thread ? threads.first : thread->next;
}

bool thread_was_abandoned(void)
{
    return threads.was_abandoned;
}

/* --- fork ------------------------------------------------------------------------------------- */

void lock_everything(void)
{
    lock_take(&shared.lock);
    lock_take(&threads.lock);
    for (unsigned i = 0; i < CACHES_COUNT; i++)
        lock_take(&caches[i].lock);
    lock_take(&buddy.lock);
}

void leave_everything(void)
{
    lock_leave(&buddy.lock);
    for (unsigned i = CACHES_COUNT; i-- > 0;)
        lock_leave(&caches[i].lock);
    lock_leave(&threads.lock);
    lock_leave(&shared.lock);
}

/* The other threads do not exist here, and each may have been anywhere outside of the locks: what
 * they had stays frozen and is lost to this process, as it is with the C library's thread caches.
 * Their objects in use are not: they can be freed as always. */
static void abandon(struct thread *thread)
{
    for (unsigned i = 0; i < CACHES_COUNT; i++) {
        long live = atomic_load_explicit(&thread->active[i].live, memory_order_relaxed);
        atomic_fetch_add_explicit(&caches[i].live, live, memory_order_relaxed);
    }
    list_remove_locked(thread);
    memset(thread->active, 0, sizeof thread->active);
    threads.was_abandoned = true;
}

static void after_fork_child(void)
{
    for (struct thread *thread = threads.first, *next; thread; thread = next) {
        next = thread->next;
        if (thread != self)
            abandon(thread);
    }
    lock_reset(&buddy.lock);
    for (unsigned i = 0; i < CACHES_COUNT; i++)
        lock_reset(&caches[i].lock);
    lock_reset(&threads.lock);
    lock_reset(&shared.lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
    (void)pthread_atfork(lock_everything, leave_everything, after_fork_child);
}
