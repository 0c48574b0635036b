/* Placement on synthetic machines and on this one, CPU lists, description and fingerprint. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/topo/topo.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])
#define EACH(row, table) \
    for (const __typeof__((table)[0]) *row = (table); row < (table) + LENGTH(table); row++)

/* Two sockets of 32 cores, L3 shared by 8; CPU numbers in order of cores. */
#define DUAL "package:2 [numa] l3:4 core:8 pu:1"
/* The same with SMT, siblings next to each other, and as Linux numbers them (n and n + 64). */
#define DUAL_SMT       "package:2 [numa] l3:4 core:8 pu:2"
#define DUAL_SMT_LINUX "package:2 [numa] l3:4 core:8 pu:2(indexes=2*64:64*1)"
#define LAPTOP         "package:1 [numa] l3:1 core:4 pu:2"
#define TWO            "package:1 [numa] core:2 pu:1"
#define ONE            "package:1 [numa] core:1 pu:1"
#define QUAD_NODE      "package:4 [numa] core:4 pu:1"
#define HYBRID         "hybrid.xml" /* cores 0-7 slow, 8-11 fast, one L3 */
#define HOLES          "holes.xml"  /* DUAL_SMT of 2×2×4×2, only 1,3-6,9,20-27 allowed */

static int load(const char *name, struct topo **ret, struct err *e)
{
    char path[512];
    const char *root = getenv("HEAPMARK_SOURCE_DIR");
    if (!strstr(name, ".xml"))
        return topo_load(name, ret, e);
    snprintf(path, sizeof path, "%s/tests/topo/fixtures/%s", root ? root : ".", name);
    return topo_load(path, ret, e);
}

static struct topo *must_load(const char *name)
{
    struct topo *t;
    struct err e = {0};
    if (load(name, &t, &e) < 0)
        fail_msg("%s: %s", name, e.message);
    return t;
}

/* The CPUs of a plan in thread order, "0,1,2". */
static const char *plan_text(const struct topo_plan *plan, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < plan->count; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%u", i ? "," : "", plan->cpus[i]);
    return buf;
}

