/* Field complaints about memory that stays, or comes and goes too often. */
#include <stdlib.h>
#include <string.h>

#include "field.h"

/* ---- 4: nothing is given back while the process idles ---- */

static void idle_process(void)
{
    enum { room = 400000 };
    void **blocks = field_pages(room * sizeof(void *));
    memset(blocks, 1, room * sizeof(void *));
    const size_t before = field_rss();
    size_t count = field_fill(blocks, room, MIB(256), 16, 2000);
    field_free_all(blocks, count);
    field_sleep_ms(300);
    field_most_mib("256 MiB of small blocks freed, then idle: RSS", field_rss_over(before),
                   MIB(32));
    count = field_fill(blocks, room, MIB(256), 40000, 4000000);
    field_free_all(blocks, count);
    field_sleep_ms(300);
    /* Needed again right after it was given back: 64 MiB may stay. */
    field_most_mib("256 MiB of large blocks freed, then idle: RSS", field_rss_over(before),
                   MIB(96));
    count = field_fill(blocks, room, MIB(256), MIB(17), MIB(31));
    field_free_all(blocks, count);
    field_sleep_ms(300);
    /* The same, and 64 MiB of mappings. */
    field_most_mib("256 MiB of mappings freed, then idle: RSS", field_rss_over(before), MIB(144));
}

/* ---- 6: memory given back by MADV_FREE still counts as resident ---- */

static void lazy_free(void)
{
    enum { room = 400000 };
    void **blocks = field_pages(room * sizeof(void *));
    memset(blocks, 1, room * sizeof(void *));
    const size_t before = field_rss();
    const size_t count = field_fill(blocks, room, MIB(128), 16, 2000);
    void *large = field_block(MIB(128));
    field_free_all(blocks, count);
    free(large);
    /* At once: nothing waits for memory pressure. */
    field_most_mib("256 MiB freed: RSS", field_rss_over(before), MIB(16));
    field_most_mib("LazyFree", field_rollup("LazyFree:"), 0);
}

/* ---- 7: blocks of about 800 kB come and go ---- */

static size_t thrash(size_t smallest, size_t largest, unsigned rounds)
{
    uint64_t state = smallest;
    const size_t before = field_faults();
    for (unsigned i = 0; i < rounds; i++) {
        const size_t size = smallest + field_random(&state) % (largest - smallest + 1);
        char *block = malloc(size);
        if (!block)
            field_die("malloc");
        for (size_t at = 0; at < size; at += 4096)
            block[at] = 1;
        free(block);
    }
    return (field_faults() - before) / rounds;
}

static void large_thrash(void)
{
    field_most("malloc, touch, free of 800 kB: page faults per round", thrash(800000, 800000, 2000),
               2, "");
    field_most("of 600 kB to 1 MB: page faults per round", thrash(600000, 1000000, 2000), 10, "");
    field_most("of 20 MB: page faults per round", thrash(20000000, 20000000, 100), 100, "");
}

/* ---- 8: huge pages fill with memory nobody asked for ---- */

static void huge_pages(void)
{
    enum { room = 3000000 };
    void **blocks = field_pages(room * sizeof(void *));
    memset(blocks, 1, room * sizeof(void *));
    const size_t before = field_rss();
    void *sparse = malloc(MIB(1));
    size_t count = field_fill(blocks, room, MIB(2), 16, 32000);
    free(sparse);
    field_most_mib("2 MiB of blocks of all sizes: RSS", field_rss_over(before), MIB(6));
    field_free_all(blocks, count);
    /* Densely filled, where huge pages pay; then nine blocks of ten are freed. */
    count = field_fill(blocks, room, MIB(256), 400, 600);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i / 64 % 10 == 0)
            blocks[kept++] = blocks[i];
        else
            free(blocks[i]);
    field_most_mib("256 MiB dense, all but a tenth freed in stretches of 64: RSS",
                   field_rss_over(before), MIB(128));
    field_most_mib("what khugepaged may add to it", field_huge_missing(), MIB(32));
    field_free_all(blocks, kept);
    field_most_mib("then everything: RSS", field_rss_over(before), MIB(32));
}

/* ---- 14: vm.max_map_count is used up ---- */

static void map_count(void)
{
    enum { room = 600000 };
    void **blocks = field_pages(room * sizeof(void *));
    const size_t before = field_lines_with("/proc/self/maps", "");
    uint64_t state = 1;
    size_t count = 0, most = 0;
    for (unsigned round = 0; round < 6; round++) {
        const size_t largest = (size_t)64 << (3 * round); /* to 2 MiB, untouched */
        for (size_t out = 0; count < room && out < MIB(128); out += largest / 2)
            if (!(blocks[count++] = malloc(1 + field_random(&state) % largest)))
                field_die("malloc");
        /* Every other block of all so far: as many holes as there can be. */
        for (size_t i = round % 2; i < count; i += 2) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
        const size_t now = field_lines_with("/proc/self/maps", "") - before;
        most = now > most ? now : most;
    }
    field_most("holes in 768 MiB of blocks up to 2 MiB: mappings more", most, 200, "");
    field_free_all(blocks, count);
    for (count = 0; count < 1000; count++)
        if (!(blocks[count] = malloc(MIB(18))))
            break;
    for (size_t i = 0; i < count; i += 2)
        free(blocks[i]);
    most = field_lines_with("/proc/self/maps", "") - before;
    field_most("and in 1,000 blocks of 18 MiB", most, 1200, "");
}

const struct field_case field_memory[] = {
    {4, "No purge while idle", "jemalloc#2688, #1128", idle_process, NULL},
    {6, "MADV_FREE shown as RSS", "snmalloc#846", lazy_free, NULL},
    {7, "Large blocks come and go", "snmalloc#811", large_thrash, NULL},
    {8, "Huge pages kept for little", "jemalloc#1674, mimalloc#1373, #1282", huge_pages, NULL},
    {14, "vm.max_map_count", "jemalloc#1328", map_count, NULL},
    {0, NULL, NULL, NULL, NULL},
};
