/* Blocks freed by other threads, in every shape of who frees what and who is still there. Memory
 * stays within bounds while it goes on, and what was allocated is all back in the end. */
#include "tests/hmalloc/hm.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "allocators/hmalloc/config.h"

#define RING   512
#define ROUNDS (HM_TSAN ? 20000 : HM_ASAN ? 60000 : 200000)

/* One writer, one reader. head: release by the writer, acquire by the reader; tail: the reverse. */
struct ring {
    void *slot[RING];
    _Atomic size_t head, tail;
};

static bool ring_put(struct ring *r, void *block)
{
    const size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&r->tail, memory_order_acquire) == RING)
        return false;
    r->slot[head % RING] = block;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return true;
}

static void *ring_get(struct ring *r)
{
    const size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (atomic_load_explicit(&r->head, memory_order_acquire) == tail)
        return NULL;
    void *block = r->slot[tail % RING];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return block;
}

static size_t block_size(uint64_t n)
{
    static const size_t sizes[] = {16, 64, 64, 200, 64, 1000, 3000, 64, 24, 10000};
    return sizes[n % 10];
}

static void *block_new(uint64_t n)
{
    const size_t size = block_size(n);
    char *block = hm_malloc(size);
    assert_non_null(block);
    memcpy(block, &n, sizeof n);
    block[size - 1] = (char)n;
    return block;
}

static void block_end(void *block)
{
    uint64_t n;
    memcpy(&n, block, sizeof n);
    if (block_size(n) > sizeof n && ((char *)block)[block_size(n) - 1] != (char)n)
        abort(); /* on any thread */
    hm_free(block);
}

static size_t committed(void)
{
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    return s.committed;
}

struct figures {
    size_t allocated, committed;
};

static struct figures figures_now(void)
{
    const size_t allocated = hm_allocated();
    return (struct figures){allocated, committed()};
}

/* Everything is back, and nothing stays behind but what the heaps keep. */
static void expect_back(struct figures before)
{
    assert_int_equal(hm_allocated(), before.allocated);
    assert_int_equal(hmalloc_check(), 0);
    if (committed() > before.committed + MIB(4))
        fail_msg("%zu bytes before, %zu after", before.committed, committed());
}

/* ---- one to one, through a ring: at most RING blocks live ---- */

static void *consumer(void *arg)
{
    struct ring *r = arg;
    for (uint64_t n = 0; n < ROUNDS;) {
        void *block = ring_get(r);
        if (block) {
            block_end(block);
            n++;
        } else {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void test_one_to_one(void **state)
{
    (void)state;
    static struct ring ring;
    const struct figures before = figures_now();
    size_t most = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, consumer, &ring), 0);
    for (uint64_t n = 0; n < ROUNDS; n++) {
        void *block = block_new(n);
        while (!ring_put(&ring, block))
            (void)sched_yield();
        if (n % 1000 == 0 && committed() > most)
            most = committed();
    }
    pthread_join(thread, NULL);
    /* 512 blocks of 1.4 KiB live, two threads' magazines, a slab or two per class. */
    if (most > before.committed + MIB(16))
        fail_msg("%zu bytes for %d blocks", most - before.committed, RING);
    expect_back(before);
}

/* ---- all to all ---- */

#define ALL 6
static struct ring rings[ALL][ALL]; /* from, to */

static void *all_thread(void *arg)
{
    const int me = (int)(intptr_t)arg;
    const uint64_t rounds = ROUNDS / ALL;
    for (uint64_t n = 0; n < rounds; n++) {
        void *block = block_new(n), *got;
        if (!ring_put(&rings[me][n % ALL], block))
            block_end(block);
        if ((got = ring_get(&rings[n / ALL % ALL][me])))
            block_end(got);
    }
    return NULL;
}

static void test_all_to_all(void **state)
{
    (void)state;
    const struct figures before = figures_now();
    pthread_t threads[ALL];
    void *block;
    for (int i = 0; i < ALL; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, all_thread, (void *)(intptr_t)i), 0);
    for (int i = 0; i < ALL; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < ALL * ALL; i++)
        while ((block = ring_get(&rings[i / ALL][i % ALL])))
            block_end(block);
    expect_back(before);
}

