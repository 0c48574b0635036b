/* What node code believes of a runner's page: forged stamps, counts, metrics, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/node/collect.h"

#define ROTATIONS 8

/* An honest ring: slice i of the schedule lies at [100 i, 100 i + 90). */
struct ring {
    struct ring_turn turns[64];
    int turns_count;
    struct collected runners[3];
    uint64_t end_ns;
};

static void ring_honest(struct ring *ring)
{
    ring->turns_count = ring_schedule(3, ROTATIONS, 1, 1, 7, ring->turns, 64);
    assert_true(ring->turns_count > 0);
    for (int i = 0; i < 3; i++) {
        ring->runners[i].page = calloc(1, ring_page_size(ROTATIONS));
        ring->runners[i].slices_count = ROTATIONS;
    }
    uint64_t at = 1000;
    for (int i = 0; i < ring->turns_count; i++) {
        const struct ring_turn *t = &ring->turns[i];
        if (t->phase != RING_MEASURE)
            continue;
        ring->runners[t->runner].page->slices[t->rotation] =
            (struct ring_slice){.start_ns = at, .end_ns = at + 90, .ops = 1000};
        at += 100;
    }
    ring->end_ns = at;
}

static void ring_done(struct ring *ring)
{
    for (int i = 0; i < 3; i++)
        free(ring->runners[i].page);
}

static unsigned forgers(const struct ring *ring)
{
    return collect_forgers(ring->turns, (uint32_t)ring->turns_count, ring->runners, 3, 1000,
                           ring->end_ns);
}

static void forge_overlap(struct ring_slice *s)
{
    s->start_ns -= 50;
    s->end_ns += 50;
}

static void forge_backwards(struct ring_slice *s)
{
    s->end_ns = s->start_ns - 1;
}

static void forge_zero(struct ring_slice *s)
{
    s->start_ns = s->end_ns = 0;
}

static void forge_future(struct ring_slice *s)
{
    s->end_ns = UINT64_MAX;
}

static void forge_before(struct ring_slice *s)
{
    s->start_ns = 1;
}

static void forge_no_ops(struct ring_slice *s)
{
    s->ops = 0;
}

static void test_honest_ring_is_believed(void **state)
{
    (void)state;
    struct ring ring;
    ring_honest(&ring);
    assert_int_equal(forgers(&ring), 0);
    ring_done(&ring);
}

static void test_forger_is_named_and_its_neighbours_are_not(void **state)
{
    static void (*const forgeries[])(struct ring_slice *) = {
        forge_overlap, forge_backwards, forge_zero, forge_future, forge_before, forge_no_ops,
    };
    (void)state;
    for (size_t f = 0; f < sizeof forgeries / sizeof forgeries[0]; f++)
        for (unsigned liar = 0; liar < 3; liar++) {
            struct ring ring;
            ring_honest(&ring);
            for (unsigned r = 0; r < ROTATIONS; r++)
                forgeries[f](&ring.runners[liar].page->slices[r]);
            unsigned mask = forgers(&ring);
            if (mask != 1u << liar)
                fail_msg("forgery %zu by %u gives mask %u", f, liar, mask);
            ring_done(&ring);
        }
}

/* One overlapping slice: it or its neighbour. Nobody is framed alone, the ring is void. */
static void test_single_overlap_cannot_be_attributed(void **state)
{
    (void)state;
    struct ring ring;
    ring_honest(&ring);
    ring.runners[1].page->slices[3].start_ns -= 50;
    unsigned mask = forgers(&ring);
    assert_true(mask & (mask - 1));
    ring_done(&ring);
}

static void test_dropped_runner_is_no_forger(void **state)
{
    (void)state;
    struct ring ring;
    ring_honest(&ring);
    ring.runners[2].slices_count = 3;
    assert_int_equal(forgers(&ring), 0);
    free(ring.runners[1].page);
    ring.runners[1] = (struct collected){0};
    assert_int_equal(forgers(&ring), 0);
    ring_done(&ring);
}

