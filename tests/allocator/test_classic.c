/* The classic engine linked into the test, its names prefixed with classic_, under whatever
 * sanitizers the build has. Built once per policy.
 *
 * The reference model is the policy as the books state it: a list of free stretches in address
 * order, walked from one end. Engine and model must agree on every address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/classic/heap.h"
#include "allocators/classic/policy.h"

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* --- the model ------------------------------------------------------------------------------ */

#define MODEL_FREE_MAX 20000

struct stretch {
    char *start;
    size_t size;
};

struct model {
    struct stretch free[MODEL_FREE_MAX]; /* by address */
    int free_count;
    struct region regions[64]; /* by address; what the engine has mapped */
    unsigned regions_count;
    char *rover;
};

static void model_insert(struct model *m, int at, struct stretch s)
{
    assert_true(m->free_count < MODEL_FREE_MAX);
    memmove(&m->free[at + 1], &m->free[at], (size_t)(m->free_count - at) * sizeof s);
    m->free[at] = s;
    m->free_count++;
}

static void model_delete(struct model *m, int at)
{
    m->free_count--;
    memmove(&m->free[at], &m->free[at + 1], (size_t)(m->free_count - at) * sizeof m->free[0]);
}

static int model_find(const struct model *m, size_t need)
{
    int best = -1;
    if (strcmp(policy_name, "next fit") == 0)
        for (int i = 0; i < m->free_count; i++)
            if (m->free[i].start >= m->rover && m->free[i].size >= need)
                return i;
    for (int i = 0; i < m->free_count; i++) {
        if (m->free[i].size < need)
            continue;
        if (strcmp(policy_name, "best fit") != 0)
            return i;
        if (best < 0 || m->free[i].size < m->free[best].size)
            best = i;
    }
    return best;
}

static bool model_touching(const struct model *m, int left)
{
    return left >= 0 && left + 1 < m->free_count &&
           m->free[left].start + m->free[left].size == m->free[left + 1].start;
}

/* Free a stretch, merge it, and return the index of what it became part of. Regions never touch in
 * the model: tags at their ends belong to no stretch. */
static int model_release(struct model *m, char *start, size_t size)
{
    int at = 0;
    while (at < m->free_count && m->free[at].start < start)
        at++;
    model_insert(m, at, (struct stretch){start, size});
    if (model_touching(m, at)) {
        m->free[at].size += m->free[at + 1].size;
        model_delete(m, at + 1);
    }
    if (model_touching(m, at - 1)) {
        at--;
        m->free[at].size += m->free[at + 1].size;
        model_delete(m, at + 1);
    }
    if (m->free[at].start < m->rover && m->rover < m->free[at].start + m->free[at].size)
        m->rover = m->free[at].start;
    return at;
}

static bool model_is_region(const struct model *m, struct stretch s)
{
    for (unsigned i = 0; i < m->regions_count; i++)
        if (s.start == m->regions[i].start + TAG_SIZE)
            return s.size == m->regions[i].size - REGION_EXTRA;
    return false;
}

static int model_empty_regions(const struct model *m)
{
    int count = 0;
    for (int i = 0; i < m->free_count; i++)
        count += model_is_region(m, m->free[i]);
    return count;
}

static void model_free(struct model *m, char *start, size_t size)
{
    int at = model_release(m, start, size);
    if (!model_is_region(m, m->free[at]) || model_empty_regions(m) < 2)
        return;
    for (unsigned i = 0; i < m->regions_count; i++)
        if (m->regions[i].start + TAG_SIZE == m->free[at].start) {
            m->regions_count--;
            memmove(&m->regions[i], &m->regions[i + 1],
                    (m->regions_count - i) * sizeof m->regions[0]);
            break;
        }
    model_delete(m, at);
}

/* The engine mapped a region: where, only the kernel knows. Take it over as a free stretch. */
static void model_take_regions(struct model *m)
{
    for (unsigned i = 0; i < heap.regions_count; i++) {
        bool known = false;
        for (unsigned k = 0; k < m->regions_count; k++)
            known = known || m->regions[k].start == heap.regions[i].start;
        if (known)
            continue;
        assert_true(m->regions_count < 64);
        m->regions[m->regions_count++] = heap.regions[i];
        (void)model_release(m, heap.regions[i].start + TAG_SIZE,
                            heap.regions[i].size - REGION_EXTRA);
    }
}

