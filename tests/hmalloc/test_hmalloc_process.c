/* What happens to a process around its allocator: forks from threads in any state, destructors of
 * threads that allocate and free, signals in the middle of slow paths. */
#include "tests/hmalloc/hm.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocators/hmalloc/config.h"

static _Atomic bool stop; /* relaxed: only that it becomes true matters */

static bool stopped(void)
{
    return atomic_load_explicit(&stop, memory_order_relaxed);
}

/* ---- fork ---- */

#define CELLS 64
static _Atomic(void *) cells[CELLS]; /* exchange: acquire and release */

/* Small and large blocks, remote frees, figures. */
static void *churn(void *arg)
{
    uint64_t seed = (uintptr_t)arg * 31 + 7;
    while (!stopped()) {
        const uint64_t r = hm_random(&seed);
        const size_t size = r % 50 == 0  ? r / 64 % MIB(1)
                            : r % 7 == 0 ? r / 64 % 30000
                                         : r / 64 % 600;
        void *block = hm_malloc(size);
        hm_free(atomic_exchange_explicit(&cells[r / 8 % CELLS], block, memory_order_acq_rel));
        if (r % 4000 == 0)
            (void)hmalloc_purge();
        if (r % 256 == 0)
            (void)sched_yield();
    }
    return NULL;
}

static void *short_life(void *arg)
{
    void *blocks[60];
    (void)arg;
    for (size_t i = 0; i < 60; i++)
        blocks[i] = hm_malloc(i * i * 4);
    for (size_t i = 0; i < 60; i++)
        hm_free(blocks[i]);
    return NULL;
}

/* Threads being born and ending: heaps being made, left, taken over. */
static void *parent_of_many(void *arg)
{
    (void)arg;
    while (!stopped()) {
        pthread_t thread[3];
        for (int i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&thread[i], NULL, short_life, NULL), 0);
        for (int i = 0; i < 3; i++)
            pthread_join(thread[i], NULL);
    }
    return NULL;
}

/* All kinds of calls, with the parent's blocks too. 0: good. */
static int in_child(unsigned char *inherited, size_t size)
{
    (void)alarm(20); /* a lock of a thread that is not here: die, and be seen */
    if (hmalloc_check() != 0)
        return 1;
    if (!hm_intact(inherited, size, size, 7))
        return 2;
    hm_free(inherited);
    for (int i = 0; i < CELLS; i++) /* other threads' blocks */
        hm_free(atomic_exchange_explicit(&cells[i], NULL, memory_order_acq_rel));
    for (uint32_t i = 0; i < 300; i++) {
        const size_t bytes = (size_t)i * i * 10;
        unsigned char *block = hm_malloc(bytes);
        if (!block)
            return 3;
        hm_fill(block, bytes, i);
        block = hm_realloc(block, 2 * bytes + 1);
        if (!block || !hm_intact(block, bytes, bytes, i))
            return 4;
        hm_free(block);
    }
    (void)hmalloc_purge();
    return hmalloc_check() != 0 ? 5 : 0;
}

/* A child has threads of its own, and children. The sanitizers cannot follow there: their own locks
 * may have been held by a thread that is not in the child. */
static int in_child_deep(unsigned char *inherited, size_t size)
{
    pthread_t thread;
    int status;
    const int failed = in_child(inherited, size);
#if HM_TSAN || HM_ASAN
    return failed;
#endif
    if (failed)
        return failed;
    for (int i = 0; i < 4; i++)
        if (pthread_create(&thread, NULL, short_life, NULL) != 0 || pthread_join(thread, NULL) != 0)
            return 6;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(in_child(NULL, 0));
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 7;
}

static void *fork_often(void *arg)
{
    const int forks = HM_TSAN ? 10 : HM_ASAN ? 20 : 30;
    for (int i = 0; i < forks; i++) {
        const size_t size = 1000 + (size_t)i * 997 % 40000;
        unsigned char *block = hm_malloc(size);
        int status = 0;
        hm_fill(block, size, 7);
        const pid_t pid = fork();
        if (pid == 0)
            _exit(in_child_deep(block, size));
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
            *(int *)arg = pid < 0 ? -1 : status;
            return NULL;
        }
        hm_free(block);
    }
    return NULL;
}