static const struct place_case {
    const char *topology;
    enum placement placement;
    uint32_t threads;
    const char *cpuset, *allowed; /* NULL: none */
    const char *cpus;             /* wanted, in thread order */
    uint64_t mems;
    int housekeeping;
    bool sibling;
} places[] = {
    {DUAL, PLACE_COMPACT, 1, NULL, NULL, "0", 1, 8, false},
    {DUAL, PLACE_COMPACT, 8, NULL, NULL, "0,1,2,3,4,5,6,7", 1, 8, false},
    {DUAL, PLACE_COMPACT, 9, NULL, NULL, "0,1,2,3,4,5,6,7,8", 1, 16, false},
    {DUAL, PLACE_COMPACT, 4, NULL, "30-40", "30,31,32,33", 3, 0, false},
    {DUAL, PLACE_SCATTER, 1, NULL, NULL, "0", 1, 8, false},
    {DUAL, PLACE_SCATTER, 2, NULL, NULL, "0,32", 3, 8, false},
    {DUAL, PLACE_SCATTER, 5, NULL, NULL, "0,32,8,40,16", 3, 24, false},
    {DUAL, PLACE_SCATTER, 10, NULL, NULL, "0,32,8,40,16,48,24,56,1,33", 3, 2, false},
    {DUAL, PLACE_ONE_PER_L3, 8, NULL, NULL, "0,8,16,24,32,40,48,56", 3, 1, false},
    {DUAL, PLACE_ONE_PER_L3, 2, NULL, "8-15,40-47", "8,40", 3, 0, false},
    {DUAL, PLACE_NUMA_LOCAL, 3, NULL, NULL, "0,1,2", 1, 8, false},
    {DUAL, PLACE_NUMA_LOCAL, 3, NULL, "20-63", "32,33,34", 2, 0, false},
    {DUAL, PLACE_EXPLICIT, 3, "63,5-6", NULL, "63,5,6", 3, 8, false},
    {DUAL, PLACE_EXPLICIT, 1, "9,1", NULL, "9", 1, 0, false},
    {DUAL_SMT, PLACE_COMPACT, 3, NULL, NULL, "0,2,4", 1, 16, false},
    {DUAL_SMT, PLACE_ONE_PER_CORE, 3, NULL, NULL, "0,2,4", 1, 16, false},
    {DUAL_SMT, PLACE_SCATTER, 3, NULL, NULL, "0,64,16", 3, 32, false},
    {DUAL_SMT, PLACE_COMPACT, 2, NULL, "0,1", "0,1", 1, 16, false},
    {DUAL_SMT, PLACE_COMPACT, 2, NULL, "1,3", "1,3", 1, 16, false},
    {DUAL_SMT_LINUX, PLACE_COMPACT, 3, NULL, NULL, "0,1,2", 1, 8, false},
    {DUAL_SMT_LINUX, PLACE_SCATTER, 4, NULL, NULL, "0,32,8,40", 3, 16, false},
    {LAPTOP, PLACE_COMPACT, 3, NULL, NULL, "0,2,4", 1, 6, false}, /* the idle core */
    {LAPTOP, PLACE_COMPACT, 4, NULL, NULL, "0,2,4,6", 1, 1, true},
    {LAPTOP, PLACE_COMPACT, 6, NULL, NULL, "0,2,4,6,1,3", 1, 5, true},
    {LAPTOP, PLACE_COMPACT, 8, NULL, NULL, "0,2,4,6,1,3,5,7", 1, -1, false},
    {LAPTOP, PLACE_ONE_PER_L3, 1, NULL, NULL, "0", 1, 2, false},
    {TWO, PLACE_COMPACT, 1, NULL, NULL, "0", 1, 1, false},
    {TWO, PLACE_COMPACT, 2, NULL, NULL, "0,1", 1, -1, false},
    {TWO, PLACE_SCATTER, 2, NULL, NULL, "0,1", 1, -1, false},
    {TWO, PLACE_EXPLICIT, 1, "1", NULL, "1", 1, 0, false},
    {ONE, PLACE_COMPACT, 1, NULL, NULL, "0", 1, -1, false},
    {ONE, PLACE_ONE_PER_CORE, 1, NULL, NULL, "0", 1, -1, false},
    {ONE, PLACE_NUMA_LOCAL, 1, NULL, NULL, "0", 1, -1, false},
    {QUAD_NODE, PLACE_SCATTER, 6, NULL, NULL, "0,4,8,12,1,5", 15, 2, false},
    {QUAD_NODE, PLACE_NUMA_LOCAL, 4, NULL, "1-3,6-15", "8,9,10,11", 4, 0, false},
    {HYBRID, PLACE_COMPACT, 3, NULL, NULL, "8,9,10", 1, 0, false},
    {HYBRID, PLACE_COMPACT, 6, NULL, NULL, "8,9,10,11,0,1", 1, 2, false},
    {HYBRID, PLACE_SCATTER, 5, NULL, NULL, "8,9,10,11,0", 1, 1, false},
    {HOLES, PLACE_COMPACT, 3, NULL, NULL, "1,3,4", 1, 9, false},
    {HOLES, PLACE_COMPACT, 10, NULL, NULL, "1,3,4,6,9,20,22,24,26,5", 3, 21, true},
    {HOLES, PLACE_SCATTER, 4, NULL, NULL, "1,20,9,24", 3, 3, false},
    {HOLES, PLACE_ONE_PER_L3, 4, NULL, NULL, "1,9,20,24", 3, 3, false},
    {HOLES, PLACE_NUMA_LOCAL, 5, NULL, NULL, "1,3,4,6,9", 1, 20, false},
    {HOLES, PLACE_EXPLICIT, 2, "27,1", NULL, "27,1", 3, 9, false},
};

