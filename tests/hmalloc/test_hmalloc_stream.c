/* Random operations against a shadow of what each block must hold. Threads hand blocks to each
 * other, end with blocks left for those who come after, and look at hmalloc's own figures
 * meanwhile.
 *
 *   test_hmalloc_stream [--operations N] [--threads N] [--seed N]
 *
 * Without arguments what fits a test run; with them one long stream, for billions. */
#include "tests/hmalloc/hm.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#define THREADS_MAX 64
#define SLOTS       192
#define SHARED      256
#define ITEMS       (THREADS_MAX * SLOTS + SHARED)
#define CHECK_EVERY 20000

/* What a block must be. An item belongs to the slot its number is in; numbers change places, so
 * that items and their blocks change threads. */
struct item {
    unsigned char *block; /* NULL: none */
    size_t size;
    uint32_t seed;
};

struct slots {
    uint32_t item[SLOTS];
};

static struct item items[ITEMS];
static struct slots slots_of[THREADS_MAX];
/* Exchange: release for the item one gives, acquire for the one one gets. */
static _Atomic uint32_t shared[SHARED];

struct stream {
    pthread_t thread;
    struct slots *slots;
    uint64_t seed, operations;
    const char *failed; /* what was expected and not so */
};

#define EXPECT(condition)      \
    do {                       \
        if (!(condition))      \
            return #condition; \
    } while (0)

static size_t random_size(uint64_t *seed)
{
    const uint64_t r = hm_random(seed) % 20000, bytes = hm_random(seed);
    if (r == 0)
        return bytes % (20u << 20);
    if (r < 10)
        return bytes % (3u << 20);
    if (r < 300)
        return bytes % 200000;
    return bytes % (r < 2000 ? 40000 : r < 8000 ? 2000 : 200);
}

static bool is_zero(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i = hm_next_byte(i, size))
        if (block[i] != 0)
            return false;
    return true;
}

static const char *put_new(struct stream *s, struct item *item)
{
    const uint64_t r = hm_random(&s->seed);
    size_t alignment = 16;
    item->size = random_size(&s->seed);
    item->seed = (uint32_t)r;
    if (r % 16 == 0) {
        alignment = (size_t)1 << (r / 16 % 18);
        item->block = hm_memalign(alignment, item->size);
    } else if (r % 16 < 4) {
        item->block = hm_calloc(1, item->size);
        EXPECT(item->block && is_zero(item->block, item->size));
    } else {
        item->block = hm_malloc(item->size);
    }
    EXPECT(item->block);
    EXPECT((uintptr_t)item->block % alignment == 0);
    EXPECT(hm_malloc_usable_size(item->block) >= item->size);
    hm_fill(item->block, item->size, item->seed);
    return NULL;
}

static const char *resize(struct stream *s, struct item *item)
{
    const uint64_t r = hm_random(&s->seed);
    const size_t old = item->size;
    const size_t size = r % 4 ? old + old / (r % 7 + 1) - old / (r / 8 % 9 + 2) + r / 64 % 40
                              : random_size(&s->seed);
    unsigned char *moved = hm_realloc(item->block, size + 1);
    EXPECT(moved);
    EXPECT(hm_intact(moved, old, size + 1, item->seed));
    *item = (struct item){moved, size + 1, (uint32_t)r};
    hm_fill(moved, item->size, item->seed);
    return NULL;
}

static const char *step(struct stream *s, uint32_t *slot)
{
    struct item *item = &items[*slot];
    const uint64_t r = hm_random(&s->seed);
    if (r % 8 < 3) {
        *slot = atomic_exchange_explicit(&shared[r / 8 % SHARED], *slot, memory_order_acq_rel);
        return NULL;
    }
    if (!item->block)
        return put_new(s, item);
    EXPECT(hm_intact(item->block, item->size, item->size, item->seed));
    if (r % 8 == 3)
        return resize(s, item);
    hm_free(item->block);
    item->block = NULL;
    return NULL;
}

static const char *look(void)
{
    struct hmalloc_stats figures;
    hmalloc_stats_get(&figures);
    EXPECT(figures.faults_count == 0);
    EXPECT(hmalloc_check() == 0);
    return NULL;
}

