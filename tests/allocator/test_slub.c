/* The slab allocator linked into the test, its names prefixed with classic_, under whatever
 * sanitizers the build has. What the C library and cmocka allocate does not go through it. */
#include "tests/allocator/slub_look.h"

#include <errno.h>
#include <string.h>

#include "allocators/common/large.h"
#include "allocators/slub/object.h"
#include "tests/allocator/fault_map.h"

#define MIB         ((size_t)1 << 20)
#define OBJECTS_MAX 600

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* --- sizes and places ------------------------------------------------------------------------- */

static const struct {
    size_t size, block;
} sizes[] = {
    {0, 8},       {1, 8},        {8, 8},         {9, 16},          {16, 16},           {17, 32},
    {32, 32},     {33, 64},      {64, 64},       {65, 96},         {96, 96},           {97, 128},
    {128, 128},   {129, 192},    {192, 192},     {193, 256},       {256, 256},         {257, 512},
    {512, 512},   {513, 1024},   {1025, 2048},   {2049, 4096},     {4096, 4096},       {4097, 8192},
    {8192, 8192}, {8193, 16384}, {16385, 32768}, {100000, 131072}, {MIB / 2 + 1, MIB}, {MIB, MIB},
};

static void test_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *p = classic_malloc(sizes[i].size);
        assert_non_null(p);
        assert_int_equal(classic_malloc_usable_size(p), sizes[i].block);
        assert_int_equal(page_of(p) != NULL, sizes[i].block <= OBJECT_MAX);
        memset(p, 1, sizes[i].block);
        assert_int_equal(classic_check(), 0);
        classic_free(p);
    }
    assert_int_equal(large_figures.count, 0);
    void *p = classic_malloc(MIB + 1);
    assert_int_equal(large_figures.count, 1);
    classic_free(p);
}

static void test_alignments(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2)
        for (size_t size = 1; size <= 9000; size += 37) {
            char *p = classic_memalign(alignment, size);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % alignment, 0);
            p[size - 1] = 1;
            classic_free(p);
        }
    char *p = classic_memalign(32, 90); /* objects of 96 bytes lie at multiples of 32 */
    assert_int_equal(classic_malloc_usable_size(p), 96);
    classic_free(p);
    p = classic_memalign(64, 90);
    assert_int_equal(classic_malloc_usable_size(p), 128);
    classic_free(p);
}

/* A slab holds as many objects as the cache says, in the order of their addresses, and the next
 * object comes from another one. */
static void test_slab_is_cut_into_objects(void **state)
{
    (void)state;
    static char *objects[OBJECTS_MAX];
    for (size_t i = 0; i < CACHES_COUNT; i++) {
        const struct cache *cache = &caches[i];
        assert_true(cache->objects >= 4 && cache->objects < OBJECTS_MAX);
        assert_true((cache->objects + 1) * cache->size > order_bytes(cache->order));
        for (unsigned k = 0; k < cache->objects; k++) {
            objects[k] = classic_malloc(cache->size);
            assert_ptr_equal(objects[k], objects[0] + k * cache->size);
            assert_ptr_equal(page_of(objects[k]), page_of(objects[0]));
        }
        assert_int_equal(slabs_of(cache), 1);
        char *more = classic_malloc(cache->size);
        assert_ptr_not_equal(page_of(more), page_of(objects[0]));
        assert_int_equal(slabs_of(cache), 2);
        assert_int_equal(classic_check(), 0);
        for (unsigned k = 0; k < cache->objects; k++)
            classic_free(objects[k]);
        classic_free(more);
    }
}

static void test_index_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < CACHES_COUNT; i++) {
        const struct cache *cache = &caches[i];
        const char *slab = (const char *)(order_bytes(cache->order) * 77);
        for (size_t offset = 0; offset < order_bytes(cache->order); offset++) {
            assert_int_equal(object_index(cache, slab + offset), offset / cache->size);
            bool start = offset % cache->size == 0 && offset / cache->size < cache->objects;
            assert_int_equal(object_is_start(cache, slab + offset), start);
        }
    }
}

/* --- free objects ----------------------------------------------------------------------------- */