/* ---- a thread that only frees: the owner goes on allocating, and must use what comes back ---- */

#define BATCH 2000
static void *batch[BATCH];
static sem_t batch_full, batch_empty;

static void *freer(void *arg)
{
    (void)arg;
    for (;;) {
        while (sem_wait(&batch_full) != 0)
            ;
        if (!batch[0])
            return NULL;
        for (int i = 0; i < BATCH; i++)
            block_end(batch[i]);
        (void)sem_post(&batch_empty);
    }
}

static void test_only_frees(void **state)
{
    (void)state;
    const struct figures before = figures_now();
    pthread_t thread;
    size_t early = 0;
    assert_int_equal(sem_init(&batch_full, 0, 0), 0);
    assert_int_equal(sem_init(&batch_empty, 0, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, freer, NULL), 0);
    for (int round = 0; round < 100; round++) {
        while (sem_wait(&batch_empty) != 0)
            ;
        for (int i = 0; i < BATCH; i++)
            batch[i] = block_new((uint64_t)i);
        if (round == 10)
            early = committed();
        (void)sem_post(&batch_full);
    }
    while (sem_wait(&batch_empty) != 0)
        ;
    if (committed() > early + early / 2 + MIB(4))
        fail_msg("it grows: %zu bytes after 10 rounds, %zu after 100", early, committed());
    batch[0] = NULL;
    (void)sem_post(&batch_full);
    pthread_join(thread, NULL);
    expect_back(before);
}

/* ---- the owner has ended ---- */

static void *fills_and_ends(void *arg)
{
    void **blocks = arg;
    for (int i = 0; i < BATCH; i++)
        blocks[i] = block_new((uint64_t)i);
    return NULL;
}

static void test_owner_exits_first(void **state)
{
    (void)state;
    const struct figures before = figures_now();
    struct hmalloc_stats s;
    size_t heaps = 0;
    for (int round = 0; round < 40; round++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, fills_and_ends, batch), 0);
        pthread_join(thread, NULL);
        for (int i = 0; i < BATCH; i++)
            block_end(batch[i]);
        hmalloc_stats_get(&s);
        if (round == 0)
            heaps = s.heaps_count;
        assert_int_equal(s.heaps_count, heaps); /* each new thread took over the last one's */
        /* All but what our outboxes hold is back without anybody's help. */
        assert_true(s.allocated < before.allocated + KIB(64) * 8);
    }
    expect_back(before);
}

/* ---- the owner sleeps ---- */

static sem_t asleep, awake;

static void *fills_and_sleeps(void *arg)
{
    (void)fills_and_ends(arg);
    (void)sem_post(&asleep);
    while (sem_wait(&awake) != 0)
        ;
    return NULL;
}

static void test_owner_sleeps(void **state)
{
    (void)state;
    const struct figures before = figures_now();
    struct hmalloc_stats s;
    pthread_t thread;
    assert_int_equal(sem_init(&asleep, 0, 0), 0);
    assert_int_equal(sem_init(&awake, 0, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, fills_and_sleeps, batch), 0);
    while (sem_wait(&asleep) != 0)
        ;
    hmalloc_stats_get(&s);
    const size_t live = s.allocated - before.allocated;
    for (int i = 0; i < BATCH; i++)
        block_end(batch[i]);
    hmalloc_stats_get(&s);
    /* It does not look, but who frees does not let more pile up than a deep inbox and an outbox. */
    if (s.allocated > before.allocated + KIB(64) * 18)
        fail_msg("%zu of %zu bytes are still out", s.allocated - before.allocated, live);
    assert_int_equal(hm_allocated(), before.allocated); /* and a purge gets all of it */
    (void)sem_post(&awake);
    pthread_join(thread, NULL);
    expect_back(before);
}

