/* The buddy allocator linked into the test, its names prefixed with classic_, under whatever
 * sanitizers the build has.
 *
 * The reference model knows which units are in use and nothing else: what is left of an arena
 * falls into buddies in one way only, and the allocator's lists must hold exactly these. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/buddy/buddy.h"
#include "allocators/common/classic.h"
#include "allocators/common/large.h"
#include "tests/allocator/fault_map.h"

#define MIB ((size_t)1 << 20)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#define TABLES_MAX ((long)2 << 17) /* leaves of the table of arenas, which stay */

/* Every test starts and ends with nothing mapped. */
static int nothing_left(void **state)
{
    (void)state;
    (void)classic_malloc_trim(0);
    struct mallinfo2 info = classic_mallinfo2();
    return info.arena == 0 && info.uordblks == 0 && info.hblks == 0 &&
                   fault_map_bytes() <= TABLES_MAX && classic_check() == 0
               ? 0
               : -1;
}

/* --- sizes and places ------------------------------------------------------------------------- */

static const struct {
    size_t size, block;
} sizes[] = {
    {0, 32},
    {1, 32},
    {31, 32},
    {32, 32},
    {33, 64},
    {64, 64},
    {65, 128},
    {100, 128},
    {1000, 1024},
    {1024, 1024},
    {1025, 2048},
    {4096, 4096},
    {4097, 8192},
    {65536, 65536},
    {65537, 131072},
    {300000, MIB / 2},
    {MIB / 2 + 1, MIB},
    {MIB - 1, MIB},
    {MIB, MIB},
};

static void test_sizes_and_alignment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = classic_malloc(sizes[i].size);
        assert_non_null(p);
        assert_int_equal(classic_malloc_usable_size(p), sizes[i].block);
        assert_int_equal((uintptr_t)p % sizes[i].block, 0); /* aligned to its size */
        memset(p, 1, sizes[i].block);
        assert_int_equal(classic_check(), 0);
        classic_free(p);
    }
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        void *p = classic_memalign(alignment, 20);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignment, 0);
        assert_int_equal(large_figures.count, alignment > MIB);
        classic_free(p);
    }
}

static void test_above_a_mebibyte_is_a_mapping(void **state)
{
    (void)state;
    void *p = classic_malloc(MIB + 1);
    assert_int_equal(large_figures.count, 1);
    assert_int_equal(buddy.arenas_count, 0);
    classic_free(p);
    assert_int_equal(large_figures.bytes, 0);
}

/* One block of the least size leaves one free block of every order below the arena's. */
static void test_split_and_merge_by_hand(void **state)
{
    (void)state;
    char *a = classic_malloc(1);
    for (unsigned order = 0; order < ORDER_ARENA; order++)
        assert_int_equal(buddy.free[order].count, 1);
    assert_int_equal(buddy.free[ORDER_ARENA].count, 0);
    char *b = classic_malloc(1);
    assert_ptr_equal(b, a + UNIT_SIZE); /* the buddy, which is free and needs no split */
    assert_int_equal(buddy.free[0].count, 0);
    char *c = classic_malloc(1); /* half of the next order */
    assert_ptr_equal(c, a + 2 * UNIT_SIZE);
    classic_free(b);
    assert_int_equal(buddy.free[0].count, 2); /* b's and c's buddy touch and are no buddies */
    assert_int_equal(classic_check(), 0);
    classic_free(a);
    assert_int_equal(buddy.free[0].count, 1);
    assert_int_equal(buddy.free[1].count, 1); /* a and b */
    classic_free(c);
    for (unsigned order = 0; order < ORDER_ARENA; order++)
        assert_int_equal(buddy.free[order].count, 0);
    assert_int_equal(buddy.free[ORDER_ARENA].count, 1);
}

static void test_foreign_addresses_are_in_no_arena(void **state)
{
    (void)state;
    char *p = classic_malloc(1);
    struct arena *arena = arena_of(p);
    assert_non_null(arena);
    assert_ptr_equal(arena_of(arena->start + ARENA_SIZE - 1), arena);
    assert_null(arena_of(arena));
    assert_null(arena_of(&arena));
    assert_null(arena_of(NULL));
    assert_null(arena_of((void *)UINTPTR_MAX));
    assert_null(arena_of((void *)((uintptr_t)1 << 48)));
    classic_free(p);
    (void)classic_malloc_trim(0);
    assert_null(arena_of(p));
}