static const char *stream(struct stream *s)
{
    for (uint64_t i = 0; i < s->operations; i++) {
        const char *failed = step(s, &s->slots->item[hm_random(&s->seed) % SLOTS]);
        if (failed)
            return failed;
        if (hm_random(&s->seed) % CHECK_EVERY == 0 && (failed = look()))
            return failed;
        if (hm_random(&s->seed) % (10 * CHECK_EVERY) == 0)
            (void)hmalloc_purge();
    }
    return NULL;
}

static void *stream_thread(void *arg)
{
    struct stream *s = arg;
    s->failed = stream(s);
    return NULL;
}

static void items_begin(void)
{
    uint32_t next = 0;
    memset(items, 0, sizeof items);
    for (int t = 0; t < THREADS_MAX; t++)
        for (int i = 0; i < SLOTS; i++)
            slots_of[t].item[i] = next++;
    for (int i = 0; i < SHARED; i++)
        atomic_store_explicit(&shared[i], next++, memory_order_relaxed);
}

static void items_end(void)
{
    for (uint32_t i = 0; i < ITEMS; i++) {
        const struct item *item = &items[i];
        if (item->block)
            assert_true(hm_intact(item->block, item->size, item->size, item->seed));
        hm_free(item->block);
    }
}

/* In lives of `life` operations: a thread ends, and another goes on with its blocks. */
static void run(unsigned threads, uint64_t operations, uint64_t life, uint64_t seed)
{
    static struct stream streams[THREADS_MAX];
    const size_t before = hm_allocated();
    items_begin();
    for (uint64_t done = 0, generation = 0; done < operations;
         done += life * threads, generation++) {
        for (unsigned i = 0; i < threads; i++) {
            /* Not always the same thread's slots: blocks of an ended thread come to a stranger. */
            streams[i] = (struct stream){.slots = &slots_of[(i + generation) % threads],
                                         .seed = hm_random(&seed) | 1,
                                         .operations = life};
            assert_int_equal(pthread_create(&streams[i].thread, NULL, stream_thread, &streams[i]),
                             0);
        }
        for (unsigned i = 0; i < threads; i++)
            pthread_join(streams[i].thread, NULL);
        for (unsigned i = 0; i < threads; i++)
            if (streams[i].failed)
                fail_msg("%u threads, generation %" PRIu64 ": expected %s", threads, generation,
                         streams[i].failed);
        if (operations >= 100000000 && done % (operations / 100 + 1) < life * threads)
            print_message("%" PRIu64 " of %" PRIu64 " operations\n", done, operations);
    }
    items_end();
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

/* Instrumented code is an order of magnitude slower. */
static const uint64_t scale = HM_TSAN ? 1 : HM_ASAN ? 4 : 8;

static void test_one_thread(void **state)
{
    (void)state;
    run(1, 150000 * scale, 20000, 1);
}

static void test_two_threads(void **state)
{
    (void)state;
    run(2, 150000 * scale, 10000, 2);
}

static void test_eight_threads(void **state)
{
    (void)state;
    run(8, 150000 * scale, 3000, 3);
}

static void test_many_threads(void **state)
{
    (void)state;
    run(64, 150000 * scale, 700, 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_eight_threads),
        cmocka_unit_test(test_many_threads),
    };
    uint64_t operations = 0, threads = 4, seed = 1;
    for (int i = 1; i < argc; i += 2) {
        uint64_t *to = strcmp(argv[i], "--operations") == 0 ? &operations
                       : strcmp(argv[i], "--threads") == 0  ? &threads
                       : strcmp(argv[i], "--seed") == 0     ? &seed
                                                            : NULL;
        if (!to || i + 1 == argc || (*to = strtoull(argv[i + 1], NULL, 10)) == 0 ||
            threads > THREADS_MAX) {
            fprintf(stderr, "usage: %s [--operations N] [--threads 1..64] [--seed N]\n", argv[0]);
            return 2;
        }
    }
    if (argc > 1) {
        run((unsigned)threads, operations, 50000, seed);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
