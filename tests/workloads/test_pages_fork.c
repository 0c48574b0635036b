/* The pure parts of chase, fork-cow and their bounds: cycles, smaps texts, write targets, rows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "workloads/fork/cow_targets.h"
#include "workloads/pages/cycle.h"
#include "workloads/pages/mapping.h"
#include "workloads/pages/smaps.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

/* ---- cycle ---------------------------------------------------------------------------------- */

static struct cycle_line *lines_new(uint64_t count)
{
    struct cycle_line *lines = aligned_alloc(CYCLE_LINE_BYTES, count * CYCLE_LINE_BYTES);
    assert_non_null(lines);
    memset(lines, 0xee, count * CYCLE_LINE_BYTES);
    return lines;
}

static struct cycle_line *cycle_new(uint64_t count, uint64_t seed)
{
    struct cycle_line *lines = lines_new(count);
    cycle_init(lines, 0, count);
    cycle_mix(lines, count, 0, count, &seed);
    return lines;
}

static void test_cycle_visits_all(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1, 2, 3, 5, 15, 16, 17, 31, 64, 1000, 16384, 65537};
    for (size_t i = 0; i < LENGTH(counts); i++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct cycle_line *lines = cycle_new(counts[i], seed);
            uint64_t visited, steps = 0;
            assert_true(cycle_verify(lines, counts[i], &visited));
            assert_int_equal(visited, counts[i]);
            const struct cycle_line *at = lines;
            do { /* the definition, one step at a time */
                at = at->next;
                steps++;
            } while (at != lines && steps <= counts[i]);
            assert_int_equal(steps, counts[i]);
            free(lines);
        }
}

/* Whatever the number of parts, the same seed gives the same cycle. */
static void test_cycle_in_parts(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct cycle_line *whole = cycle_new(COUNT, 42), *parts = lines_new(COUNT);
    uint64_t seed = 42;
    for (uint64_t part = 0; part < 7; part++)
        cycle_init(parts, COUNT * part / 7, COUNT * (part + 1) / 7);
    for (uint64_t part = 0; part < 7; part++)
        cycle_mix(parts, COUNT, COUNT * part / 7, COUNT * (part + 1) / 7, &seed);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(whole[i].next - whole, parts[i].next - parts);
    free(whole);
    free(parts);
}

/* All six cycles of four lines come up, about equally often: no step is biased. */
static void test_cycle_is_uniform(void **state)
{
    (void)state;
    enum { RUNS = 6000 };
    unsigned seen[256] = {0}, kinds = 0;
    for (uint64_t seed = 0; seed < RUNS; seed++) {
        struct cycle_line *lines = cycle_new(4, seed);
        unsigned key = 0;
        for (unsigned i = 0; i < 4; i++)
            key = key << 2 | (unsigned)(lines[i].next - lines);
        seen[key]++;
        free(lines);
    }
    for (unsigned key = 0; key < LENGTH(seen); key++) {
        kinds += seen[key] > 0;
        assert_true(seen[key] == 0 || (seen[key] > 850 && seen[key] < 1150));
    }
    assert_int_equal(kinds, 6);
}

static void break_self(struct cycle_line *l)
{
    l[777].next = &l[777];
}
static void break_two_cycles(struct cycle_line *l)
{
    struct cycle_line *swap = l[5].next;
    l[5].next = l[600].next;
    l[600].next = swap;
}
static void break_rho(struct cycle_line *l)
{
    l[9].next = l[10].next;
}
static void break_before(struct cycle_line *l)
{
    l[3].next = l - 1;
}
static void break_after(struct cycle_line *l)
{
    l[3].next = l + 1000;
}
static void break_null(struct cycle_line *l)
{
    l[999].next = NULL;
}
static void break_between(struct cycle_line *l)
{
    l[0].next = (struct cycle_line *)(void *)((char *)l + 8);
}
static void break_far(struct cycle_line *l)
{
    l[500].next = (struct cycle_line *)UINTPTR_MAX;
}
static void break_all_self(struct cycle_line *l)
{
    cycle_init(l, 0, 1000);
}
static void break_start_self(struct cycle_line *l)
{
    l[0].next = l;
}

static void test_cycle_broken(void **state)
{
    (void)state;
    static void (*const breaks[])(struct cycle_line *) = {
        break_self, break_two_cycles, break_rho, break_before,   break_after,
        break_null, break_between,    break_far, break_all_self, break_start_self,
    };
    for (size_t i = 0; i < LENGTH(breaks); i++) {
        struct cycle_line *lines = cycle_new(1000, 7);
        uint64_t visited;
        breaks[i](lines);
        if (cycle_verify(lines, 1000, &visited))
            fail_msg("broken cycle %zu passed with %llu lines", i, (unsigned long long)visited);
        free(lines);
    }
    uint64_t visited = 1;
    assert_false(cycle_verify(NULL, 0, &visited));
    assert_int_equal(visited, 0);
}