/* What the fabricated runners may report. */
static const enum metric_id listed[] = {
    METRIC_PAIRS_PER_S, METRIC_FORK_NS,    METRIC_FORK_P99_NS,      METRIC_FORK_WAIT_NS,
    METRIC_FORK_MAX_NS, METRIC_HEAP_BYTES, METRIC_COW_NS_PER_WRITE, METRIC_COW_AMPLIFICATION,
    METRIC_LIVE_BYTES,  METRIC_NS_PER_PAIR};
static const struct workload workload = {
    .name = "fabricated", .metrics = listed, .metrics_count = sizeof listed / sizeof listed[0]};
static const struct exec_request oneshot = {.workload = &workload, .subjects_count = 1};
static const struct exec_request ringed = {
    .workload = &workload, .subjects_count = 1, .rotations = ROTATIONS};

static struct ring_page *page_new(void)
{
    struct ring_page *page = calloc(1, ring_page_size(ROTATIONS));
    if (!page)
        abort(); /* cmocka's assertions do not tell the analyzer that they never return */
    return page;
}

static int page_fd(const struct ring_page *page, size_t size)
{
    int fd = memfd_create("page", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, page, size), (ssize_t)size);
    return fd;
}

static void test_copy_bounds_what_is_claimed(void **state)
{
    (void)state;
    size_t size = ring_page_size(ROTATIONS);
    struct ring_page *page = page_new();
    page->slices_count = 4000000;
    memset(page->version, 'v', sizeof page->version);
    memset(page->message, 'm', sizeof page->message);
    int fd = page_fd(page, size);
    struct collected c = {0};
    assert_int_equal(collect_copy(fd, ROTATIONS, &c), 0);
    assert_int_equal(c.slices_count, ROTATIONS);
    assert_int_equal(strlen(c.page->version), sizeof page->version - 1);
    assert_int_equal(strlen(c.page->message), sizeof page->message - 1);
    free(c.page);
    assert_int_equal(ftruncate(fd, (off_t)size - 1), 0);
    assert_true(collect_copy(fd, ROTATIONS, &c) < 0);
    close(fd);
    assert_true(collect_copy(-1, ROTATIONS, &c) < 0);
    free(page);
}

static void result_done(struct exec_runner_result *r)
{
    for (uint32_t i = 0; i < r->metrics_count; i++)
        free(r->metrics[i].vector);
    free(r->slices);
}

static void test_metrics_out_of_bounds_are_dropped(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    const struct ring_metric claims[] = {
        {.metric = METRIC_FORK_NS, .value = 5, .vector_offset = 2, .vector_count = 3},
        {.metric = METRIC_COUNT_, .value = 1},
        {.metric = METRIC_COW_NS_PER_WRITE, .value = NAN},
        {.metric = METRIC_COW_AMPLIFICATION, .value = INFINITY},
        {.metric = METRIC_FORK_P99_NS, .value = 6, .vector_offset = 4090, .vector_count = 100},
        {.metric = METRIC_FORK_WAIT_NS, .value = 7, .vector_count = UINT32_MAX},
    };
    memcpy(page->metrics, claims, sizeof claims);
    page->metrics_count = 1000000; /* the rest of the table is zero: metric 0 */
    for (int i = 0; i < 5; i++)
        page->vectors[i] = i;
    struct collected c = {.page = page};
    struct wire_runner_done done = {.outcome = OUTCOME_OK};
    struct exec_runner_result result = {0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.metrics[0].metric, METRIC_FORK_NS);
    assert_int_equal(result.metrics[0].vector_count, 3);
    assert_true(result.metrics[0].vector[0] > 1.9);
    assert_int_equal(result.metrics[1].metric, METRIC_FORK_P99_NS);
    assert_int_equal(result.metrics[1].vector_count, 0);
    assert_int_equal(result.metrics[2].metric, METRIC_FORK_WAIT_NS);
    assert_int_equal(result.metrics[2].vector_count, 0);
    result_done(&result);
    free(page);
}