static void test_places(void **state)
{
    (void)state;
    EACH(c, places)
    {
        cleanup_(topo_free_p) struct topo *t = must_load(c->topology);
        struct cpulist allowed;
        struct err e = {0};
        if (c->allowed)
            assert_int_equal(cpulist_parse(c->allowed, NULL, &allowed, &e), 0);
        struct topo_request request = {c->placement, c->threads, c->cpuset,
                                       c->allowed ? &allowed : NULL};
        struct topo_plan plan, again;
        char text[1024];
        if (topo_place(t, &request, &plan, &e) < 0)
            fail_msg("%s %s %u: %s", c->topology, placement_name(c->placement), c->threads,
                     e.message);
        plan_text(&plan, text, sizeof text);
        if (strcmp(text, c->cpus) != 0 || plan.mems_mask != c->mems ||
            plan.housekeeping_cpu != c->housekeeping || plan.housekeeping_sibling != c->sibling)
            fail_msg("%s %s %u: got %s mems %llu housekeeping %d%s, want %s mems %llu %d%s",
                     c->topology, placement_name(c->placement), c->threads, text,
                     (unsigned long long)plan.mems_mask, plan.housekeeping_cpu,
                     plan.housekeeping_sibling ? " sibling" : "", c->cpus,
                     (unsigned long long)c->mems, c->housekeeping, c->sibling ? " sibling" : "");
        assert_int_equal(plan.housekeeping, plan.housekeeping_cpu >= 0);
        assert_int_equal(topo_place(t, &request, &again, &e), 0);
        assert_string_equal(plan_text(&again, text, sizeof text), c->cpus);
    }
}

static const struct refuse_case {
    const char *topology;
    enum placement placement;
    uint32_t threads;
    const char *cpuset, *allowed;
    enum err_code code;
    const char *says; /* part of the message: both numbers where there are two */
    const char *field;
} refusals[] = {
    {DUAL, PLACE_COMPACT, 65, NULL, NULL, ERR_OUT_OF_RANGE, "65 threads, but there are 64 CPU",
     "/threads"},
    {DUAL, PLACE_SCATTER, 65, NULL, NULL, ERR_OUT_OF_RANGE, "65 threads, but there are 64 CPU",
     "/threads"},
    {DUAL, PLACE_COMPACT, 5, NULL, "1-4", ERR_OUT_OF_RANGE, "5 threads, but there are 4",
     "/threads"},
    {DUAL, PLACE_COMPACT, 1, NULL, "64-70", ERR_OUT_OF_RANGE, "1 threads, but there are 0",
     "/threads"},
    {DUAL, PLACE_COMPACT, 0, NULL, NULL, ERR_OUT_OF_RANGE, "0 threads", "/threads"},
    {DUAL, PLACE_COMPACT, RING_THREADS_MAX + 1, NULL, NULL, ERR_OUT_OF_RANGE, "257 threads",
     "/threads"},
    {DUAL_SMT, PLACE_ONE_PER_CORE, 65, NULL, NULL, ERR_OUT_OF_RANGE,
     "65 threads, but there are 64 core", "/threads"},
    {DUAL, PLACE_ONE_PER_L3, 9, NULL, NULL, ERR_OUT_OF_RANGE, "9 threads, but there are 8 L3",
     "/threads"},
    {DUAL, PLACE_ONE_PER_L3, 2, NULL, "0-7", ERR_OUT_OF_RANGE, "2 threads, but there is 1 L3",
     "/threads"},
    {TWO, PLACE_ONE_PER_L3, 1, NULL, NULL, ERR_UNAVAILABLE, "does not tell its L3", "/placement"},
    {DUAL, PLACE_NUMA_LOCAL, 33, NULL, NULL, ERR_OUT_OF_RANGE, "33 threads, but there are 32",
     "/threads"},
    {DUAL_SMT, PLACE_NUMA_LOCAL, 33, NULL, NULL, ERR_OUT_OF_RANGE, "there are 32 core", "/threads"},
    {ONE, PLACE_COMPACT, 2, NULL, NULL, ERR_OUT_OF_RANGE, "2 threads, but there is 1 CPU",
     "/threads"},
    {TWO, PLACE_EXPLICIT, 1, NULL, NULL, ERR_INVALID, "needs a cpuset", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 1, "", NULL, ERR_INVALID, "needs a cpuset", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 2, "1", NULL, ERR_OUT_OF_RANGE, "2 threads, but there is 1", "/threads"},
    {TWO, PLACE_EXPLICIT, 1, "0,2", NULL, ERR_UNAVAILABLE, "CPU 2", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 1, "0,1", "1", ERR_UNAVAILABLE, "usable: 1", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 1, "0,0", NULL, ERR_INVALID, "CPU 0 is listed twice", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 1, "0-", NULL, ERR_MALFORMED, "not a CPU list", "/cpuset"},
    {TWO, PLACE_EXPLICIT, 1, "99999999999", NULL, ERR_OUT_OF_RANGE, "0 to 4095", "/cpuset"},
    {HOLES, PLACE_EXPLICIT, 1, "0", NULL, ERR_UNAVAILABLE, "usable: 1,3-6,9,20-27", "/cpuset"},
    {HOLES, PLACE_COMPACT, 15, NULL, NULL, ERR_OUT_OF_RANGE, "15 threads, but there are 14",
     "/threads"},
    {HOLES, PLACE_ONE_PER_CORE, 10, NULL, NULL, ERR_OUT_OF_RANGE, "10 threads, but there are 9",
     "/threads"},
    {HOLES, PLACE_NUMA_LOCAL, 6, NULL, NULL, ERR_OUT_OF_RANGE, "6 threads, but there are 5",
     "/threads"},
    {ONE, PLACE_COUNT_, 1, NULL, NULL, ERR_INVALID, "no such placement", "/placement"},
};