/* What the model would hand out: address of the block, its size to *ret_size. */
static char *model_alloc(struct model *m, size_t alignment, size_t size, size_t *ret_size)
{
    size_t need = block_need(size);
    size_t ask = alignment > 16 ? need + alignment + BLOCK_MIN : need;
    int at = model_find(m, ask);
    if (at < 0) {
        model_take_regions(m);
        at = model_find(m, ask);
    }
    assert_true(at >= 0);
    struct stretch s = m->free[at];
    model_delete(m, at);
    char *block = s.start;
    if (((uintptr_t)block + TAG_SIZE) % alignment != 0) {
        block += BLOCK_MIN;
        while (((uintptr_t)block + TAG_SIZE) % alignment != 0)
            block += 16;
        (void)model_release(m, s.start, (size_t)(block - s.start));
    }
    size_t room = s.size - (size_t)(block - s.start);
    if (room - need >= BLOCK_MIN) {
        (void)model_release(m, block + need, room - need);
        room = need;
    }
    m->rover = block + room;
    *ret_size = room;
    return block;
}

static void model_compare(const struct model *m)
{
    int at = 0;
    assert_int_equal(heap.regions_count, m->regions_count);
    assert_int_equal(heap.free_count, m->free_count);
    for (unsigned i = 0; i < heap.regions_count; i++)
        for (struct block *b = region_first(&heap.regions[i]); block_size(b); b = block_next(b))
            if (!block_in_use(b)) {
                assert_ptr_equal(b, m->free[at].start);
                assert_int_equal(block_size(b), m->free[at].size);
                at++;
            }
    assert_int_equal(at, m->free_count);
}

/* --- exactness ------------------------------------------------------------------------------- */

struct held {
    char *payload;
    size_t block_size;
};

static const struct stream {
    const char *name;
    int slots, steps;
    size_t size_max;
    int aligned_pct, drop_every; /* free everything each so many steps */
} streams[] = {
    {"small", 400, 40000, 200, 0, 0},     {"reference sizes", 600, 40000, 1024, 0, 0},
    {"wide", 200, 20000, 100000, 0, 0},   {"equal", 500, 20000, 40, 0, 0},
    {"aligned", 300, 20000, 2000, 30, 0}, {"peaks", 800, 30000, 30000, 5, 3000},
};

static void run_stream(struct model *m, const struct stream *stream, uint64_t seed)
{
    struct held held[800] = {0};
    for (int step = 0; step < stream->steps; step++) {
        struct held *h = &held[next_random(&seed) % (uint64_t)stream->slots];
        if (h->payload) {
            classic_free(h->payload);
            model_free(m, h->payload - TAG_SIZE, h->block_size);
            *h = (struct held){0};
        } else {
            size_t size = next_random(&seed) % (stream->size_max + 1), alignment = 16;
            if (next_random(&seed) % 100 < (uint64_t)stream->aligned_pct)
                alignment = (size_t)1 << (next_random(&seed) % 13);
            h->payload = classic_memalign(alignment, size);
            assert_non_null(h->payload);
            char *expected = model_alloc(m, alignment < 16 ? 16 : alignment, size, &h->block_size);
            if (h->payload - TAG_SIZE != expected)
                fail_msg("%s, step %d: %zu bytes at %p, the model says %p", stream->name, step,
                         size, (void *)h->payload, (void *)(expected + TAG_SIZE));
            assert_int_equal(classic_malloc_usable_size(h->payload), h->block_size - TAG_SIZE);
        }
        bool drop = stream->drop_every && step % stream->drop_every == stream->drop_every - 1;
        for (int i = 0; drop && i < stream->slots; i++)
            if (held[i].payload) {
                classic_free(held[i].payload);
                model_free(m, held[i].payload - TAG_SIZE, held[i].block_size);
                held[i] = (struct held){0};
            }
        if (step % 500 == 0 || drop) {
            model_compare(m);
            assert_int_equal(classic_check(), 0);
        }
    }
    for (int i = 0; i < stream->slots; i++)
        if (held[i].payload) {
            classic_free(held[i].payload);
            model_free(m, held[i].payload - TAG_SIZE, held[i].block_size);
        }
    model_compare(m);
}

static void test_exact_placement(void **state)
{
    (void)state;
    static struct model m;
    (void)classic_malloc_trim(0);
    assert_int_equal(heap.regions_count, 0);
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        for (uint64_t seed = 1; seed <= 3; seed++)
            run_stream(&m, &streams[i], seed * 7919);
}

/* Named holes, and which one each policy must take. */
static void test_placement_by_hand(void **state)
{
    (void)state;
    (void)classic_malloc_trim(0);
    void *hole[3], *wall[4];
    static const size_t sizes[3] = {1000, 3000, 500};
    for (int i = 0; i < 3; i++) {
        wall[i] = classic_malloc(24);
        hole[i] = classic_malloc(sizes[i]);
    }
    wall[3] = classic_malloc(24); /* the rover now stands behind it */
    for (int i = 0; i < 3; i++)
        classic_free(hole[i]);
    void *a = classic_malloc(400);
    if (strcmp(policy_name, "first fit") == 0)
        assert_ptr_equal(a, hole[0]);
    else if (strcmp(policy_name, "best fit") == 0)
        assert_ptr_equal(a, hole[2]);
    else
        assert_true((char *)a > (char *)wall[3]);
    void *b = classic_malloc(2000);
    if (strcmp(policy_name, "next fit") == 0)
        assert_true((char *)b > (char *)a);
    else
        assert_ptr_equal(b, hole[1]);
    classic_free(a);
    classic_free(b);
    for (int i = 0; i < 4; i++)
        classic_free(wall[i]);
}