/* ---- smaps ---------------------------------------------------------------------------------- */

static int smaps_of(const char *text, uint64_t base, uint64_t bytes, struct smaps_sum *ret)
{
    int fd = memfd_create("smaps", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    lseek(fd, 0, SEEK_SET);
    int r = smaps_range_fd(fd, base, bytes, ret);
    close(fd);
    return r;
}

static const char smaps_text[] = "10000-30000 rw-p 00000000 00:00 0 \n"
                                 "Size:                128 kB\nKernelPageSize:        4 kB\n"
                                 "Rss:                 100 kB\nAnonHugePages:        64 kB\n"
                                 "Private_Dirty:        12 kB\nVmFlags: rd wr mr\n"
                                 "40000-80000 rw-s 00000000 00:0f 123 /anon_hugepage (deleted)\n"
                                 "KernelPageSize:     2048 kB\nRss:                   0 kB\n"
                                 "AnonHugePages:         0 kB\nShared_Hugetlb:     2048 kB\n"
                                 "Private_Hugetlb:    4096 kB\n"
                                 "ffffff00-ffffff60 r-xp 00000000 00:00 0 [vsyscall]\nRss: 8 kB";

static void test_smaps(void **state)
{
    (void)state;
    struct smaps_sum sum;
    assert_int_equal(smaps_of(smaps_text, 0x10000, 0x20000, &sum), 0);
    assert_int_equal(sum.mapped_bytes, 0x20000);
    assert_int_equal(sum.rss_bytes, 100 << 10);
    assert_int_equal(sum.anon_huge_bytes, 64 << 10);
    assert_int_equal(sum.hugetlb_bytes, 0);
    assert_int_equal(sum.kernel_page_bytes, 4096);
    assert_int_equal(smaps_of(smaps_text, 0x7ffff, 1, &sum), 0);
    assert_int_equal(sum.hugetlb_bytes, 6 << 20);
    assert_int_equal(sum.kernel_page_bytes, 2 << 20);
    assert_int_equal(smaps_of(smaps_text, 0x2ffff, 0x10002, &sum), 0); /* both */
    assert_int_equal(sum.mapped_bytes, 0x60000);
    assert_int_equal(sum.kernel_page_bytes, 4096);
    assert_int_equal(smaps_of(smaps_text, 0xffffff00, 1, &sum), 0); /* no newline at the end */
    assert_int_equal(sum.rss_bytes, 8 << 10);
}

static void test_smaps_private(void **state)
{
    (void)state;
    struct smaps_sum sum;
    int fd = memfd_create("smaps", MFD_CLOEXEC);
    assert_int_equal(write(fd, smaps_text, strlen(smaps_text)), strlen(smaps_text));
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(smaps_private_fd(fd, &sum), 0);
    close(fd);
    assert_int_equal(sum.private_dirty_bytes, 12 << 10);
    assert_int_equal(sum.rss_bytes, 108 << 10); /* the shared one is left out */
    assert_int_equal(sum.hugetlb_bytes, 0);
    assert_int_equal(smaps_private_fd(-1, &sum), -EBADF);
    assert_int_equal(smaps_private(&sum), 0);
    assert_true(sum.private_dirty_bytes > 0 && sum.private_dirty_bytes <= sum.mapped_bytes);
}

static void test_smaps_bad(void **state)
{
    (void)state;
    struct smaps_sum sum = {.rss_bytes = 42};
    assert_int_equal(smaps_of(smaps_text, 0x30000, 0x10000, &sum), -ENOENT); /* the gap */
    assert_int_equal(smaps_of("", 0, 1, &sum), -EPROTO);
    assert_int_equal(smaps_of("hello\nworld\n", 0, 1, &sum), -EPROTO);
    assert_int_equal(smaps_range_fd(-1, 0, 1, &sum), -EBADF);
    char *long_line = malloc(100000);
    assert_non_null(long_line);
    memset(long_line, 'x', 99999);
    long_line[99999] = '\0';
    assert_int_equal(smaps_of(long_line, 0, 1, &sum), -EPROTO);
    free(long_line);
    assert_int_equal(sum.rss_bytes, 42);
}

static void test_smaps_of_this_process(void **state)
{
    (void)state;
    const size_t bytes = 1 << 20;
    char *guard = mmap(NULL, 3 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guard != MAP_FAILED);
    char *map = guard + bytes;
    assert_int_equal(mprotect(map, bytes, PROT_READ | PROT_WRITE), 0);
    struct smaps_sum sum;
    assert_int_equal(smaps_range(map, bytes, &sum), 0);
    assert_int_equal(sum.mapped_bytes, bytes);
    assert_int_equal(sum.rss_bytes, 0);
    memset(map, 1, bytes / 2);
    assert_int_equal(smaps_range(map, bytes, &sum), 0);
    assert_true(sum.rss_bytes >= bytes / 2);
    munmap(guard, 3 * bytes);
    assert_int_equal(smaps_range(map, bytes, &sum), -ENOENT);
}

/* ---- targets of fork-cow -------------------------------------------------------------------- */

enum layout { ASCENDING, DESCENDING, SCATTERED, ALL_ONE };

static struct fork_heap *heap_new(char *arena, uint64_t blocks, uint64_t block, enum layout layout)
{
    struct fork_heap *h = calloc(1, sizeof *h + blocks * sizeof h->blocks[0]);
    assert_non_null(h);
    h->blocks_count = blocks;
    h->block_bytes = block;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t place = i;
        if (layout == DESCENDING)
            place = blocks - 1 - i;
        else if (layout == SCATTERED)
            place = i * 7919 % blocks;
        h->blocks[i] = arena + (layout == ALL_ONE ? 0 : place * block);
    }
    return h;
}