static void test_refusals(void **state)
{
    (void)state;
    EACH(c, refusals)
    {
        cleanup_(topo_free_p) struct topo *t = must_load(c->topology);
        struct cpulist allowed;
        struct err e = {0};
        if (c->allowed)
            assert_int_equal(cpulist_parse(c->allowed, NULL, &allowed, &e), 0);
        struct topo_request request = {c->placement, c->threads, c->cpuset,
                                       c->allowed ? &allowed : NULL};
        struct topo_plan plan = {.count = 77};
        int r = topo_place(t, &request, &plan, &e);
        if (r != err_code_errno(c->code) || e.code != c->code || !strstr(e.message, c->says) ||
            strcmp(e.field, c->field) != 0)
            fail_msg("%s %s %u: got %d \"%s\" at \"%s\", want \"%s\" at \"%s\"", c->topology,
                     placement_name(c->placement), c->threads, r, e.message, e.field, c->says,
                     c->field);
        assert_int_equal(plan.count, 77);
        assert_true(topo_place(t, &request, &plan, NULL) < 0);
    }
}

static bool shares_core(struct topo_plan *plan, unsigned cpu)
{
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->cpus[i] / 2 == cpu / 2) /* DUAL_SMT numbers siblings 2n and 2n + 1 */
            return true;
    return false;
}

/* Whatever the policy and count: no CPU twice, cores first, housekeeping apart. */
static void test_place_invariants(void **state)
{
    (void)state;
    cleanup_(topo_free_p) struct topo *t = must_load(DUAL_SMT);
    for (int placement = 0; placement < PLACE_EXPLICIT; placement++)
        for (uint32_t threads = 1; threads <= 128; threads++) {
            struct topo_request request = {(enum placement)placement, threads, NULL, NULL};
            struct topo_plan plan;
            struct cpulist cores = {0}, cpus = {0};
            if (topo_place(t, &request, &plan, NULL) < 0)
                continue;
            assert_int_equal(plan.count, threads);
            for (uint32_t i = 0; i < threads; i++) {
                assert_false(cpulist_has(&cpus, plan.cpus[i]));
                cpulist_add(&cpus, plan.cpus[i]);
                cpulist_add(&cores, plan.cpus[i] / 2u);
            }
            assert_int_equal(cpulist_count(&cores), threads < 64 ? threads : 64);
            assert_int_equal(plan.housekeeping, threads < 128);
            if (plan.housekeeping) {
                assert_false(cpulist_has(&cpus, (unsigned)plan.housekeeping_cpu));
                assert_int_equal(shares_core(&plan, (unsigned)plan.housekeeping_cpu),
                                 plan.housekeeping_sibling);
                assert_int_equal(plan.housekeeping_sibling, threads >= 64);
            }
        }
}

