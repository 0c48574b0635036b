/* The slab allocator linked into the test as in test_slub.c: slabs of several threads, of threads
 * that end, and of those that a fork leaves behind. */
#include "tests/allocator/slub_look.h"

#include <limits.h>
#include <semaphore.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* clang cannot take a member of what atomic_load returns, only of a value a function returned. */
static struct slab_state state_of(struct page *page)
{
    const struct slab_state state = atomic_load(&page->state);
    return state;
}

/* What another thread frees goes to the slab's own list, and the owner takes it when his freelist
 * is empty, before any other slab. */
static void test_remote_frees_come_back(void **state)
{
    (void)state;
    struct cache *cache = &caches[index_of_size(256)];
    void *objects[16];
    for (unsigned i = 0; i < 10; i++)
        objects[i] = classic_malloc(256);
    struct page *page = page_of(objects[0]);
    run_thread(free_batch, &(struct batch){objects, 10});
    struct slab_state s = atomic_load(&page->state);
    assert_int_equal(s.frozen, 1);
    assert_int_equal(s.inuse, 6); /* in this thread's freelist */
    assert_int_equal(s.head - 1, 9);
    assert_int_equal(classic_check(), 0);
    for (unsigned i = 0; i < 16; i++) {
        objects[i] = classic_malloc(256);
        assert_ptr_equal(page_of(objects[i]), page);
    }
    assert_int_equal(slabs_of(cache), 1);
    assert_int_equal(state_of(page).inuse, 16);
    (void)free_batch(&(struct batch){objects, 16});
}

static void *leave_one(void *arg)
{
    void *drop[20];
    *(void **)arg = classic_malloc(64);
    for (int i = 0; i < 20; i++)
        drop[i] = classic_malloc(64);
    (void)free_batch(&(struct batch){drop, 20});
    return NULL;
}

/* The thread's freelist and what others freed become one list when the slab is given up. */
static void test_lists_join_on_release(void **state)
{
    (void)state;
    void *objects[10];
    for (unsigned i = 0; i < 10; i++)
        objects[i] = classic_malloc(256);
    run_thread(free_batch, &(struct batch){objects, 3});
    thread_flush_self();
    struct slab_state s = atomic_load(&page_of(objects[3])->state);
    assert_int_equal(s.frozen, 0);
    assert_int_equal(s.inuse, 7); /* 6 were never allocated, 3 were freed */
    assert_int_equal(classic_check(), 0);
    (void)free_batch(&(struct batch){objects + 3, 7});
}

/* A thread's slabs are its cache's when it ends, and the next thread takes them. */
static void test_thread_exit_gives_slabs_back(void **state)
{
    (void)state;
    struct cache *cache = &caches[index_of_size(64)];
    enum { THREADS = 40 }; /* their blocks and what they drop: less than a slab */
    void *left[THREADS];
    for (int i = 0; i < THREADS; i++) {
        run_thread(leave_one, &left[i]);
        struct slab_state s = atomic_load(&page_of(left[i])->state);
        assert_int_equal(s.frozen, 0);
        assert_int_equal(s.inuse, i + 1);
        assert_int_equal(slabs_of(cache), 1);
        assert_int_equal(classic_check(), 0);
    }
    assert_int_equal(classic_mallinfo2().uordblks, THREADS * 64);
    (void)free_batch(&(struct batch){left, THREADS});
}

/* As often as destructors are run at all, but ThreadSanitizer is gone in the last round. */
#ifdef __SANITIZE_THREAD__
#define LATE_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 2)
#else
#define LATE_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)
#endif

static pthread_key_t late_key;
static void *late_block;
static int late_rounds;

/* Runs after the allocator's own destructor: the thread has no slabs any more. */
static void late(void *arg)
{
    if (late_rounds++ < LATE_ROUNDS) {
        (void)pthread_setspecific(late_key, arg); /* once more */
        classic_free(classic_malloc(3000));
        return;
    }
    classic_free(arg);
    late_block = classic_malloc(40);
    memset(late_block, 'l', 40);
}

static void *end_late(void *arg)
{
    (void)arg;
    (void)pthread_setspecific(late_key, classic_malloc(500));
    return NULL;
}

static void test_thread_allocates_at_its_end(void **state)
{
    (void)state;
    assert_int_equal(pthread_key_create(&late_key, late), 0);
    for (int i = 0; i < 5; i++) {
        late_rounds = 0;
        run_thread(end_late, NULL);
        assert_int_equal(late_rounds, LATE_ROUNDS + 1);
        assert_non_null(late_block);
        assert_int_equal(((char *)late_block)[39], 'l');
        assert_int_equal(classic_check(), 0);
        classic_free(late_block);
    }
    pthread_key_delete(late_key);
}

static void free_late(void *arg)
{
    classic_free(arg);
}

static void *end_with_block(void *arg)
{
    classic_free(classic_malloc(1));
    (void)pthread_setspecific(late_key, arg);
    return NULL;
}

/* A thread that has no slabs any more cannot keep one: it goes to the cache's list. */
static void test_thread_frees_at_its_end(void **state)
{
    (void)state;
    const struct cache *cache = &caches[index_of_size(256)];
    void *objects[17]; /* the first 16 fill a slab */
    for (unsigned i = 0; i < 17; i++)
        objects[i] = classic_malloc(256);
    assert_int_equal(pthread_key_create(&late_key, free_late), 0);
    run_thread(end_with_block, objects[5]);
    assert_ptr_equal(cache->first, page_of(objects[0]));
    assert_int_equal(cache->partial_count, 1);
    assert_int_equal(classic_check(), 0);
    pthread_key_delete(late_key);
    objects[5] = objects[16];
    (void)free_batch(&(struct batch){objects, 16});
}

struct sleeper {
    sem_t ready, stop;
    void *block;
};

static void *sleep_on_slabs(void *arg)
{
    struct sleeper *s = arg;
    s->block = classic_malloc(64);
    memset(s->block, 's', 64);
    classic_free(classic_malloc(64));
    sem_post(&s->ready);
    sem_wait(&s->stop);
    classic_free(s->block);
    return NULL;
}

/* In the child the other thread's slab stays frozen, and its block can be freed. */
static int child_of_fork(void *block)
{
    struct page *page = page_of(block);
    if (classic_check() != 0 || !thread_was_abandoned())
        return 1;
    if (((char *)block)[63] != 's' || !state_of(page).frozen)
        return 2;
    classic_free(block);
    for (int i = 0; i < 2000; i++) {
        void *p = classic_malloc(64);
        if (page_of(p) == page)
            return 3;
    }
    return classic_check() == 0 ? 0 : 4;
}

static void test_fork_abandons_other_threads(void **state)
{
    (void)state;
    struct sleeper s = {0};
    pthread_t thread;
    sem_init(&s.ready, 0, 0);
    sem_init(&s.stop, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, sleep_on_slabs, &s), 0);
    sem_wait(&s.ready);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(child_of_fork(s.block));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    sem_post(&s.stop);
    pthread_join(thread, NULL);
    assert_false(thread_was_abandoned());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_remote_frees_come_back),       TEST(test_lists_join_on_release),
        TEST(test_thread_exit_gives_slabs_back), TEST(test_thread_allocates_at_its_end),
        TEST(test_thread_frees_at_its_end),      TEST(test_fork_abandons_other_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