/* --- the model -------------------------------------------------------------------------------- */

#define HELD_MAX 800

struct held {
    char *payload;
    size_t block, size;
    unsigned char seed;
};

static uint8_t in_use[ARENA_UNITS];

/* The buddies that the free units of [unit, unit + 2^order) fall into. */
static bool fall_apart(unsigned unit, unsigned order, size_t counts[ORDERS_COUNT])
{
    size_t below[ORDERS_COUNT] = {0};
    bool is_free = order == 0 ? !in_use[unit] : false;
    if (order > 0) {
        bool left = fall_apart(unit, order - 1, below);
        bool right = fall_apart(unit + (1u << (order - 1)), order - 1, below);
        is_free = left && right;
    }
    if (is_free)
        counts[order]++;
    else
        for (unsigned o = 0; o < order; o++)
            counts[o] += below[o];
    return is_free;
}

static void model_compare(const struct held *held, int count)
{
    size_t counts[ORDERS_COUNT] = {0};
    for (const struct arena *arena = buddy.arenas; arena; arena = arena->next) {
        memset(in_use, 0, sizeof in_use);
        for (int i = 0; i < count; i++)
            if (held[i].payload && arena_of(held[i].payload) == arena)
                memset(&in_use[unit_of(arena, held[i].payload)], 1, held[i].block / UNIT_SIZE);
        (void)fall_apart(0, ORDER_ARENA, counts);
    }
    for (unsigned order = 0; order < ORDERS_COUNT; order++)
        assert_int_equal(buddy.free[order].count, counts[order]);
}

/* Where the book says the next block of that order comes from: the last freed of the smallest that
 * will do. NULL: a new arena. */
static void *model_place(unsigned order)
{
    for (; order < ORDERS_COUNT; order++)
        if (buddy.free[order].first)
            return buddy.free[order].first;
    return NULL;
}

static bool holds(const struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        if ((unsigned char)h->payload[i] != (unsigned char)(h->seed + i))
            return false;
    return true;
}

static void hold(struct held *h, char *payload, size_t size, uint64_t *seed)
{
    *h = (struct held){payload, classic_malloc_usable_size(payload), size,
                       (unsigned char)next_random(seed)};
    for (size_t i = 0; i < size; i++)
        payload[i] = (char)(h->seed + i);
}

static void take(struct held *h, size_t size_max, uint64_t *seed)
{
    size_t size = next_random(seed) % (size_max + 1), alignment = 1;
    if (next_random(seed) % 10 == 0)
        alignment <<= next_random(seed) % 14;
    void *expected = model_place(order_of(size > alignment ? size : alignment));
    char *payload = classic_memalign(alignment, size);
    assert_non_null(payload);
    assert_int_equal((uintptr_t)payload % alignment, 0);
    if (expected)
        assert_ptr_equal(payload, expected);
    hold(h, payload, size, seed);
}

static void resize(struct held *h, size_t size_max, uint64_t *seed)
{
    size_t size = 1 + next_random(seed) % size_max;
    h->payload = classic_realloc(h->payload, size);
    assert_non_null(h->payload);
    h->size = h->size < size ? h->size : size;
    assert_true(holds(h));
    hold(h, h->payload, size, seed);
}

static void run_stream(int slots, int steps, size_t size_max, uint64_t seed)
{
    static struct held held[HELD_MAX];
    memset(held, 0, sizeof held);
    for (int step = 0; step < steps; step++) {
        struct held *h = &held[next_random(&seed) % (uint64_t)slots];
        if (!h->payload) {
            take(h, size_max, &seed);
        } else if (next_random(&seed) % 4 == 0) {
            resize(h, size_max, &seed);
        } else {
            assert_true(holds(h));
            classic_free(h->payload);
            h->payload = NULL;
        }
        if (step % 1000 == 0) {
            model_compare(held, slots);
            assert_int_equal(classic_check(), 0);
        }
    }
    for (int i = 0; i < slots; i++)
        classic_free(held[i].payload);
    assert_int_equal(buddy.used_count, 0);
}

static void test_model(void **state)
{
    (void)state;
    run_stream(400, 20000, 200, 1);
    run_stream(800, 20000, 1024, 2);
    run_stream(200, 6000, 30000, 3);
    run_stream(50, 1000, MIB, 4);
}

/* --- resizing --------------------------------------------------------------------------------- */