/* The only figures of a runner that count are those its workload reports and nobody else does. */
static void test_what_is_not_the_runners_is_dropped(void **state)
{
    static const enum metric_id lies[] = {
        METRIC_CGROUP_PEAK_BYTES, METRIC_CPU_USER_US,     METRIC_CPU_SYSTEM_US,
        METRIC_PREFAULT_BYTES,    METRIC_PREFAULT_SHARE,  METRIC_RING_LOG_RATIO,
        METRIC_RING_DRIFT,        METRIC_RING_QUADRUPLES, METRIC_FRAG_TOTAL,
        METRIC_PAIRS_PER_S,       METRIC_NS_PER_PAIR,     METRIC_COUNT_,
    };
    const unsigned count = sizeof lies / sizeof lies[0];
    (void)state;
    struct ring_page *page = page_new();
    for (unsigned i = 0; i < count; i++) {
        page->metrics[i] = (struct ring_metric){.metric = lies[i], .value = 1, .vector_count = 2};
        page->absent[i] = (struct ring_absent){.metric = lies[i], .reason = "a lie"};
    }
    page->metrics_count = page->absent_count = count;
    struct collected c = {.page = page};
    struct wire_runner_done done = {.outcome = OUTCOME_OK};
    struct exec_runner_result result = {0};
    collect_result(&ringed, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.metrics_count, 0);
    assert_int_equal(result.absent_count, 0);
    result_done(&result);
    /* a one-shot trial has no slices: its workload itself says how fast it was */
    result = (struct exec_runner_result){0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.metrics_count, 2);
    assert_int_equal(result.metrics[0].metric, METRIC_PAIRS_PER_S);
    assert_int_equal(result.metrics[1].metric, METRIC_NS_PER_PAIR);
    result_done(&result);
    /* nor may a workload list what is never the runner's */
    const struct workload greedy = {.metrics = lies, .metrics_count = count - 4};
    const struct exec_request request = {.workload = &greedy, .subjects_count = 1};
    result = (struct exec_runner_result){0};
    collect_result(&request, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.metrics_count, 0);
    result_done(&result);
    free(page);
}

/* What the supervisor saw replaces a claim whole, vector and all. */
static void test_derived_values_keep_no_claimed_vector(void **state)
{
    (void)state;
    struct exec_result result = {.runners_count = 1};
    struct exec_runner_result *r = &result.runners[0];
    struct wire_done done = {.runners[0] = {.cpu_user_us = 5}};
    r->outcome = OUTCOME_OK;
    r->metrics[0] = (struct exec_metric){.metric = METRIC_CPU_USER_US,
                                         .value = 1e9,
                                         .vector_count = 3,
                                         .vector = calloc(3, sizeof(double))};
    r->metrics_count = 1;
    collect_derive(&oneshot, &result, &done);
    assert_true(r->metrics[0].value > 4.9 && r->metrics[0].value < 5.1);
    assert_int_equal(r->metrics[0].vector_count, 0);
    assert_null(r->metrics[0].vector);
    result_done(r);
}

/* What a runner says is absent is a claim too: names and text of another process. */
static void test_absences_are_checked(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    page->metrics_count = 2;
    page->metrics[0] = (struct ring_metric){.metric = METRIC_HEAP_BYTES, .value = NAN};
    page->metrics[1] = (struct ring_metric){.metric = METRIC_LIVE_BYTES, .value = 7};
    page->absent_count = UINT32_MAX;
    page->absent[0] = (struct ring_absent){.metric = METRIC_COUNT_, .reason = "nothing"};
    page->absent[1] = (struct ring_absent){.metric = METRIC_FORK_NS, .reason = "a\nb\xc3"};
    page->absent[2] = (struct ring_absent){.metric = METRIC_FORK_NS, .reason = "again"};
    page->absent[3] = (struct ring_absent){.metric = METRIC_HEAP_BYTES, .reason = "late"};
    page->absent[4].metric = METRIC_FORK_MAX_NS;
    memset(page->absent[4].reason, '\n', sizeof page->absent[4].reason); /* no end */
    struct collected c = {.page = page};
    struct wire_runner_done done = {.outcome = OUTCOME_OK};
    struct exec_runner_result result = {0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.metrics_count, 1);
    assert_int_equal(result.absent_count, 3);
    assert_int_equal(result.absent[0].metric, METRIC_HEAP_BYTES);
    assert_non_null(strstr(result.absent[0].reason, "no number"));
    assert_int_equal(result.absent[1].metric, METRIC_FORK_NS);
    assert_string_equal(result.absent[1].reason, "a\\x0ab\\xc3");
    assert_int_equal(result.absent[2].metric, METRIC_FORK_MAX_NS);
    assert_true(strlen(result.absent[2].reason) < sizeof result.absent[2].reason);
    result_done(&result);
    /* of a trial that failed nothing counts, reasons as little as values */
    done.outcome = OUTCOME_CRASHED;
    result = (struct exec_runner_result){0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.absent_count, 0);
    result_done(&result);
    free(page);
}

