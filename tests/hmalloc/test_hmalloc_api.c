/* The malloc family as the standards and api.h have it: results, errno, alignment, extremes. */
#include "tests/hmalloc/hm.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "allocators/hmalloc/config.h"

#define GIB ((size_t)1 << 30)

struct mallinfo2 hm_mallinfo2(void);
int hm_malloc_trim(size_t pad);
void hm_malloc_stats(void);

/* Sizes around every border: of steps, classes, slabs, runs and mappings. */
static const size_t borders[] = {0,      1,       16,         24,       FAST_MAX,  FAST_MAX + 128,
                                 KIB(4), KIB(8),  KIB(9),     SLAB_MAX, UNIT_SIZE, MIB(1),
                                 MIB(2), RUN_MAX, CHUNK_SIZE, MIB(70)};
#define BORDERS (sizeof borders / sizeof borders[0])

/* More than there is: the last valid sizes, those that wrap when rounded up, and no size at all. */
static const size_t impossible[] = {
    SIZE_MAX,        SIZE_MAX - 1,    SIZE_MAX - 14,        SIZE_MAX - 15,
    SIZE_MAX - 16,   SIZE_MAX - 4095, SIZE_MAX - MIB(2),    (size_t)PTRDIFF_MAX + 1,
    PTRDIFF_MAX,     PTRDIFF_MAX - 1, PTRDIFF_MAX - 4096,   PTRDIFF_MAX - MIB(2),
    (size_t)1 << 62, (size_t)1 << 48, SIZE_MAX / 2 - MIB(2)};
#define IMPOSSIBLE (sizeof impossible / sizeof impossible[0])

static void test_sizes(void **state)
{
    (void)state;
    const size_t before = hm_allocated();
    for (size_t i = 0; i < BORDERS; i++)
        for (int delta = -1; delta <= 1; delta++) {
            const size_t size = borders[i] == 0 && delta < 0 ? 0 : borders[i] + (size_t)delta;
            errno = 77;
            char *a = hm_malloc(size), *b = hm_malloc(size);
            assert_non_null(a);
            assert_non_null(b);
            assert_ptr_not_equal(a, b);
            assert_int_equal((uintptr_t)a % 16, 0);
            const size_t usable = hm_malloc_usable_size(a);
            assert_true(usable >= size && usable >= 16);
            hm_fill(a, usable, 1);
            hm_fill(b, hm_malloc_usable_size(b), 2);
            assert_int_equal(hm_malloc_usable_size(a), usable); /* whatever is written */
            assert_true(hm_intact(a, usable, usable, 1));
            hm_free(a);
            hm_free(b);
            assert_int_equal(errno, 77); /* kept by all that succeeds, free above all */
        }
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

static void test_every_small_size(void **state)
{
    (void)state;
    char *previous = NULL;
    size_t previous_size = 0;
    for (size_t size = 0; size <= SLAB_MAX + 300; size += size < 2000 ? 1 : 13) {
        char *block = hm_malloc(size);
        assert_non_null(block);
        const size_t usable = hm_malloc_usable_size(block);
        assert_true(usable >= size);
        hm_fill(block, usable, (uint32_t)size);
        if (previous)
            assert_true(hm_intact(previous, previous_size, previous_size,
                                  (uint32_t)(size < 2001 ? size - 1 : size - 13)));
        hm_free(previous);
        previous = block;
        previous_size = usable;
    }
    hm_free(previous);
}

/* A failed call: NULL, ENOMEM, and the block it was given is as before. */
static void expect_nomem(void *got)
{
    assert_null(got);
    assert_int_equal(errno, ENOMEM);
    errno = 0;
}

static void test_impossible(void **state)
{
    (void)state;
    char *kept = hm_malloc(1000), *large = hm_malloc(MIB(20));
    hm_fill(kept, 1000, 3);
    hm_fill(large, MIB(20), 4);
    errno = 0;
    for (size_t i = 0; i < IMPOSSIBLE; i++) {
        const size_t size = impossible[i];
        void *out = &kept;
        expect_nomem(hm_malloc(size));
        expect_nomem(hm_calloc(1, size));
        expect_nomem(hm_calloc(size, 1));
        expect_nomem(hm_realloc(NULL, size));
        expect_nomem(hm_realloc(kept, size));
        expect_nomem(hm_realloc(large, size));
        expect_nomem(hm_reallocarray(kept, 1, size));
        for (size_t alignment = 16; alignment != 0; alignment <<= 1)
            expect_nomem(hm_memalign(alignment, size));
        expect_nomem(hm_aligned_alloc(64, size));
        expect_nomem(hm_valloc(size));
        expect_nomem(hm_pvalloc(size));
        assert_int_equal(hm_posix_memalign(&out, 64, size), ENOMEM);
        assert_ptr_equal(out, &kept); /* untouched, as errno */
        assert_int_equal(errno, 0);
    }
    assert_true(hm_intact(kept, 1000, 1000, 3));
    assert_true(hm_intact(large, MIB(20), MIB(20), 4));
    hm_free(kept);
    hm_free(large);
}

static void test_products(void **state)
{
    (void)state;
    static const struct {
        size_t count, size;
    } over[] = {{SIZE_MAX, 2},
                {2, SIZE_MAX},
                {SIZE_MAX / 2 + 1, 2},
                {(size_t)1 << 32, (size_t)1 << 32},
                {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1}, /* wraps to a small number */
                {SIZE_MAX / 16 + 2, 16}};
    char *kept = hm_malloc(100);
    hm_fill(kept, 100, 5);
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
        errno = 0;
        expect_nomem(hm_calloc(over[i].count, over[i].size));
        expect_nomem(hm_reallocarray(kept, over[i].count, over[i].size));
        expect_nomem(hm_reallocarray(NULL, over[i].count, over[i].size));
    }
    assert_true(hm_intact(kept, 100, 100, 5));
    void *none = hm_calloc(0, SIZE_MAX);
    assert_non_null(none);
    hm_free(none);
    kept = hm_reallocarray(kept, 30, 40);
    assert_non_null(kept);
    assert_true(hm_intact(kept, 100, 100, 5));
    hm_free(kept);
}

