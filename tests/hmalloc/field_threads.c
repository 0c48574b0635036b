/* Field complaints about threads: who frees, who sleeps, who is gone. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"

static void start(pthread_t *thread, void *(*run)(void *), void *data)
{
    if (pthread_create(thread, NULL, run, data) != 0)
        field_die("pthread_create");
}

static void join(pthread_t thread)
{
    (void)pthread_join(thread, NULL);
}

static void keep_most(size_t *most, size_t value)
{
    *most = value > *most ? value : *most;
}

/* ---- 1: all frees by a thread that never allocated ---- */

#define BATCH_ROOM 65536

struct batch {
    sem_t full, empty;
    size_t count;
    void **blocks;
};

static void *only_frees(void *data)
{
    struct batch *b = data;
    for (unsigned i = 0;; i = !i) {
        sem_wait(&b[i].full);
        if (b[i].count == 0)
            return NULL;
        field_free_all(b[i].blocks, b[i].count);
        sem_post(&b[i].empty);
    }
}

static void freed_elsewhere(void)
{
    enum { rounds = 80 };
    static struct batch batches[2];
    pthread_t thread;
    size_t most = 0;
    for (unsigned i = 0; i < 2; i++) {
        batches[i].blocks = field_pages(BATCH_ROOM * sizeof(void *));
        sem_init(&batches[i].full, 0, 0);
        sem_init(&batches[i].empty, 0, 1);
    }
    const size_t before = field_rss();
    start(&thread, only_frees, batches);
    for (unsigned i = 0; i < rounds; i++) {
        struct batch *b = &batches[i % 2];
        sem_wait(&b->empty);
        b->count = field_fill(b->blocks, BATCH_ROOM, MIB(8), 16, 1000);
        sem_post(&b->full);
        keep_most(&most, field_rss_over(before));
    }
    sem_wait(&batches[rounds % 2].empty);
    batches[rounds % 2].count = 0;
    sem_post(&batches[rounds % 2].full);
    join(thread);
    field_most_mib("640 MiB in turn, 16 MiB live: peak RSS", most, MIB(32));
}

/* ---- 2: the owner idles while another thread frees what it allocated ---- */

struct idler {
    sem_t filled, leave;
    void **blocks;
    size_t room, count, bytes;
};

static void *fill_then_idle(void *data)
{
    struct idler *owner = data;
    owner->count = field_fill(owner->blocks, owner->room, owner->bytes, 16, 2000);
    sem_post(&owner->filled);
    sem_wait(&owner->leave);
    return NULL;
}

static void owner_idles(void)
{
    struct idler owner = {.room = 200000, .bytes = MIB(96)};
    pthread_t thread;
    owner.blocks = field_pages(owner.room * sizeof(void *));
    sem_init(&owner.filled, 0, 0);
    sem_init(&owner.leave, 0, 0);
    const size_t before = field_rss();
    start(&thread, fill_then_idle, &owner);
    sem_wait(&owner.filled);
    field_free_all(owner.blocks, owner.count);
    field_most_mib("of 96 MiB, when all is freed: RSS", field_rss_over(before), MIB(16));
    /* The freeing thread goes on with a little work of its own. */
    for (unsigned i = 0; i < 100; i++) {
        void *block[200];
        const size_t n = field_fill(block, 200, MIB(1) / 8, 16, 2000);
        field_free_all(block, n);
        field_sleep_ms(10);
    }
    field_most_mib("a second later: RSS", field_rss_over(before), MIB(16));
    sem_post(&owner.leave);
    join(thread);
}

/* ---- 3: producers and consumers ---- */

#define RING 64
#define GULP 64

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned head, tail;
    void *gulps[RING][GULP];
    unsigned gulps_total;
};

static void *produce(void *data)
{
    struct ring *r = data;
    uint64_t state = (uintptr_t)r | 1;
    for (unsigned i = 0; i < r->gulps_total; i++) {
        void *gulp[GULP];
        for (unsigned k = 0; k < GULP; k++)
            gulp[k] = field_block(16 + field_random(&state) % 1500);
        pthread_mutex_lock(&r->mutex);
        while (r->head - r->tail == RING)
            pthread_cond_wait(&r->changed, &r->mutex);
        memcpy(r->gulps[r->head++ % RING], gulp, sizeof gulp);
        pthread_cond_signal(&r->changed);
        pthread_mutex_unlock(&r->mutex);
    }
    return NULL;
}

static void *consume(void *data)
{
    struct ring *r = data;
    for (unsigned i = 0; i < r->gulps_total; i++) {
        void *gulp[GULP];
        pthread_mutex_lock(&r->mutex);
        while (r->head == r->tail)
            pthread_cond_wait(&r->changed, &r->mutex);
        memcpy(gulp, r->gulps[r->tail++ % RING], sizeof gulp);
        pthread_cond_signal(&r->changed);
        pthread_mutex_unlock(&r->mutex);
        field_free_all(gulp, GULP);
    }
    return NULL;
}