static void check_targets(const struct fork_heap *h, const char *arena, uint64_t stride,
                          uint64_t percent)
{
    const uint64_t bytes = h->blocks_count * h->block_bytes;
    const uint64_t max = cow_targets_max(bytes, stride, percent);
    unsigned char **targets = calloc(max, sizeof *targets);
    assert_non_null(targets);
    const uint64_t count = cow_targets(h, stride, percent, targets);
    assert_true(count >= 1 && count <= max);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t offset = (uint64_t)((char *)targets[i] - arena);
        assert_true(offset < bytes);
        assert_true(offset % h->block_bytes >= 8); /* never the block's header */
        if (i > 0)
            assert_true((uintptr_t)targets[i] / COW_PAGE > (uintptr_t)targets[i - 1] / COW_PAGE);
    }
    free(targets);
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        uint64_t blocks, block;
    } heaps[] = {{256, 4096}, {16384, 64}, {1, 1 << 20}, {331, 100}, {13, 70000}, {300, 4112}};
    static const uint64_t strides[] = {4096, 65536, 2 << 20};
    static const uint64_t percents[] = {1, 25, 99, 100};
    char *arena = aligned_alloc(4096, 4 << 20);
    assert_non_null(arena);
    for (size_t i = 0; i < LENGTH(heaps); i++)
        for (int layout = ASCENDING; layout <= SCATTERED; layout++) {
            if (layout == SCATTERED && 7919 % heaps[i].blocks == 0)
                continue;
            struct fork_heap *h =
                heap_new(arena, heaps[i].blocks, heaps[i].block, (enum layout)layout);
            for (size_t k = 0; k < LENGTH(strides) * LENGTH(percents); k++)
                check_targets(h, arena, strides[k % LENGTH(strides)],
                              percents[k / LENGTH(strides)]);
            free(h);
        }
    free(arena);
}

/* Whole pages in a row: exactly one target a page. And a heap that is one block over and over. */
static void test_targets_count(void **state)
{
    (void)state;
    unsigned char *targets[256];
    char *arena = aligned_alloc(4096, 1 << 20);
    assert_non_null(arena);
    struct fork_heap *h = heap_new(arena, 256, 4096, SCATTERED);
    assert_int_equal(cow_targets(h, 4096, 100, targets), 256);
    assert_int_equal(cow_targets(h, 4096, 50, targets), 128);
    assert_int_equal(cow_targets(h, 65536, 100, targets), 16);
    assert_int_equal(cow_targets(h, 2 << 20, 1, targets), 1);
    free(h);
    h = heap_new(arena, 256, 4096, ALL_ONE);
    assert_int_equal(cow_targets(h, 4096, 100, targets), 1);
    free(h);
    free(arena);
}

static void test_values_tell_phases_apart(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_not_equal(cow_value(i, 0), cow_value(i, 1));
        assert_int_not_equal(cow_value(i, 0), cow_value(i + 1, 0));
        assert_int_not_equal(cow_value(i, 1), cow_value(i + 1, 0));
    }
}

/* ---- planning figures ----------------------------------------------------------------------- */

static struct workload_point point_of(const struct workload *w, enum page_mode pages,
                                      const char *param, uint64_t value)
{
    struct workload_point p;
    workload_defaults(w, &p);
    p.pages = pages;
    if (param)
        p.params[param_find(w->params, w->params_count, param)].u = value;
    return p;
}