static void test_fork_storm(void **state)
{
    (void)state;
    enum { CHURNS = 3, FORKERS = 2 };
    const size_t before = hm_allocated();
    pthread_t churns[CHURNS], many, forkers[FORKERS];
    int failed[FORKERS] = {0};
    atomic_store_explicit(&stop, false, memory_order_relaxed);
    for (intptr_t i = 0; i < CHURNS; i++)
        assert_int_equal(pthread_create(&churns[i], NULL, churn, (void *)i), 0);
    assert_int_equal(pthread_create(&many, NULL, parent_of_many, NULL), 0);
    for (int i = 0; i < FORKERS; i++)
        assert_int_equal(pthread_create(&forkers[i], NULL, fork_often, &failed[i]), 0);
    for (int i = 0; i < FORKERS; i++)
        pthread_join(forkers[i], NULL);
    atomic_store_explicit(&stop, true, memory_order_relaxed);
    for (int i = 0; i < CHURNS; i++)
        pthread_join(churns[i], NULL);
    pthread_join(many, NULL);
    for (int i = 0; i < FORKERS; i++)
        if (failed[i])
            fail_msg("a child ended with status %#x", (unsigned)failed[i]);
    for (int i = 0; i < CELLS; i++)
        hm_free(atomic_exchange_explicit(&cells[i], NULL, memory_order_acq_rel));
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

/* ---- destructors ---- */

#define KEYS 3
/* ThreadSanitizer takes the last round for the time after the thread's end. */
#define DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - HM_TSAN)
static pthread_key_t keys[KEYS];
static _Atomic int destructor_calls; /* relaxed; read after join */
static unsigned char *left_over[64]; /* by the last round; one thread at a time */
static int left_over_count;

/* In every round: free what the last round allocated, allocate anew, ask for another round. */
static void destructor(void *value)
{
    unsigned char *block = value;
    const pthread_key_t key = keys[block[0]];
    const unsigned char number = block[0], round = block[1];
    hm_free(block);
    for (size_t i = 0; i < 50; i++)
        hm_free(hm_malloc(i * 20));
    hm_free(hm_malloc(100000));
    atomic_fetch_add_explicit(&destructor_calls, 1, memory_order_relaxed);
    block = hm_malloc(200);
    hm_fill(block, 200, 3);
    block[0] = number;
    block[1] = (unsigned char)(round + 1);
    if (round + 1 < DESTRUCTOR_ROUNDS)
        (void)pthread_setspecific(key, block);
    else
        left_over[left_over_count++] = block;
}

static void *with_destructors(void *arg)
{
    (void)arg;
    for (unsigned char i = 0; i < KEYS; i++) {
        unsigned char *block = hm_malloc(200);
        block[0] = i;
        block[1] = 0;
        (void)pthread_setspecific(keys[i], block);
    }
    return NULL;
}

/* Its first call is in a destructor. */
static void *nothing_before(void *arg)
{
    static unsigned char first[2];
    (void)arg;
    (void)pthread_setspecific(keys[0], first);
    return NULL;
}

static void first_in_destructor(void *value)
{
    (void)value;
    void *block = hm_malloc(77);
    hm_fill(block, 77, 1);
    left_over[left_over_count++] = block;
}

static void test_destructors(void **state)
{
    (void)state;
    const size_t before = hm_allocated();
    struct hmalloc_stats first, last;
    pthread_t thread;
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(pthread_key_create(&keys[i], destructor), 0);
    for (int round = 0; round < 30; round++) {
        left_over_count = 0;
        atomic_store_explicit(&destructor_calls, 0, memory_order_relaxed);
        assert_int_equal(pthread_create(&thread, NULL, with_destructors, NULL), 0);
        pthread_join(thread, NULL);
        assert_int_equal(destructor_calls, KEYS * DESTRUCTOR_ROUNDS);
        assert_int_equal(left_over_count, KEYS);
        for (int i = 0; i < left_over_count; i++) {
            assert_true(left_over[i][199] == hm_byte(199, 3));
            hm_free(left_over[i]);
        }
        hmalloc_stats_get(round == 0 ? &first : &last);
    }
    assert_int_equal(first.heaps_count, last.heaps_count); /* heaps are handed on */
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(pthread_key_delete(keys[i]), 0);
    assert_int_equal(pthread_key_create(&keys[0], first_in_destructor), 0);
    for (int round = 0; round < (HM_TSAN ? 0 : 10); round++) { /* hmalloc leaves in the last */
        left_over_count = 0;
        assert_int_equal(pthread_create(&thread, NULL, nothing_before, NULL), 0);
        pthread_join(thread, NULL);
        assert_int_equal(left_over_count, 1);
        hm_free(left_over[0]);
    }
    assert_int_equal(pthread_key_delete(keys[0]), 0);
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

/* ---- signals ---- */

static _Atomic int signals; /* relaxed; lock-free, of handlers on any thread */

/* Allocates nothing, but spoils errno, and takes time where it hurts. */
static void handler(int number)
{
    (void)number;
    const int saved = errno;
    errno = 99;
    atomic_fetch_add_explicit(&signals, 1, memory_order_relaxed);
    errno = saved;
}

static void *stormed(void *arg)
{
    enum { SLOTS = 300 };
    unsigned char *block[SLOTS] = {NULL};
    size_t size[SLOTS] = {0};
    uint64_t seed = (uintptr_t)arg + 3;
    for (int step = 0; step < (HM_TSAN ? 20000 : 100000); step++) {
        const uint64_t r = hm_random(&seed);
        const size_t i = r % SLOTS;
        if (block[i]) {
            if (!hm_intact(block[i], size[i], size[i], (uint32_t)i))
                return "contents";
            hm_free(block[i]);
            block[i] = NULL;
        } else {
            size[i] = r / 512 % 200 == 0 ? r / 65536 % 500000 : r / 65536 % 3000;
            block[i] = hm_malloc(size[i]);
            if (!block[i])
                return "memory";
            hm_fill(block[i], size[i], (uint32_t)i);
        }
        if (step % 5000 == 0 && (hmalloc_check() != 0 || (hmalloc_purge(), false)))
            return "check";
    }
    for (size_t i = 0; i < SLOTS; i++)
        hm_free(block[i]);
    return NULL;
}

static void test_signals(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    const size_t before = hm_allocated();
    const struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_flags = SA_RESTART}, old;
    pthread_t threads[THREADS];
    action.sa_handler = handler;
    assert_int_equal(sigaction(SIGPROF, &action, &old), 0);
    assert_int_equal(setitimer(ITIMER_PROF, &often, NULL), 0);
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stormed, (void *)i), 0);
    /* And straight at the threads, while they are in system calls too. */
    for (int i = 0; i < (HM_TSAN ? 200 : 2000); i++) {
        (void)kill(getpid(), SIGPROF);
        (void)usleep(20);
    }
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        if (failed)
            fail_msg("%s", (const char *)failed);
    }
    assert_int_equal(setitimer(ITIMER_PROF, &never, NULL), 0);
    assert_int_equal(sigaction(SIGPROF, &old, NULL), 0);
    assert_true(signals > 20);
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_destructors),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_fork_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
