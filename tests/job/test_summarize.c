/* Summaries over a real store: what has no value stands there with its reason, what was read before
 * the warm-up was over is marked. Values themselves: test_scheduler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/job/summarize.h"
#include "daemon/store/store.h"
#include "tests/lib/remove_tree.h"

/* Cells: 0 glibc, 1 jemalloc of table-churn; 2, 3 of table-cold. */
#define JOB                                                                                  \
    "{\"allocators\":[\"glibc\",\"jemalloc\"],\"seed\":1,\"workloads\":["                    \
    "{\"workload\":\"table-churn\"},{\"workload\":\"table-cold\"}],\"repeat\":{\"rings\":1," \
    "\"rotations\":2,\"blocks\":1,\"warm_pct\":%u}}"

struct world {
    char directory[64];
    struct store *store;
    struct job_spec *spec;
    struct job_plan *plan;
    int64_t job_id;
    struct err e;
};

static int subject_check(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    (void)ctx, (void)subject, (void)field, (void)e;
    return 0;
}

static void world_job(struct world *w)
{
    static const char uuid[] = "00000000-0000-4000-8000-000000000001";
    struct store_cell_new cells[4];
    assert_int_equal(w->plan->cells_count, 4);
    for (uint32_t i = 0; i < 4; i++)
        cells[i] = (struct store_cell_new){
            .idx = i,
            .group_idx = w->plan->cells[i].group,
            .workload = w->plan->groups[w->plan->cells[i].group].entry->workload->name,
            .params_key = "",
            .allocator = i % 2 ? "jemalloc" : "glibc",
            .options_key = "",
            .threads = 1,
            .role = i % 2 ? ROLE_SUBJECT : ROLE_REFERENCE,
        };
    const struct store_job_new job = {.uuid = uuid,
                                      .name = "",
                                      .preset = "",
                                      .profile = "quick",
                                      .spec_json = "{}",
                                      .labels = &w->spec->labels,
                                      .cells = cells,
                                      .cells_count = 4,
                                      .steps_total = w->plan->steps,
                                      .principal = "local"};
    char added[37];
    bool replayed;
    struct store_job claimed;
    assert_int_equal(store_job_add(w->store, &job, added, &replayed, &w->e), 0);
    assert_int_equal(store_job_claim(w->store, "host", &claimed, &w->e), 1);
    w->job_id = claimed.id;
    store_job_done(&claimed);
}

static void world_open(struct world *w, unsigned warm_pct)
{
    static const struct job_limits limits = {.cpus_max = 2,
                                             .cores_max = 2,
                                             .memory_bytes = UINT64_C(8) << 30,
                                             .subject_check = subject_check};
    char text[512];
    *w = (struct world){.directory = "/tmp/heapmark-summarize-XXXXXX"};
    assert_non_null(mkdtemp(w->directory));
    const struct store_config config = {.directory = w->directory, .readers_count = 2};
    assert_int_equal(store_open(&config, &w->store, &w->e), 0);
    snprintf(text, sizeof text, JOB, warm_pct);
    if (job_parse(text, strlen(text), &limits, &w->spec, &w->e) < 0 ||
        job_expand(w->spec, &limits, &w->plan, &w->e) < 0)
        fail_msg("%s", w->e.message);
    world_job(w);
}

static void world_close(struct world *w)
{
    job_plan_free(w->plan);
    job_spec_free(w->spec);
    store_close(w->store);
    assert_int_equal(remove_tree(w->directory), 0);
}

/* One one-runner step of a cell: a heap value, and dtlb absent for `reason` (NULL: 3 of it). */
static void trial(struct world *w, uint32_t cell, uint32_t position, const char *reason)
{
    const struct store_ring_new ring = {.job_id = w->job_id,
                                        .group_idx = cell / 2,
                                        .position = position,
                                        .oneshot = true,
                                        .cells_count = 1,
                                        .cells = {cell},
                                        .roles = {cell % 2 ? ROLE_SUBJECT : ROLE_REFERENCE}};
    static struct exec_result result;
    const struct exec_request request = {.subjects_count = 1};
    struct exec_runner_result *r = &result.runners[0];
    char uuid[37];
    int64_t id;
    result = (struct exec_result){.runners_count = 1};
    r->outcome = OUTCOME_OK;
    r->metrics[r->metrics_count++] = (struct exec_metric){.metric = METRIC_HEAP_BYTES, .value = 9};
    r->metrics[r->metrics_count++] = (struct exec_metric){.metric = METRIC_LIVE_BYTES, .value = 8};
    if (reason) {
        struct exec_absent *a = &r->absent[r->absent_count++];
        a->metric = METRIC_DTLB_MISSES_PER_ACCESS;
        snprintf(a->reason, sizeof a->reason, "%s", reason);
    } else {
        r->metrics[r->metrics_count++] =
            (struct exec_metric){.metric = METRIC_DTLB_MISSES_PER_ACCESS, .value = 3};
    }
    assert_int_equal(store_attempt_begin(w->store, &ring, "test", uuid, &id, &w->e), 0);
    assert_int_equal(store_attempt_finish(w->store, id, &request, &result, &w->e), 0);
}