static void test_placement_names(void **state)
{
    (void)state;
    for (int i = 0; i < PLACE_COUNT_; i++)
        assert_int_equal(placement_parse(placement_name((enum placement)i)), i);
    static const char *const bad[] = {"", "Compact", "compact ", "one_per_core", "unknown"};
    for (unsigned i = 0; i < LENGTH(bad); i++)
        assert_int_equal(placement_parse(bad[i]), -ENOENT);
    assert_string_equal(placement_name(PLACE_COUNT_), "unknown");
}

/* ---- CPU lists ------------------------------------------------------------------------------ */

static void test_cpulist_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
        unsigned count;
    } rows[] = {
        {"", "", 0},
        {"0", "0", 1},
        {"0-3", "0-3", 4},
        {"3,2,1,0", "0-3", 4},
        {"0-3,8", "0-3,8", 5},
        {"4095", "4095", 1},
        {"7-7", "7", 1},
        {"0-4095", "0-4095", 4096},
        {"62-65,1,0", "0-1,62-65", 6},
        {"00008", "8", 1},
        {"0,2,4", "0,2,4", 3},
    };
    EACH(row, rows)
    {
        struct cpulist list;
        struct err e = {0};
        char text[64];
        assert_int_equal(cpulist_parse(row->text, NULL, &list, &e), 0);
        assert_int_equal(cpulist_count(&list), row->count);
        assert_int_equal(cpulist_format(&list, text, sizeof text), strlen(row->canonical));
        assert_string_equal(text, row->canonical);
    }
}

static void test_cpulist_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
    } rows[] = {
        {",", ERR_MALFORMED},
        {"1,", ERR_MALFORMED},
        {",1", ERR_MALFORMED},
        {"1,,2", ERR_MALFORMED},
        {"-1", ERR_MALFORMED},
        {"1-", ERR_MALFORMED},
        {"1-2-3", ERR_MALFORMED},
        {"a", ERR_MALFORMED},
        {"1 2", ERR_MALFORMED},
        {" 1", ERR_MALFORMED},
        {"1\n", ERR_MALFORMED},
        {"0x1", ERR_MALFORMED},
        {"+1", ERR_MALFORMED},
        {"1;2", ERR_MALFORMED},
        {"3-1", ERR_INVALID},
        {"1,1", ERR_INVALID},
        {"0-3,2", ERR_INVALID},
        {"4096", ERR_OUT_OF_RANGE},
        {"0-4096", ERR_OUT_OF_RANGE},
        {"18446744073709551616", ERR_OUT_OF_RANGE},
        {"4294967296", ERR_OUT_OF_RANGE},
    };
    EACH(row, rows)
    {
        struct cpulist list = {.words = {42}};
        struct err e = {0};
        int r = cpulist_parse(row->text, "/cpuset", &list, &e);
        if (r != err_code_errno(row->code) || e.code != row->code)
            fail_msg("\"%s\": %d %s", row->text, r, e.message);
        assert_string_equal(e.field, "/cpuset");
        assert_int_equal(list.words[0], 42);
    }
}

static void test_cpulist_order_and_bounds(void **state)
{
    (void)state;
    uint16_t cpus[4];
    struct err e = {0};
    assert_int_equal(cpulist_parse_order("9,2-3,0", NULL, cpus, 4, &e), 4);
    assert_true(cpus[0] == 9 && cpus[1] == 2 && cpus[2] == 3 && cpus[3] == 0);
    assert_true(cpulist_parse_order("0-4", NULL, cpus, 4, &e) < 0);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    struct cpulist list = {0};
    char small[6];
    cpulist_add(&list, 4095);
    cpulist_add(&list, 4096); /* beyond: ignored */
    cpulist_add(&list, 10);
    assert_false(cpulist_has(&list, 4096));
    assert_int_equal(cpulist_next(&list, 11), 4095);
    assert_int_equal(cpulist_next(&list, 4096), -1);
    assert_int_equal(cpulist_format(&list, small, sizeof small), -ENOSPC);
    assert_string_equal(small, "10"); /* whole items only */
    assert_int_equal(cpulist_format(&list, small, 0), -ENOSPC);
    cpulist_remove(&list, 4095);
    cpulist_remove(&list, 10);
    assert_int_equal(cpulist_count(&list), 0);
    assert_int_equal(cpulist_next(&list, 0), -1);
}