static void test_last_freed_comes_first(void **state)
{
    (void)state;
    char *a = classic_malloc(100), *b = classic_malloc(100), *c = classic_malloc(100);
    classic_free(b);
    classic_free(a);
    assert_ptr_equal(classic_malloc(100), a);
    assert_ptr_equal(classic_malloc(100), b);
    classic_free(a);
    classic_free(b);
    classic_free(c);
}

/* The pointer is in the middle of the object and hidden; the rest of the object is left alone. */
static void test_pointer_is_hidden(void **state)
{
    (void)state;
    const struct cache *cache = &caches[index_of_size(128)];
    char *a = classic_malloc(128), *b = classic_malloc(128);
    memset(b, 'b', 128);
    classic_free(a);
    classic_free(b); /* points to a */
    uintptr_t word;
    memcpy(&word, b + 64, sizeof word);
    assert_ptr_equal(object_next(cache, (struct object *)b), a);
    assert_true(word != (uintptr_t)a);
    assert_true(cache->secret != 0);
    assert_true(cache->secret != caches[index_of_size(64)].secret);
    for (int i = 0; i < 128; i++)
        assert_true(b[i] == 'b' || (i >= 64 && i < 72));
    assert_ptr_equal(classic_malloc(128), b);
    memcpy(&word, b + 64, sizeof word);
    assert_int_equal(word, 0); /* the mark of a free object is gone */
    classic_free(b);
}

/* Objects that the program never wrote to are not taken for free ones. */
static void test_unwritten_objects_are_freed(void **state)
{
    (void)state;
    static void *objects[2000];
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < CACHES_COUNT; i++) {
            for (int k = 0; k < 2000; k++)
                objects[k] = classic_malloc(caches[i].size);
            for (int k = 0; k < 2000; k++)
                classic_free(objects[(k * 7 + round) % 2000]);
        }
    assert_int_equal(classic_check(), 0);
}

/* --- lists ------------------------------------------------------------------------------------ */

/* A full slab is nobody's; who frees into it keeps it; too many kept go to the cache. */
/* A local of its own: clang cannot take a member of what atomic_load returns. */
static bool is_frozen(struct page *page)
{
    const struct slab_state state = atomic_load(&page->state);
    return state.frozen;
}

static void test_full_slabs_become_partial(void **state)
{
    (void)state;
    size_t index = index_of_size(4096);
    struct cache *cache = &caches[index];
    enum { SLABS = 8 };
    void *objects[SLABS * 8];
    for (unsigned i = 0; i < SLABS * cache->objects; i++)
        objects[i] = classic_malloc(4096);
    const struct active *a = &thread_self()->active[index];
    struct page *first = page_of(objects[0]);
    assert_int_equal(is_frozen(first), 0);
    assert_int_equal(a->partial_count, 0);
    classic_free(objects[0]);
    assert_ptr_equal(a->partial, first);
    assert_int_equal(is_frozen(first), 1);
    classic_free(objects[8]);
    assert_int_equal(a->partial_count, 2);
    assert_int_equal(cache->partial_count, 0);
    classic_free(objects[16]); /* one more than a thread keeps */
    assert_int_equal(a->partial_count, 1);
    assert_int_equal(cache->partial_count, 2);
    assert_int_equal(is_frozen(first), 0);
    assert_int_equal(classic_check(), 0);
    for (unsigned i = 0; i < SLABS * cache->objects; i++)
        if (i != 0 && i != 8 && i != 16)
            classic_free(objects[i]);
    assert_int_equal(classic_check(), 0);
}