static void test_realloc_in_place(void **state)
{
    (void)state;
    char *p = classic_malloc(8000);
    memset(p, 'p', 8000);
    assert_ptr_equal(classic_realloc(p, 100), p); /* halves go back */
    assert_int_equal(classic_malloc_usable_size(p), 128);
    assert_int_equal(buddy.used_bytes, 128);
    assert_int_equal(classic_check(), 0);
    assert_ptr_equal(classic_realloc(p, 5000), p); /* and come again */
    assert_int_equal(classic_malloc_usable_size(p), 8192);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 'p');
    assert_ptr_equal(classic_realloc(p, 100), p);
    char *wall = classic_malloc(300); /* in the way of 1024 */
    assert_ptr_equal(classic_realloc(p, 200), p);
    char *moved = classic_realloc(p, 1024);
    assert_ptr_not_equal(moved, p);
    for (int i = 0; i < 100; i++)
        assert_int_equal(moved[i], 'p');
    assert_int_equal(classic_check(), 0);
    classic_free(moved);
    classic_free(wall);
}

/* An upper half has nowhere to grow: its buddy comes before it. */
static void test_realloc_of_upper_half_moves(void **state)
{
    (void)state;
    char *low = classic_malloc(64), *high = classic_malloc(64);
    assert_ptr_equal(high, low + 64);
    memset(high, 'h', 64);
    classic_free(low);
    char *grown = classic_realloc(high, 100);
    assert_ptr_not_equal(grown, high);
    for (int i = 0; i < 64; i++)
        assert_int_equal(grown[i], 'h');
    classic_free(grown);
}

static void test_realloc_between_block_and_mapping(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 4000, MIB, MIB + 1, 5 * MIB, 2 * MIB, MIB, 33, 3 * MIB, 5};
    size_t live = 0;
    unsigned char *p = NULL;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        p = classic_realloc(p, steps[i]);
        assert_non_null(p);
        for (size_t k = 0; k < live && k < steps[i]; k++)
            if (p[k] != (unsigned char)(k * 31))
                fail_msg("byte %zu lost on the way to %zu", k, steps[i]);
        for (size_t k = 0; k < steps[i]; k++)
            p[k] = (unsigned char)(k * 31);
        live = steps[i];
        assert_int_equal(large_figures.count, live > MIB);
        assert_int_equal(classic_check(), 0);
    }
    classic_free(p);
}

/* --- arenas ----------------------------------------------------------------------------------- */

static void test_one_empty_arena_stays(void **state)
{
    (void)state;
    enum { COUNT = 16 };
    void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = classic_malloc(MIB);
    assert_int_equal(buddy.arenas_count, COUNT / 2);
    for (int i = 0; i < COUNT; i++) {
        classic_free(blocks[i]);
        assert_true(buddy.arenas_empty <= 1);
        assert_int_equal(classic_check(), 0);
    }
    assert_int_equal(buddy.arenas_count, 1);
    assert_int_equal(classic_mallinfo2().keepcost, ARENA_SIZE);
    assert_int_equal(classic_malloc_trim(0), 1);
    assert_int_equal(buddy.arenas_count, 0);
    assert_int_equal(classic_malloc_trim(0), 0);
}

/* Wherever the kernel puts it: what is too much is cut off on both sides. */
static void test_arena_is_aligned_by_us(void **state)
{
    (void)state;
    fault_map_shift(true);
    char *p = classic_malloc(MIB), *q = classic_malloc(MIB), *r = classic_malloc(MIB);
    fault_map_shift(false);
    assert_int_equal(buddy.arenas_count, 2);
    assert_int_equal((uintptr_t)buddy.arenas->start % ARENA_SIZE, 0);
    memset(p, 1, MIB);
    memset(q, 2, MIB);
    memset(r, 3, MIB);
    long most = (long)(2 * ARENA_SIZE + 2 * (sizeof(struct arena) + 4096)) + TABLES_MAX;
    assert_true(fault_map_bytes() <= most);
    classic_free(p);
    classic_free(q);
    classic_free(r);
}

static void test_trim_keeps_contents(void **state)
{
    (void)state;
    char *keep[4], *drop[4];
    for (int i = 0; i < 4; i++) {
        keep[i] = classic_malloc(100000);
        drop[i] = classic_malloc(100000);
        memset(keep[i], 'k', 131072);
        memset(drop[i], 'd', 131072);
    }
    for (int i = 0; i < 4; i++)
        classic_free(drop[i]);
    assert_int_equal(classic_malloc_trim(0), 1);
    assert_int_equal(classic_check(), 0); /* the links are still there */
    assert_int_equal(drop[0][100000], 0); /* and the pages are not */
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 131072; k++)
            assert_int_equal(keep[i][k], 'k');
        classic_free(keep[i]);
    }
}