/* --- coalescing ------------------------------------------------------------------------------ */

static void shuffle(int *order, int count, uint64_t seed)
{
    for (int i = count - 1; i > 0; i--) {
        int k = (int)(next_random(&seed) % (uint64_t)(i + 1));
        int t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
}

static void test_coalescing(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    static int order[COUNT];
    for (int pass = 0; pass < 4; pass++) {
        uint64_t seed = 99 + (uint64_t)pass;
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = classic_malloc(16 + next_random(&seed) % 1009);
            order[i] = pass == 1 ? COUNT - 1 - i : i;
        }
        assert_true(heap.regions_count > 1);
        if (pass >= 2)
            shuffle(order, COUNT, seed);
        for (int i = 0; i < COUNT; i++) {
            classic_free(blocks[order[i]]);
            if (i % 2000 == 0)
                assert_int_equal(classic_check(), 0);
        }
        struct mallinfo2 info = classic_mallinfo2();
        assert_int_equal(heap.used_count, 0);
        assert_int_equal(info.uordblks, 0);
        assert_int_equal(heap.regions_count, 1); /* the others went back to the kernel */
        assert_int_equal(info.ordblks, 1);       /* and the one kept is one free block */
        assert_int_equal(info.keepcost, info.arena);
        assert_int_equal(classic_check(), 0);
    }
    assert_int_equal(classic_malloc_trim(0), 1);
    assert_int_equal(heap.regions_count, 0);
    assert_int_equal(classic_malloc_trim(0), 0);
    assert_int_equal(classic_check(), 0);
}

static void test_merges_both_neighbours(void **state)
{
    (void)state;
    void *p[5];
    for (int i = 0; i < 5; i++)
        p[i] = classic_malloc(100);
    size_t before = heap.free_count;
    classic_free(p[1]);
    classic_free(p[3]);
    assert_int_equal(heap.free_count, before + 2);
    classic_free(p[2]); /* left and right at once */
    assert_int_equal(heap.free_count, before + 1);
    const struct block *merged = block_of(p[1]);
    assert_false(block_in_use(merged));
    assert_int_equal(block_size(merged), 3 * block_need(100));
    assert_ptr_equal(block_next(merged), block_of(p[4]));
    assert_false(block_prev_used(block_of(p[4])));
    classic_free(p[0]);
    classic_free(p[4]);
    assert_int_equal(classic_check(), 0);
}

static void test_split_only_when_enough_is_left(void **state)
{
    (void)state;
    for (size_t left = 0; left <= 2 * BLOCK_MIN; left += 16) {
        char *a = classic_malloc(1000 + left), *wall = classic_malloc(1);
        size_t size = block_size(block_of(a));
        char *b = classic_realloc(a, 1000);
        assert_ptr_equal(a, b);
        size_t expected = left >= BLOCK_MIN ? size - left : size;
        assert_int_equal(block_size(block_of(b)), expected);
        assert_int_equal(classic_check(), 0);
        classic_free(b);
        classic_free(wall);
    }
}

/* --- resizing -------------------------------------------------------------------------------- */

static void test_realloc_in_place(void **state)
{
    (void)state;
    char *a = classic_malloc(100), *b = classic_malloc(1000), *wall = classic_malloc(1);
    memset(a, 'a', 100);
    classic_free(b);
    char *grown = classic_realloc(a, 600); /* into what b left */
    assert_ptr_equal(grown, a);
    assert_int_equal(grown[99], 'a');
    assert_ptr_equal(classic_realloc(a, 100), a);
    assert_int_equal(classic_check(), 0);
    char *moved = classic_realloc(a, 5000); /* more than there is before the wall */
    assert_ptr_not_equal(moved, a);
    for (int i = 0; i < 100; i++)
        assert_int_equal(moved[i], 'a');
    classic_free(moved);
    classic_free(wall);
}