/* ---- owners that end while their blocks come back, and threads that take over meanwhile ---- */

#define CELLS 1024
static _Atomic(void *) cells[CELLS]; /* exchange: acquire and release */
static _Atomic bool stop;            /* relaxed */

static void *lives_shortly(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 7919 + 1;
    for (int i = 0; i < 400; i++) {
        void *block = block_new(hm_random(&seed) % 1000);
        block =
            atomic_exchange_explicit(&cells[hm_random(&seed) % CELLS], block, memory_order_acq_rel);
        if (block)
            block_end(block);
    }
    return NULL;
}

static void *frees_always(void *arg)
{
    uint64_t seed = (uintptr_t)arg + 1;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        void *block =
            atomic_exchange_explicit(&cells[hm_random(&seed) % CELLS], NULL, memory_order_acq_rel);
        if (block)
            block_end(block);
        if (seed % 64 == 0)
            (void)sched_yield();
    }
    return NULL;
}

static void test_ends_and_adoptions(void **state)
{
    (void)state;
    enum { FREERS = 2, AT_ONCE = 4 };
    const struct figures before = figures_now();
    struct hmalloc_stats s;
    pthread_t freers[FREERS], threads[AT_ONCE];
    atomic_store_explicit(&stop, false, memory_order_relaxed);
    for (int i = 0; i < FREERS; i++)
        assert_int_equal(pthread_create(&freers[i], NULL, frees_always, (void *)(intptr_t)i), 0);
    hmalloc_stats_get(&s);
    const uint64_t heaps = s.heaps_count;
    for (int round = 0; round < (HM_TSAN ? 40 : 300); round++) {
        for (intptr_t i = 0; i < AT_ONCE; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, lives_shortly, (void *)(round * AT_ONCE + i)), 0);
        for (int i = 0; i < AT_ONCE; i++)
            pthread_join(threads[i], NULL);
    }
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (int i = 0; i < FREERS; i++)
        pthread_join(freers[i], NULL);
    hmalloc_stats_get(&s);
    assert_true(s.heaps_count <= heaps + FREERS + AT_ONCE);
    for (int i = 0; i < CELLS; i++) {
        void *block = atomic_exchange_explicit(&cells[i], NULL, memory_order_acq_rel);
        if (block)
            block_end(block);
    }
    /* Without anybody's help: what we freed just now is all that may be on its way. */
    expect_back(before);
}

/* Nobody frees to an orphan any more: what others sent while it became one is not stuck. */
static void test_nothing_stranded(void **state)
{
    (void)state;
    const size_t before = hm_allocated();
    for (int round = 0; round < (HM_TSAN ? 100 : 1000); round++) {
        pthread_t owner, other;
        assert_int_equal(sem_init(&asleep, 0, 0), 0);
        assert_int_equal(sem_init(&awake, 0, 0), 0);
        assert_int_equal(pthread_create(&owner, NULL, fills_and_sleeps, batch), 0);
        while (sem_wait(&asleep) != 0)
            ;
        /* One frees and ends, so that all its outboxes go out, while the owner ends too. */
        assert_int_equal(sem_init(&batch_full, 0, 0), 0);
        assert_int_equal(sem_init(&batch_empty, 0, 0), 0);
        assert_int_equal(pthread_create(&other, NULL, freer, NULL), 0);
        (void)sem_post(&batch_full);
        (void)sem_post(&awake);
        while (sem_wait(&batch_empty) != 0)
            ;
        batch[0] = NULL;
        (void)sem_post(&batch_full);
        pthread_join(owner, NULL);
        pthread_join(other, NULL);
        struct hmalloc_stats s;
        hmalloc_stats_get(&s);
        assert_int_equal(s.allocated, before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_to_one),       cmocka_unit_test(test_all_to_all),
        cmocka_unit_test(test_only_frees),       cmocka_unit_test(test_owner_exits_first),
        cmocka_unit_test(test_owner_sleeps),     cmocka_unit_test(test_ends_and_adoptions),
        cmocka_unit_test(test_nothing_stranded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