static void test_alignment(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 17, 100, 1000, 5000, 40000, MIB(3)};
    const size_t before = hm_allocated();
    for (size_t alignment = 1; alignment <= GIB; alignment *= 2)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *block[3] = {hm_memalign(alignment, sizes[i]),
                              hm_aligned_alloc(alignment, sizes[i])};
            const int status = hm_posix_memalign(&block[2], alignment, sizes[i]);
            assert_int_equal(status, alignment < sizeof(void *) ? EINVAL : 0);
            for (unsigned k = 0; k < (status ? 2 : 3); k++) {
                assert_non_null(block[k]);
                assert_int_equal((uintptr_t)block[k] % alignment, 0);
                assert_true(hm_malloc_usable_size(block[k]) >= sizes[i]);
                hm_fill(block[k], sizes[i], k);
            }
            for (unsigned k = 0; k < (status ? 2 : 3); k++) {
                assert_true(hm_intact(block[k], sizes[i], sizes[i], k));
                char *moved = hm_realloc(block[k], 3 * sizes[i] + 1);
                assert_non_null(moved);
                assert_true(hm_intact(moved, sizes[i], sizes[i], k));
                hm_free(moved);
            }
        }
    assert_int_equal(hm_allocated(), before);
}

/* Alignments beyond all addresses fail, and leave nothing behind: least of all at address 0. */
static void test_alignment_beyond(void **state)
{
    (void)state;
    char line[256];
    for (size_t alignment = (size_t)1 << 47; alignment != 0; alignment <<= 1) {
        errno = 0;
        expect_nomem(hm_memalign(alignment, 1));
        expect_nomem(hm_memalign(alignment, MIB(1)));
    }
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        assert_true(strtoull(line, NULL, 16) != 0);
    fclose(maps);
}

static void test_alignment_invalid(void **state)
{
    (void)state;
    static const size_t bad[] = {0, 3, 24, 48, 4097, SIZE_MAX, ((size_t)1 << 40) + 1};
    void *out = &out;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        errno = 0;
        assert_null(hm_memalign(bad[i], 10));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(hm_aligned_alloc(bad[i], 10));
        assert_int_equal(errno, EINVAL);
        errno = 55;
        assert_int_equal(hm_posix_memalign(&out, bad[i], 10), EINVAL);
        assert_int_equal(errno, 55);
        assert_ptr_equal(out, &out);
    }
}

static void test_pages(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t size = 0; size < 3 * page; size += page / 2 + 1) {
        char *v = hm_valloc(size), *p = hm_pvalloc(size);
        assert_int_equal((uintptr_t)v % page, 0);
        assert_int_equal((uintptr_t)p % page, 0);
        assert_true(v && p && hm_malloc_usable_size(v) >= size);
        assert_true(hm_malloc_usable_size(p) >= (size ? (size + page - 1) / page * page : page));
        hm_free(v);
        hm_cfree(p);
    }
}

static void test_realloc_edges(void **state)
{
    (void)state;
    const size_t before = hm_allocated();
    hm_free(NULL);
    assert_int_equal(hm_malloc_usable_size(NULL), 0);
    char *block = hm_realloc(NULL, 100);
    assert_non_null(block);
    assert_null(hm_realloc(block, 0)); /* freed */
    block = hm_realloc(NULL, 0);
    assert_non_null(block); /* as malloc(0) */
    hm_free(block);
    block = hm_malloc(100);
    assert_ptr_equal(hm_realloc(block, hm_malloc_usable_size(block)), block);
    hm_free_sized(block, 100);
    hm_free_aligned_sized(hm_aligned_alloc(256, 512), 256, 512);
    assert_int_equal(hm_allocated(), before);
}