static void test_realloc_between_small_and_large(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        1,       40,      5000,   LARGE_MIN - 64, LARGE_MIN - 1, LARGE_MIN, LARGE_MIN + 1,
        1 << 20, 3 << 20, 300000, LARGE_MIN - 1,  100,           5 << 20,   5};
    size_t live = 0;
    unsigned char *p = NULL;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *q = classic_realloc(p, sizes[i]);
        assert_non_null(q);
        assert_int_equal((uintptr_t)q % 16, 0);
        assert_true(classic_malloc_usable_size(q) >= sizes[i]);
        for (size_t k = 0; k < (live < sizes[i] ? live : sizes[i]); k++)
            if (q[k] != (unsigned char)(k * 31))
                fail_msg("byte %zu lost between sizes %zu and %zu", k, live, sizes[i]);
        for (size_t k = 0; k < sizes[i]; k++)
            q[k] = (unsigned char)(k * 31);
        p = q;
        live = sizes[i];
        assert_int_equal(classic_check(), 0);
        assert_int_equal(large_figures.count, sizes[i] >= LARGE_MIN);
    }
    classic_free(p);
    assert_int_equal(large_figures.count, 0);
    assert_int_equal(large_figures.bytes, 0);
}

static void test_large_alignments(void **state)
{
    (void)state;
    for (unsigned shift = 4; shift <= 30; shift++) {
        size_t alignment = (size_t)1 << shift;
        char *p = classic_memalign(alignment, 100000);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignment, 0);
        p[0] = p[99999] = 1;
        p = classic_realloc(p, 700000);
        p[699999] = 1;
        assert_int_equal(p[0] + p[99999], 2);
        classic_free(p);
    }
    assert_int_equal(large_figures.bytes, 0);
    assert_int_equal(classic_check(), 0);
}

static void test_trim_keeps_contents(void **state)
{
    (void)state;
    char *keep[3], *drop[3];
    for (int i = 0; i < 3; i++) {
        drop[i] = classic_malloc(100000);
        keep[i] = classic_malloc(100000);
        memset(drop[i], 'd', 100000);
        memset(keep[i], 'k', 100000);
    }
    for (int i = 0; i < 3; i++)
        classic_free(drop[i]);
    assert_int_equal(classic_malloc_trim(0), 1);
    assert_int_equal(classic_check(), 0);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 100000; k++)
            assert_int_equal(keep[i][k], 'k');
    for (int i = 0; i < 3; i++)
        classic_free(keep[i]);
    assert_int_equal(classic_check(), 0);
}

/* classic_check must be able to say no. */
static void test_check_finds_damage(void **state)
{
    (void)state;
    char *a = classic_malloc(100), *b = classic_malloc(100), *wall = classic_malloc(100);
    classic_free(b);
    struct block *free_block = block_of(b), copy = *free_block;
    size_t last = *block_last_word(free_block);

    free_block->tag ^= 16;
    assert_int_equal(classic_check(), -1);
    *free_block = copy;
    *block_last_word(free_block) += 16;
    assert_int_equal(classic_check(), -1);
    *block_last_word(free_block) = last;
    block_set_prev_used(block_of(wall), true);
    assert_int_equal(classic_check(), -1);
    block_set_prev_used(block_of(wall), false);
    heap.free_bytes += 16;
    assert_int_equal(classic_check(), -1);
    heap.free_bytes -= 16;
    policy_remove(free_block);
    assert_int_equal(classic_check(), -1);
    policy_insert(free_block);
    assert_int_equal(classic_check(), 0);
    classic_free(a);
    classic_free(wall);
}

static void test_stats_add_up(void **state)
{
    (void)state;
    (void)classic_malloc_trim(0);
    struct mallinfo2 before = classic_mallinfo2();
    void *small = classic_malloc(1000), *large = classic_malloc(LARGE_MIN);
    struct mallinfo2 info = classic_mallinfo2();
    assert_int_equal(info.uordblks - before.uordblks, block_need(1000));
    assert_int_equal(info.hblks, 1);
    assert_true(info.hblkhd >= LARGE_MIN && info.hblkhd < LARGE_MIN + 65536 * 2);
    assert_int_equal(info.arena, info.uordblks + info.fordblks + REGION_EXTRA * heap.regions_count);
    classic_free(small);
    classic_free(large);
    assert_string_equal(classic_version(), policy_version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_placement),
        cmocka_unit_test(test_placement_by_hand),
        cmocka_unit_test(test_coalescing),
        cmocka_unit_test(test_merges_both_neighbours),
        cmocka_unit_test(test_split_only_when_enough_is_left),
        cmocka_unit_test(test_realloc_in_place),
        cmocka_unit_test(test_realloc_between_small_and_large),
        cmocka_unit_test(test_large_alignments),
        cmocka_unit_test(test_trim_keeps_contents),
        cmocka_unit_test(test_check_finds_damage),
        cmocka_unit_test(test_stats_add_up),
    };
    return cmocka_run_group_tests_name(policy_name, tests, NULL, NULL);
}