struct found {
    bool there, unsteady;
    double value;
    uint32_t count;
    char reason[128];
};

static int keep(void *ctx, const struct store_summary *row)
{
    struct found(*found)[METRIC_COUNT_] = ctx;
    struct found *to = &found[row->cell_idx][row->metric];
    assert_false(to->there);
    *to = (struct found){
        .there = true, .unsteady = row->unsteady, .value = row->value, .count = row->count};
    snprintf(to->reason, sizeof to->reason, "%s", row->reason);
    return 0;
}

static void summaries(struct world *w, struct found found[4][METRIC_COUNT_])
{
    memset(found, 0, 4 * sizeof found[0]);
    if (summarize_job(w->store, w->job_id, "host", w->spec, w->plan, &w->e) < 0)
        fail_msg("%s", w->e.message);
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    assert_int_equal(store_view_acquire(w->store, 1000, &v, &w->e), 0);
    assert_int_equal(store_view_summaries(v, w->job_id, keep, found, &w->e), 0);
}

static void test_no_value_has_its_reason(void **state)
{
    static struct found found[4][METRIC_COUNT_];
    struct world w;
    (void)state;
    world_open(&w, 100);
    trial(&w, 2, 0, "not here");
    trial(&w, 2, 1, "not there");
    trial(&w, 3, 2, "not here");
    trial(&w, 3, 3, NULL); /* one value is enough to have one */
    summaries(&w, found);
    const struct found *dtlb = &found[2][METRIC_DTLB_MISSES_PER_ACCESS];
    assert_true(dtlb->there && isnan(dtlb->value));
    assert_int_equal(dtlb->count, 0);
    assert_string_equal(dtlb->reason, "not here");
    dtlb = &found[3][METRIC_DTLB_MISSES_PER_ACCESS];
    assert_true(dtlb->value > 2.9);
    assert_string_equal(dtlb->reason, "");
    assert_true(found[2][METRIC_HEAP_BYTES].there);
    assert_string_equal(found[2][METRIC_HEAP_BYTES].reason, "");
    assert_false(found[0][METRIC_DTLB_MISSES_PER_ACCESS].there); /* never ran: no reason either */
    world_close(&w);
}

/* Only figures of a heap whose blocks are replaced, and only below the whole warm-up. */
static void test_short_warm_up_is_marked(void **state)
{
    static const unsigned pcts[] = {0, 10, 99, 100, 250};
    static struct found found[4][METRIC_COUNT_];
    (void)state;
    for (size_t i = 0; i < sizeof pcts / sizeof pcts[0]; i++) {
        struct world w;
        char said[16];
        snprintf(said, sizeof said, " %u%% ", pcts[i]);
        world_open(&w, pcts[i]);
        trial(&w, 1, 0, "no");
        trial(&w, 3, 1, "no");
        summaries(&w, found);
        const struct found *heap = &found[1][METRIC_HEAP_BYTES];
        assert_int_equal(heap->unsteady, pcts[i] < 100);
        assert_int_equal(strstr(heap->reason, said) != NULL, pcts[i] < 100);
        assert_true(heap->value > 8.9);
        assert_false(found[1][METRIC_LIVE_BYTES].unsteady); /* from the tape */
        assert_false(found[1][METRIC_DTLB_MISSES_PER_ACCESS].unsteady);
        assert_string_equal(found[1][METRIC_DTLB_MISSES_PER_ACCESS].reason, "no");
        assert_false(found[3][METRIC_HEAP_BYTES].unsteady); /* table-cold has no steady state */
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_value_has_its_reason),
        cmocka_unit_test(test_short_warm_up_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