/* From each size to each other, and back: through slabs, runs and mappings. */
static void test_realloc_everywhere(void **state)
{
    (void)state;
    const size_t before = hm_allocated();
    for (size_t i = 0; i < BORDERS; i++)
        for (size_t k = 0; k < BORDERS; k++) {
            const size_t from = borders[i] + 1, to = borders[k] + 1;
            const size_t common = from < to ? from : to;
            char *block = hm_malloc(from);
            assert_non_null(block);
            hm_fill(block, from, 9);
            block = hm_realloc(block, to);
            assert_non_null(block);
            assert_true(hm_intact(block, from, common, 9));
            assert_true(hm_malloc_usable_size(block) >= to);
            hm_fill(block, to, 10);
            char *back = hm_realloc(block, from);
            assert_non_null(back);
            assert_true(hm_intact(back, to, common, 10));
            hm_free(back);
        }
    assert_int_equal(hm_allocated(), before);
    assert_int_equal(hmalloc_check(), 0);
}

/* Growing by a little and shrinking by a little, all the way to a mapping that moves. */
static void test_realloc_creeping(void **state)
{
    (void)state;
    size_t size = 1, steps = 0;
    char *block = hm_malloc(size), *wall = NULL;
    hm_fill(block, size, 11);
    while (size < MIB(40)) {
        const size_t more = size + size / 5 + 1;
        block = hm_realloc(block, more);
        assert_non_null(block);
        assert_true(hm_intact(block, size, size, 11));
        hm_fill(block, more, 11);
        size = more;
        if (++steps % 3 == 0) { /* something in the way */
            hm_free(wall);
            wall = hm_malloc(size / 3 + 1);
        }
    }
    while (size > 8) {
        const size_t less = size - size / 6 - 1;
        block = hm_realloc(block, less);
        assert_non_null(block);
        assert_true(hm_intact(block, size, less, 11));
        hm_fill(block, less, 11);
        size = less;
    }
    hm_free(block);
    hm_free(wall);
    assert_int_equal(hmalloc_check(), 0);
}

static bool is_zero(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != 0)
            return false;
    return true;
}

/* What was dirty when freed reads as zeros from calloc: from magazines, slabs, purged pages, runs,
 * kept mappings. */
static void test_calloc_after_dirt(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static unsigned char *blocks[COUNT];
    for (size_t i = 1; i < BORDERS; i++) {
        const size_t size = borders[i] - 1;
        const size_t count = size > MIB(1) ? 3 : size > KIB(8) ? 30 : COUNT;
        for (unsigned round = 0; round < 4; round++) {
            for (size_t k = 0; k < count; k++) {
                blocks[k] =
                    round % 2 ? hm_calloc(k % 2 ? 1 : size, k % 2 ? size : 1) : hm_malloc(size);
                assert_non_null(blocks[k]);
                if (round % 2)
                    assert_true(is_zero(blocks[k], size));
                memset(blocks[k], 0xff, hm_malloc_usable_size(blocks[k]));
            }
            for (size_t k = 0; k < count; k++)
                if (k % 7 != 0) /* leave some: their neighbours' pages are purged alone */
                    hm_free(blocks[k]);
            if (round == 2)
                (void)hmalloc_purge();
            for (size_t k = 1; k < count; k++)
                if (k % 7 != 0) {
                    blocks[k] = hm_calloc(1, size);
                    assert_true(blocks[k] && is_zero(blocks[k], size));
                    memset(blocks[k], 0xee, size);
                }
            for (size_t k = 0; k < count; k++)
                hm_free(blocks[k]);
        }
    }
    assert_int_equal(hmalloc_check(), 0);
}

static void test_figures(void **state)
{
    (void)state;
    struct hmalloc_stats s;
    const size_t before = hm_allocated();
    void *blocks[100], *run = hm_malloc(MIB(1)), *direct = hm_malloc(MIB(40));
    for (size_t i = 0; i < 100; i++)
        blocks[i] = hm_malloc(1000);
    hmalloc_stats_get(&s);
    assert_in_range(s.allocated - before, MIB(41) + 100000, MIB(41) + 110000);
    assert_int_equal(s.large, MIB(41));
    assert_true(s.mapped >= s.committed - s.metadata && s.committed >= s.allocated);
    const struct mallinfo2 info = hm_mallinfo2();
    assert_int_equal(info.hblks, 1);
    assert_int_equal(info.hblkhd, MIB(40));
    assert_true(info.uordblks >= MIB(1) + 100000 && info.uordblks < MIB(3));
    for (size_t i = 0; i < 100; i++)
        hm_free(blocks[i]);
    hm_free(run);
    hm_free(direct);
    assert_int_equal(hm_malloc_trim(0), 1);
    hmalloc_stats_get(&s);
    assert_int_equal(s.allocated, before);
    assert_int_equal(s.large, 0);
    assert_int_equal(s.dirty, 0);
    assert_int_equal(s.kept, 0);
    assert_int_equal(s.magazines, 0);
    assert_int_equal(s.faults_count, 0);
    assert_int_equal(hm_malloc_trim(0), 0); /* nothing is left to give */
    assert_string_equal(hmalloc_version(), "1.0.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_every_small_size),
        cmocka_unit_test(test_impossible),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_alignment_beyond),
        cmocka_unit_test(test_alignment_invalid),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_realloc_edges),
        cmocka_unit_test(test_realloc_everywhere),
        cmocka_unit_test(test_realloc_creeping),
        cmocka_unit_test(test_calloc_after_dirt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