static void producers_consumers(void)
{
    enum { pairs = 3, gulps = 12000, looks = 10 };
    struct ring *rings = field_pages(pairs * sizeof *rings);
    pthread_t threads[2 * pairs];
    size_t early = 0, late = 0;
    const size_t before = field_rss();
    for (unsigned look = 0; look < looks; look++) {
        for (unsigned i = 0; i < pairs; i++) {
            pthread_mutex_init(&rings[i].mutex, NULL);
            pthread_cond_init(&rings[i].changed, NULL);
            rings[i].gulps_total = gulps / looks;
            start(&threads[2 * i], produce, &rings[i]);
            start(&threads[2 * i + 1], consume, &rings[i]);
        }
        for (unsigned i = 0; i < pairs; i++)
            while (__atomic_load_n(&rings[i].tail, __ATOMIC_RELAXED) < (look + 1) * gulps / looks) {
                keep_most(look < 2 ? &early : &late, field_rss_over(before));
                field_sleep_ms(20);
            }
        for (unsigned i = 0; i < 2 * pairs; i++)
            join(threads[i]);
    }
    field_most_mib("1.7 GiB through three queues, 9 MiB live: peak RSS", late, MIB(40));
    field_most_mib("growth of the peak after the first fifth", late > early ? late - early : 0,
                   MIB(16));
}

/* ---- 5: memory kept after threads ended, or for threads that wait in a pool ---- */

struct worker {
    sem_t *ready, *leave; /* NULL: it does not wait */
    void **blocks;
};

static void *work_then_wait(void *data)
{
    struct worker *w = data;
    const size_t count = field_fill(w->blocks, 20000, MIB(4), 16, 4000);
    field_free_all(w->blocks, count);
    if (w->ready) {
        sem_post(w->ready);
        sem_wait(w->leave);
    }
    return NULL;
}

static void threads_leave_memory(void)
{
    enum { in_turn = 200, together = 48 };
    static struct worker workers[together];
    static pthread_t threads[together];
    sem_t ready, leave;
    sem_init(&ready, 0, 0);
    sem_init(&leave, 0, 0);
    for (unsigned i = 0; i < together; i++) {
        workers[i].blocks = field_pages(20000 * sizeof(void *));
        memset(workers[i].blocks, 1, 20000 * sizeof(void *)); /* resident before we begin */
    }
    const size_t before = field_rss();
    for (unsigned i = 0; i < in_turn; i++) {
        start(&threads[0], work_then_wait, &workers[0]);
        join(threads[0]);
    }
    field_most_mib("200 joined threads, 4 MiB each: RSS", field_rss_over(before), MIB(12));
    for (unsigned i = 0; i < together; i++) {
        workers[i].ready = &ready;
        workers[i].leave = &leave;
        start(&threads[i], work_then_wait, &workers[i]);
    }
    for (unsigned i = 0; i < together; i++)
        sem_wait(&ready);
    field_most_mib("48 threads in a pool that freed 4 MiB each: RSS", field_rss_over(before),
                   MIB(64));
    for (unsigned i = 0; i < together; i++)
        sem_post(&leave);
    for (unsigned i = 0; i < together; i++)
        join(threads[i]);
    /* 11 to 18 seen: how much they leave depends on the order in which they end. */
    field_most_mib("when they have ended: RSS", field_rss_over(before), MIB(32));
}

/* ---- 12: malloc while the thread's own data is torn down ---- */

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

static pthread_key_t keys[6];
static _Atomic unsigned calls_count;

static void churn(void)
{
    void *blocks[64];
    const size_t count = field_fill(blocks, 64, MIB(1), 16, 2000);
    blocks[0] = realloc(blocks[0], 3000);
    field_free_all(blocks, count);
    calls_count++;
}

/* Comes back in each of the four rounds: what is allocated in one is freed in the next. */
static void late_destructor(void *block)
{
    churn();
    free(block);
    for (unsigned i = 0; i < 6; i++)
        if (!pthread_getspecific(keys[i])) {
            (void)pthread_setspecific(keys[i], field_block(100 + i));
            break;
        }
}

static void thread_local_destructor(void *block)
{
    churn();
    free(block);
}

static void *torn_down(void *data)
{
    (void)data;
    (void)__cxa_thread_atexit_impl(thread_local_destructor, field_block(300), &__dso_handle);
    (void)pthread_setspecific(keys[0], field_block(200));
    (void)pthread_setspecific(keys[5], field_block(200));
    churn();
    return NULL;
}

static void *torn_down_never_used(void *data)
{
    /* The first call of malloc comes from a destructor. */
    (void)pthread_setspecific(keys[3], data);
    return NULL;
}

static void teardown(void)
{
    enum { early = 500, threads = 3000 };
    size_t then = 0;
    for (unsigned i = 0; i < 6; i++)
        if (pthread_key_create(&keys[i], late_destructor) != 0)
            field_die("pthread_key_create");
    for (unsigned i = 0; i < threads; i++) {
        pthread_t two[2];
        if (i == early)
            then = field_rss();
        start(&two[0], torn_down, NULL);
        start(&two[1], torn_down_never_used, field_block(64));
        join(two[0]);
        join(two[1]);
    }
    field_least("calls from destructors", calls_count, 5 * threads, "");
    field_most_mib("growth over the last 5,000 of 6,000 threads", field_rss_over(then), MIB(4));
}

const struct field_case field_threads[] = {
    {1, "All frees by a thread that never allocated", "mimalloc#1364", freed_elsewhere, NULL},
    {2, "The owner idles, another thread frees", "mimalloc#214, #1117", owner_idles, NULL},
    {3, "Producers and consumers", "rpmalloc#334, snmalloc#814", producers_consumers, NULL},
    {5, "Threads that ended or wait", "mimalloc#333, #351", threads_leave_memory, NULL},
    {12, "malloc during the teardown of a thread", "mimalloc#1289, #1304", teardown, NULL},
    {0, NULL, NULL, NULL, NULL},
};