static void test_identity_must_be_the_hashed_file(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    page->device = 5;
    page->inode = 6;
    struct collected c = {.page = page};
    struct wire_runner_done done = {.outcome = OUTCOME_OK, .device = 5, .inode = 7};
    struct exec_runner_result result = {0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.outcome, OUTCOME_FAILED);
    assert_int_equal(result.failure, FAIL_IDENTITY);
    result_done(&result);
    free(page);
}

static void test_forged_figures_are_void(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    page->metrics_count = 1;
    page->metrics[0] = (struct ring_metric){.metric = METRIC_HEAP_BYTES, .value = 1};
    struct collected c = {.page = page, .slices_count = ROTATIONS};
    struct wire_runner_done done = {.outcome = OUTCOME_OK};
    struct exec_runner_result result = {0};
    collect_result(&oneshot, &c, &done, 10, 0, true, &result);
    assert_int_equal(result.outcome, OUTCOME_PROTOCOL);
    assert_int_equal(result.metrics_count, 0);
    assert_null(result.slices);
    free(page);
}

/* Else a runner that fails, by its own word, would have figures in the table all the same. */
static void test_figures_of_unfinished_trials_are_none(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    page->metrics_count = UINT32_MAX;
    struct collected c = {.page = page, .slices_count = ROTATIONS};
    for (uint32_t outcome = 0; outcome < OUTCOME_COUNT_; outcome++) {
        struct wire_runner_done done = {.outcome = outcome};
        struct exec_runner_result result = {0};
        collect_result(&oneshot, &c, &done, 10, 0, false, &result);
        assert_int_equal(result.metrics_count, outcome == OUTCOME_OK ? RING_METRICS_MAX : 0);
        assert_int_equal(result.slices_count, ROTATIONS);
        result_done(&result);
    }
    free(page);
}

static void test_hostile_outcome_numbers(void **state)
{
    (void)state;
    struct ring_page *page = page_new();
    page->failure = 999;
    struct collected c = {.page = page};
    struct wire_runner_done done = {.outcome = 77, .turns_done = UINT32_MAX};
    struct exec_runner_result result = {0};
    collect_result(&oneshot, &c, &done, 10, 0, false, &result);
    assert_int_equal(result.outcome, OUTCOME_PROTOCOL);
    assert_int_equal(result.failure, FAIL_PROTOCOL);
    assert_int_equal(result.turns_done, 10);
    result_done(&result);
    free(page);
}

static void test_text_is_one_printable_line(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"plain", "plain"},         {"a\nb", "a\\x0ab"}, {"\x1b[31mred", "\\x1b[31mred"},
        {"\xc3\xa9", "\\xc3\\xa9"}, {"\x7f", "\\x7f"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[64];
        collect_text(rows[i].from, strlen(rows[i].from), out, sizeof out);
        assert_string_equal(out, rows[i].to);
    }
    char small[8];
    collect_text("0123456789", 10, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_honest_ring_is_believed),
        cmocka_unit_test(test_forger_is_named_and_its_neighbours_are_not),
        cmocka_unit_test(test_single_overlap_cannot_be_attributed),
        cmocka_unit_test(test_dropped_runner_is_no_forger),
        cmocka_unit_test(test_copy_bounds_what_is_claimed),
        cmocka_unit_test(test_metrics_out_of_bounds_are_dropped),
        cmocka_unit_test(test_what_is_not_the_runners_is_dropped),
        cmocka_unit_test(test_derived_values_keep_no_claimed_vector),
        cmocka_unit_test(test_absences_are_checked),
        cmocka_unit_test(test_identity_must_be_the_hashed_file),
        cmocka_unit_test(test_forged_figures_are_void),
        cmocka_unit_test(test_figures_of_unfinished_trials_are_none),
        cmocka_unit_test(test_hostile_outcome_numbers),
        cmocka_unit_test(test_text_is_one_printable_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