/* The cache keeps a few empty slabs and returns the pages of the others; a trim returns all. */
static void test_min_partial(void **state)
{
    (void)state;
    struct cache *cache = &caches[index_of_size(1024)];
    enum { COUNT = 16 * 40 };
    static void *objects[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        objects[i] = classic_malloc(1024);
    assert_int_equal(slabs_of(cache), 40);
    (void)free_batch(&(struct batch){objects, COUNT});
    assert_true(cache->partial_count >= cache->min_partial);
    assert_true(slabs_of(cache) <= cache->min_partial + cache->thread_partial_max + 1);
    (void)classic_malloc_trim(0);
    assert_int_equal(slabs_of(cache), 0);
    assert_int_equal(cache->partial_count, 0);
}

/* Slabs in the cache's list that become empty there: the same rule, at once. */
static void test_empty_slabs_of_the_list_go(void **state)
{
    (void)state;
    struct cache *cache = &caches[index_of_size(1024)];
    enum { COUNT = 16 * 10 };
    static void *objects[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        objects[i] = classic_malloc(1024);
    for (unsigned i = 0; i < COUNT; i += 16)
        classic_free(objects[i]);
    thread_flush_self();
    assert_int_equal(cache->partial_count, 10);
    for (unsigned i = 0; i < COUNT; i++)
        if (i % 16 != 0)
            classic_free(objects[i]);
    assert_int_equal(slabs_of(cache), cache->min_partial - 1);
    assert_int_equal(cache->partial_count, cache->min_partial - 1);
    assert_int_equal(classic_check(), 0);
}

/* --- contents --------------------------------------------------------------------------------- */

struct held {
    char *payload;
    size_t size;
    unsigned char seed;
};

static bool holds(const struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        if ((unsigned char)h->payload[i] != (unsigned char)(h->seed + i))
            return false;
    return true;
}

static void hold(struct held *h, char *payload, size_t size, uint64_t *seed)
{
    *h = (struct held){payload, size, (unsigned char)next_random(seed)};
    for (size_t i = 0; i < size; i++)
        payload[i] = (char)(h->seed + i);
}

static void step(struct held *h, size_t size_max, uint64_t *seed)
{
    size_t size = 1 + next_random(seed) % size_max;
    if (!h->payload) {
        char *payload = classic_malloc(size);
        assert_non_null(payload);
        hold(h, payload, size, seed);
    } else if (next_random(seed) % 4 == 0) {
        char *payload = classic_realloc(h->payload, size);
        assert_non_null(payload);
        h->payload = payload;
        h->size = h->size < size ? h->size : size;
        assert_true(holds(h));
        hold(h, payload, size, seed);
    } else {
        assert_true(holds(h));
        classic_free(h->payload);
        h->payload = NULL;
    }
}

static void test_contents(void **state)
{
    (void)state;
    static struct held held[1000];
    static const size_t maxima[] = {64, 300, 9000, 50000};
    for (size_t i = 0; i < 4; i++) {
        uint64_t seed = 77 + i;
        for (int k = 0; k < 20000 / (int)(i + 1); k++) {
            step(&held[next_random(&seed) % 1000], maxima[i], &seed);
            if (k % 1000 == 0)
                assert_int_equal(classic_check(), 0);
        }
    }
    for (int i = 0; i < 1000; i++)
        classic_free(held[i].payload);
}

/* The block stays as long as malloc would give no smaller one. */
static void test_realloc_stays_or_moves(void **state)
{
    (void)state;
    char *p = classic_malloc(65);
    assert_ptr_equal(classic_realloc(p, 96), p);
    char *grown = classic_realloc(p, 97);
    assert_ptr_not_equal(grown, p);
    char *shrunk = classic_realloc(grown, 20);
    assert_int_equal(classic_malloc_usable_size(shrunk), 32);
    char *pages = classic_realloc(shrunk, 20000);
    assert_int_equal(classic_malloc_usable_size(pages), 32768);
    assert_ptr_equal(classic_realloc(pages, 17000), pages);
    char *mapping = classic_realloc(pages, 2 * MIB);
    assert_int_equal(large_figures.count, 1);
    p = classic_realloc(mapping, 1);
    assert_int_equal(large_figures.count, 0);
    classic_free(p);
}

/* --- no memory -------------------------------------------------------------------------------- */

/* What a program does, with the nth mapping failing. Whether one did. */
static bool run_with_fault(long nth)
{
    static const size_t what[] = {100, 8, 8000, MIB, 3 * MIB, 300, MIB, 20000, 2 * MIB};
    enum { COUNT = sizeof what / sizeof what[0] };
    char *blocks[COUNT];
    fault_map_arm(nth);
    for (size_t i = 0; i < COUNT; i++) {
        errno = 0;
        blocks[i] = classic_malloc(what[i]);
        assert_true(blocks[i] || errno == ENOMEM);
        if (blocks[i])
            blocks[i][0] = (char)i;
    }
    bool failed = fault_map_disarm();
    assert_int_equal(classic_check(), 0);
    for (size_t i = 0; i < COUNT; i++) {
        if (blocks[i])
            assert_int_equal(blocks[i][0], (char)i);
        classic_free(blocks[i]);
    }
    return failed;
}

static void *faults_thread(void *arg)
{
    *(bool *)arg = run_with_fault(*(const bool *)arg ? 1 : 2);
    return NULL;
}

static void test_every_mapping_fails_once(void **state)
{
    (void)state;
    long nth = 1, bytes = fault_map_bytes();
    while (run_with_fault(nth)) {
        assert_int_equal(nothing_left(NULL), 0);
        assert_int_equal(fault_map_bytes(), bytes); /* no mapping was forgotten */
        nth++;
    }
    assert_true(nth > 4);
    /* A thread whose first mapping, for what it would own, fails. */
    bool failed = true;
    run_thread(faults_thread, &failed);
    assert_true(failed);
}

/* --- what it says of itself ------------------------------------------------------------------- */

static void expect_damage(void)
{
    assert_int_equal(classic_check(), -1);
}

static void damage_state(struct page *page)
{
    struct slab_state good = atomic_load(&page->state), bad[4];
    for (int i = 0; i < 4; i++)
        bad[i] = good;
    bad[0].inuse++;
    bad[1].head ^= 1;
    bad[2].frozen = !good.frozen;
    bad[3].head = UINT16_MAX;
    for (int i = 0; i < 4; i++) {
        atomic_store(&page->state, bad[i]);
        expect_damage();
    }
    atomic_store(&page->state, good);
    assert_int_equal(classic_check(), 0);
}

/* classic_check must be able to say no. */
static void test_check_finds_damage(void **state)
{
    (void)state;
    size_t index = index_of_size(512);
    struct cache *cache = &caches[index];
    char *a = classic_malloc(512), *b = classic_malloc(512);
    classic_free(a);
    thread_flush_self(); /* one slab in the cache's list */
    struct page *page = page_of(b);
    assert_ptr_equal(cache->first, page);
    damage_state(page);

    a[cache->offset] ^= 1;
    expect_damage();
    a[cache->offset] ^= 1;
    cache->partial_count++;
    expect_damage();
    cache->partial_count--;
    cache->first = NULL;
    expect_damage();
    cache->first = page;
    atomic_store(&page[1].head, NULL);
    expect_damage();
    atomic_store(&page[1].head, page);
    atomic_fetch_add(&cache->live, 1);
    expect_damage();
    atomic_fetch_sub(&cache->live, 1);

    a = classic_malloc(512); /* the slab is active again */
    struct active *active = &thread_self()->active[index];
    assert_ptr_equal(active->slab, page);
    damage_state(page);
    active->slab = NULL;
    expect_damage();
    active->slab = page;
    assert_int_equal(classic_check(), 0);
    classic_free(a);
    classic_free(b);
}

static void test_stats_add_up(void **state)
{
    (void)state;
    void *object = classic_malloc(100), *pages = classic_malloc(9000),
         *large = classic_malloc(2 * MIB);
    struct mallinfo2 info = classic_mallinfo2();
    assert_int_equal(info.uordblks, 128 + 16384);
    assert_int_equal(info.arena, ARENA_SIZE);
    assert_int_equal(info.uordblks + info.fordblks, info.arena);
    assert_int_equal(info.hblks, 1);
    assert_true(info.hblkhd >= 2 * MIB && info.hblkhd < 3 * MIB);
    run_thread(free_batch, &(struct batch){&object, 1});
    assert_int_equal(classic_mallinfo2().uordblks, 16384);
    classic_free(pages);
    classic_free(large);
    assert_string_equal(classic_version(), "slub 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_alignments),
        TEST(test_slab_is_cut_into_objects),
        TEST(test_index_is_exact),
        TEST(test_last_freed_comes_first),
        TEST(test_pointer_is_hidden),
        TEST(test_unwritten_objects_are_freed),
        TEST(test_full_slabs_become_partial),
        TEST(test_min_partial),
        TEST(test_empty_slabs_of_the_list_go),
        TEST(test_contents),
        TEST(test_realloc_stays_or_moves),
        TEST(test_every_mapping_fails_once),
        TEST(test_check_finds_damage),
        TEST(test_stats_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