/* ---- loading, description, fingerprint ------------------------------------------------------ */

static void test_load_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        enum err_code code;
    } rows[] = {
        {"", ERR_INVALID},
        {"nonsense", ERR_INVALID},
        {"core:0 pu:1", ERR_INVALID},
        {"/nonexistent/machine.xml", ERR_NOT_FOUND},
        {"/dev/null.xml", ERR_NOT_FOUND},
    };
    EACH(row, rows)
    {
        struct topo *t = NULL;
        struct err e = {0};
        int r = topo_load(row->source, &t, &e);
        if (r >= 0 || e.code != row->code || t)
            fail_msg("\"%s\": %d %s", row->source, r, e.message);
    }
}

static void test_broken_xml(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "<topology", "<topology version=\"2.0\"></topology>",
                                        "not xml at all"};
    setenv("HWLOC_HIDE_ERRORS", "2", 1); /* hwloc comments on bad files by itself */
    for (unsigned i = 0; i < LENGTH(texts); i++) {
        char path[] = "/tmp/heapmark-topo-XXXXXX.xml";
        int fd = mkstemps(path, 4);
        struct topo *t = NULL;
        struct err e = {0};
        assert_true(fd >= 0);
        assert_int_equal(write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
        close(fd);
        int r = topo_load(path, &t, &e);
        unlink(path);
        if (r >= 0 || e.code != ERR_INVALID)
            fail_msg("\"%s\": %d %s", texts[i], r, e.message);
    }
}

static void test_counts_and_fingerprint(void **state)
{
    (void)state;
    static const struct {
        const char *topology, *fingerprint;
        struct topo_counts counts;
    } rows[] = {
        {"package:2 [numa] l3:4(size=33554432) core:8 pu:2",
         "packages=2 cores=64 cpus=128 numa=2 L3=8x33554432",
         {2, 2, 8, 64, 128, 64, 128}},
        {HOLES, "packages=2 cores=16 cpus=32 numa=2 L3=4x16777216", {2, 2, 4, 16, 32, 9, 14}},
        {"pu:3", "packages=0 cores=3 cpus=3 numa=1", {0, 1, 0, 3, 3, 3, 3}}, /* no cores told */
    };
    EACH(row, rows)
    {
        cleanup_(topo_free_p) struct topo *t = must_load(row->topology);
        struct topo_counts counts = topo_counts(t);
        char text[256], tiny[10];
        topo_fingerprint(t, text, sizeof text);
        assert_string_equal(text, row->fingerprint);
        assert_memory_equal(&counts, &row->counts, sizeof counts);
        assert_int_equal(cpulist_count(topo_allowed(t)), counts.cpus_allowed);
        assert_false(topo_is_this_system(t));
        topo_fingerprint(t, tiny, sizeof tiny);
        assert_int_equal(strlen(tiny), sizeof tiny - 1);
    }
}

struct walk {
    unsigned packages, numa, l3, cores, cpus, allowed_cpus, depth;
    uint64_t cache_bytes;
};

static void walk_node(const struct topo_node *node, unsigned depth, struct walk *w)
{
    w->depth = depth > w->depth ? depth : w->depth;
    w->packages += strcmp(node->type, "Package") == 0;
    w->numa += strcmp(node->type, "NUMANode") == 0;
    w->cores += strcmp(node->type, "Core") == 0;
    if (strcmp(node->type, "L3Cache") == 0 || strcmp(node->type, "L3") == 0) {
        w->l3++;
        w->cache_bytes += node->size_bytes;
    }
    if (strcmp(node->type, "PU") == 0) {
        w->cpus++;
        w->allowed_cpus += node->allowed;
        assert_int_equal(node->children_count, 0);
        assert_int_equal(strtol(node->cpus, NULL, 10), node->index);
    }
    for (unsigned i = 0; i < node->children_count; i++)
        walk_node(&node->children[i], depth + 1, w);
}