/* --- no memory -------------------------------------------------------------------------------- */

/* What a program does, with the nth mapping failing. Whether one did. */
static bool run_with_fault(long nth)
{
    static const size_t what[] = {100, MIB, MIB, 3 * MIB, 50, MIB, 40000, MIB};
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
    char *grown = classic_realloc(blocks[0], 2 * MIB);
    bool failed = fault_map_disarm();
    assert_true(grown || failed);
    blocks[0] = grown ? grown : blocks[0];
    assert_int_equal(classic_check(), 0);
    for (size_t i = 0; i < COUNT; i++) {
        if (blocks[i])
            assert_int_equal(blocks[i][0], (char)i);
        classic_free(blocks[i]);
    }
    assert_int_equal(nothing_left(NULL), 0);
    return failed;
}

static void test_every_mapping_fails_once(void **state)
{
    (void)state;
    long nth = 1, bytes = fault_map_bytes();
    while (run_with_fault(nth)) {
        assert_int_equal(fault_map_bytes(), bytes); /* no mapping was forgotten */
        nth++;
    }
    assert_true(nth > 8); /* four arenas of two mappings, and the large block's */
}

/* --- what it says of itself ------------------------------------------------------------------- */

/* classic_check must be able to say no. */
static void test_check_finds_damage(void **state)
{
    (void)state;
    char *a = classic_malloc(100), *wall = classic_malloc(100), *b = classic_malloc(100);
    classic_free(a);
    struct arena *arena = arena_of(a);
    unsigned unit = unit_of(arena, a);
    uint8_t *map = arena->map;
    struct link *link = (struct link *)a, copy = *link;

    const struct {
        unsigned at;
        uint8_t is;
    } damages[] = {
        {unit, 0},
        {unit, map[unit] ^ 1},
        {unit, MAP_USED | 2},
        {unit, MAP_FREE | 31},
        {unit + 1, 0x80},
        {unit_of(arena, wall), 0x42},
        {0, 0x7f},
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        uint8_t was = map[damages[i].at];
        map[damages[i].at] = damages[i].is;
        assert_int_equal(classic_check(), -1);
        map[damages[i].at] = was;
        assert_int_equal(classic_check(), 0);
    }
    link->next = (struct link *)b;
    assert_int_equal(classic_check(), -1);
    *link = copy;
    link->prev = link;
    assert_int_equal(classic_check(), -1);
    *link = copy;
    buddy.used_bytes++;
    assert_int_equal(classic_check(), -1);
    buddy.used_bytes--;
    buddy.free[2].count++;
    assert_int_equal(classic_check(), -1);
    buddy.free[2].count--;
    assert_int_equal(classic_check(), 0);
    classic_free(b);
    classic_free(wall);
}

static void test_stats_add_up(void **state)
{
    (void)state;
    void *small = classic_malloc(1000), *large = classic_malloc(2 * MIB);
    struct mallinfo2 info = classic_mallinfo2();
    assert_int_equal(info.uordblks, 1024);
    assert_int_equal(info.arena, ARENA_SIZE);
    assert_int_equal(info.uordblks + info.fordblks, info.arena);
    assert_int_equal(info.ordblks, 11); /* 1 KiB to 1 MiB */
    assert_int_equal(info.hblks, 1);
    assert_true(info.hblkhd >= 2 * MIB && info.hblkhd < 3 * MIB);
    assert_int_equal(info.keepcost, 0);
    classic_free(small);
    classic_free(large);
    assert_string_equal(classic_version(), "buddy 1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nothing_left, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes_and_alignment),
        TEST(test_above_a_mebibyte_is_a_mapping),
        TEST(test_split_and_merge_by_hand),
        TEST(test_foreign_addresses_are_in_no_arena),
        TEST(test_model),
        TEST(test_realloc_in_place),
        TEST(test_realloc_of_upper_half_moves),
        TEST(test_realloc_between_block_and_mapping),
        TEST(test_one_empty_arena_stays),
        TEST(test_arena_is_aligned_by_us),
        TEST(test_trim_keeps_contents),
        TEST(test_every_mapping_fails_once),
        TEST(test_check_finds_damage),
        TEST(test_stats_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