static void test_chase_plan(void **state)
{
    (void)state;
    const struct workload *w = workload_find("chase");
    const uint64_t mib = 1 << 20, gib = 1 << 30;
    const struct {
        enum page_mode pages;
        uint64_t bytes, heap, hugetlb;
    } rows[] = {
        {PAGES_4K, mib, mib, 0},
        {PAGES_4K, mib + 1, mib + 4096, 0},
        {PAGES_THP, mib, 2 * mib, 0},
        {PAGES_THP, 3 * mib, 4 * mib, 0},
        {PAGES_HUGETLB_2M, mib, 2 * mib, 1},
        {PAGES_HUGETLB_2M, 256 * mib, 256 * mib, 128},
        {PAGES_HUGETLB_2M, 256 * mib + 1, 258 * mib, 129},
        {PAGES_HUGETLB_1G, mib, gib, 1},
        {PAGES_HUGETLB_1G, gib + 1, 2 * gib, 2},
        {PAGES_HUGETLB_1G, 1024 * gib, 1024 * gib, 1024},
    };
    assert_non_null(w);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        struct workload_point p = point_of(w, rows[i].pages, "bytes", rows[i].bytes);
        assert_true(w->heap_bytes(&p) == rows[i].heap);
        assert_true(w->hugetlb_pages(&p) == rows[i].hugetlb);
        assert_true(w->warm_ops(&p) > 0 && w->warm_ops(&p) <= 1 << 20);
        assert_true(w->live_ops(&p) > 0 && w->live_ops(&p) <= 8192);
    }
}

static void test_fork_plan(void **state)
{
    (void)state;
    static const struct {
        const char *workload;
        uint64_t written_pages; /* copies of a quarter of the default heap, every 4 KiB */
    } rows[] = {{"fork-latency", 0}, {"fork-cow", 4096}};
    for (size_t i = 0; i < LENGTH(rows); i++) {
        const struct workload *w = workload_find(rows[i].workload);
        assert_non_null(w);
        assert_int_equal(w->threads_max, 1);
        assert_int_equal(w->pages_mask, PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP));
        struct workload_point p = point_of(w, PAGES_4K, "block_bytes", 1000);
        assert_int_equal(w->heap_bytes(&p), /* 64 MiB rounded up to whole blocks */
                         67109 * 1000 + rows[i].written_pages * 4096);
        p = point_of(w, PAGES_4K, "rss_bytes", UINT64_C(1) << 40);
        assert_true(w->heap_bytes(&p) >= UINT64_C(1) << 40);
        assert_true(w->heap_bytes(&p) <= UINT64_C(2) << 40);
    }
}

static void test_param_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *workload, *param, *text;
        bool ok;
    } rows[] = {
        {"chase", "bytes", "1MiB", true},
        {"chase", "bytes", "1TiB", true},
        {"chase", "bytes", "1048575", false},
        {"chase", "bytes", "1099511627777", false},
        {"chase", "bytes", "-1", false},
        {"fork-latency", "rss_bytes", "1MiB", true},
        {"fork-latency", "rss_bytes", "1048575", false},
        {"fork-latency", "block_bytes", "64", true},
        {"fork-latency", "block_bytes", "63", false},
        {"fork-latency", "block_bytes", "4194305", false},
        {"fork-latency", "calls", "0", false},
        {"fork-latency", "calls", "2000", true},
        {"fork-latency", "calls", "2001", false},
        {"fork-latency", "method", "vfork", true},
        {"fork-latency", "method", "clone", false},
        {"fork-cow", "writer", "child", true},
        {"fork-cow", "writer", "both", false},
        {"fork-cow", "stride_bytes", "2MiB", true},
        {"fork-cow", "stride_bytes", "4096", false},
        {"fork-cow", "fraction_pct", "0", false},
        {"fork-cow", "fraction_pct", "100", true},
        {"fork-cow", "fraction_pct", "101", false},
    };
    for (size_t i = 0; i < LENGTH(rows); i++) {
        const struct workload *w = workload_find(rows[i].workload);
        assert_non_null(w);
        int k = param_find(w->params, w->params_count, rows[i].param);
        union param_value value;
        struct err e = {0};
        assert_true(k >= 0);
        int r = param_parse(&w->params[k], rows[i].text, NULL, &value, &e);
        if ((r == 0) != rows[i].ok)
            fail_msg("%s %s=%s: %d %s", rows[i].workload, rows[i].param, rows[i].text, r,
                     e.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cycle_visits_all),
        cmocka_unit_test(test_cycle_in_parts),
        cmocka_unit_test(test_cycle_is_uniform),
        cmocka_unit_test(test_cycle_broken),
        cmocka_unit_test(test_smaps),
        cmocka_unit_test(test_smaps_private),
        cmocka_unit_test(test_smaps_bad),
        cmocka_unit_test(test_smaps_of_this_process),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_targets_count),
        cmocka_unit_test(test_values_tell_phases_apart),
        cmocka_unit_test(test_chase_plan),
        cmocka_unit_test(test_fork_plan),
        cmocka_unit_test(test_param_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