static void test_describe(void **state)
{
    (void)state;
    cleanup_(topo_free_p) struct topo *t = must_load(HOLES);
    struct topo_node *root = topo_describe(t);
    struct walk w = {0};
    assert_non_null(root);
    assert_string_equal(root->type, "Machine");
    assert_string_equal(root->cpus, "0-31");
    walk_node(root, 0, &w);
    topo_node_free(root);
    assert_int_equal(w.packages, 2);
    assert_int_equal(w.numa, 2);
    assert_int_equal(w.l3, 4);
    assert_int_equal(w.cores, 16);
    assert_int_equal(w.cpus, 32);
    assert_int_equal(w.allowed_cpus, 14);
    assert_int_equal(w.cache_bytes, 4 * 16777216);
    topo_node_free(NULL);
    topo_free(NULL);
}

/* A list of CPUs too long for its field is cut between items and says so. */
static void test_describe_cuts_long_lists(void **state)
{
    (void)state;
    char source[4096] = "package:2 core:300 pu:1(indexes=";
    for (unsigned i = 0; i < 600; i++) { /* even numbers in one package, odd ones in the other */
        size_t used = strlen(source);
        snprintf(source + used, sizeof source - used, "%u%s", i % 300 * 2 + i / 300,
                 i < 599 ? "," : ")");
    }
    cleanup_(topo_free_p) struct topo *t = must_load(source);
    struct topo_node *root = topo_describe(t);
    assert_non_null(root);
    const char *cpus = root->children[0].cpus;
    for (unsigned i = 0; i < root->children_count; i++)
        if (strcmp(root->children[i].type, "Package") == 0)
            cpus = root->children[i].cpus;
    assert_true(strlen(cpus) > 200);
    assert_non_null(strstr(cpus, ",…"));
    topo_node_free(root);
}

/* This machine: the affinity mask bounds every plan. */
static void test_this_system(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_XMLFILE");
    {
        cleanup_(topo_free_p) struct topo *t = NULL;
        assert_int_equal(topo_load(NULL, &t, NULL), 0);
        assert_true(topo_is_this_system(t));
        assert_int_equal(cpulist_count(topo_allowed(t)), CPU_COUNT(&before));
        for (int cpu = cpulist_next(topo_allowed(t), 0); cpu >= 0;
             cpu = cpulist_next(topo_allowed(t), (unsigned)cpu + 1))
            assert_true(CPU_ISSET((size_t)cpu, &before));
    }
    size_t last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before))
        last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct topo_request request = {PLACE_COMPACT, 1, NULL, NULL};
    struct topo_plan plan;
    struct err e = {0};
    cleanup_(topo_free_p) struct topo *t = NULL;
    int r = topo_load(NULL, &t, &e);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(topo_place(t, &request, &plan, &e), 0);
    assert_int_equal(plan.cpus[0], last);
    assert_int_equal(plan.housekeeping_cpu, -1);
    request.threads = 2;
    assert_true(topo_place(t, &request, &plan, &e) < 0);
    assert_non_null(strstr(e.message, "2 threads, but there is 1 CPU"));
}

static void test_environment_topology(void **state)
{
    (void)state;
    setenv("HWLOC_SYNTHETIC", DUAL, 1);
    cleanup_(topo_free_p) struct topo *t = NULL;
    int r = topo_load(NULL, &t, NULL);
    unsetenv("HWLOC_SYNTHETIC");
    assert_int_equal(r, 0);
    assert_false(topo_is_this_system(t));
    assert_int_equal(topo_counts(t).cpus_allowed, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_place_invariants),
        cmocka_unit_test(test_placement_names),
        cmocka_unit_test(test_cpulist_good),
        cmocka_unit_test(test_cpulist_bad),
        cmocka_unit_test(test_cpulist_order_and_bounds),
        cmocka_unit_test(test_load_refuses),
        cmocka_unit_test(test_broken_xml),
        cmocka_unit_test(test_counts_and_fingerprint),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_describe_cuts_long_lists),
        cmocka_unit_test(test_this_system),
        cmocka_unit_test(test_environment_topology),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
