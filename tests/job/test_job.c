/* Job JSON: what is accepted, what is refused and how the refusal reads; expansion to cells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/job/job.h"

static int subject_check(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    static const char *const known[] = {"glibc", "jemalloc", "mimalloc", "null", "bump"};
    (void)ctx;
    if (strcmp(subject->allocator, "tcmalloc") == 0)
        return err_set(e, ERR_UNAVAILABLE, field,
                       "tcmalloc is not installed: install Debian package libtcmalloc-minimal4");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i], subject->allocator) == 0) {
            subject->flags = i == 3 ? RING_SUBJECT_NULL : i == 4 ? RING_SUBJECT_NO_FREE : 0;
            return 0;
        }
    return err_set(e, ERR_UNKNOWN_NAME, field, "no allocator \"%s\"", subject->allocator);
}

static int pages_check(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    (void)ctx;
    if (mode != PAGES_HUGETLB_1G)
        return 0;
    return err_set(e, ERR_UNAVAILABLE, field, "this host has no 1 GiB pages");
}

static const struct job_limits limits = {
    .cpus_max = 4,
    .cores_max = 4,
    .memory_bytes = UINT64_C(8) << 30,
    .subject_check = subject_check,
    .pages_check = pages_check,
};

#define ALLOCATORS "\"allocators\":[\"glibc\",\"jemalloc\"]"
#define CHURN      "\"workloads\":[{\"workload\":\"table-churn\"}]"

struct refusal {
    const char *json;
    enum err_code code;
    const char *field;   /* exact */
    const char *message; /* contained */
};

static const struct refusal refusals[] = {
    {"", ERR_MALFORMED, "", "not JSON"},
    {"{", ERR_MALFORMED, "", "line 1"},
    {"[]", ERR_INVALID, "", "a job is a JSON object"},
    {"{\"a\":1,\"a\":2}", ERR_MALFORMED, "", "duplicate"},
    {"{\"seed\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}", ERR_MALFORMED, "", "deeper than 16"},
    {"{}", ERR_INVALID, "/allocators", "at least one"},
    {"{" ALLOCATORS "}", ERR_INVALID, "/workloads", "at least one entry"},
    {"{" ALLOCATORS "," CHURN ",\"wrkloads\":1}", ERR_UNKNOWN_NAME, "/wrkloads", "unknown field"},
    {"{\"allocators\":[]," CHURN "}", ERR_INVALID, "/allocators", "at least one"},
    {"{\"allocators\":[\"snmalloc\"]," CHURN "}", ERR_UNKNOWN_NAME, "/allocators/0", "snmalloc"},
    {"{\"allocators\":[\"../x\"]," CHURN "}", ERR_INVALID, "/allocators/0", "a name"},
    {"{\"allocators\":[\"glibc\",\"glibc\"]," CHURN "}", ERR_INVALID, "/allocators/1", "twice"},
    {"{\"allocators\":[\"tcmalloc\"]," CHURN "}", ERR_UNAVAILABLE, "/allocators/0",
     "install Debian package libtcmalloc-minimal4"},
    {"{\"allocators\":[\"null\"]," CHURN "}", ERR_INVALID, "/allocators", "real allocator"},
    {"{\"allocators\":[{\"name\":\"glibc\",\"options\":[\"a\",\"a\"]}]," CHURN "}", ERR_INVALID,
     "/allocators/0", "given twice"},
    {"{\"allocators\":[{\"name\":\"glibc\",\"path\":\"/x.so\"}]," CHURN "}", ERR_UNKNOWN_NAME,
     "/allocators/0/path", "unknown field"},
    {"{" ALLOCATORS "," CHURN ",\"reference\":\"mimalloc\"}", ERR_INVALID, "/reference",
     "not among allocators"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"nope\"}]}", ERR_UNKNOWN_NAME,
     "/workloads/0/workload", "nope"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"x\":1}}]}",
     ERR_UNKNOWN_NAME, "/workloads/0/params/x", "no parameter"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"remote_pct\":120}}]}",
     ERR_OUT_OF_RANGE, "/workloads/0/params/remote_pct", "120 is outside 0 to 50"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"remote_pct\":-1}}]}",
     ERR_OUT_OF_RANGE, "/workloads/0/params/remote_pct", "-1 is outside 0 to 50"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"remote_pct\":1.5}}]}",
     ERR_INVALID, "/workloads/0/params/remote_pct", "type integer"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"remote_pct\":[]}}]}",
     ERR_INVALID, "/workloads/0/params/remote_pct", "empty list"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"touch\":\"all\"}}]}",
     ERR_INVALID, "/workloads/0/params/touch", "is not one of none, ends, full"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"threads\":5}]}",
     ERR_OUT_OF_RANGE, "/workloads/0/threads", "5 is outside 1 to 4 (CPUs of this host)"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"threads\":[0]}]}",
     ERR_OUT_OF_RANGE, "/workloads/0/threads", "0 is outside"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"threads\":\"all\"}]}",
     ERR_INVALID, "/workloads/0/threads", "max"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"pages\":\"3k\"}]}",
     ERR_UNKNOWN_NAME, "/workloads/0/pages", "not one of 4k"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"pages\":[\"4k\",\"4k\"]}]}",
     ERR_INVALID, "/workloads/0/pages", "twice"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"chase\",\"pages\":\"hugetlb-1g\"}]}",
     ERR_UNAVAILABLE, "/workloads/0/pages", "no 1 GiB pages"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"rotations\":3}]}", ERR_INVALID,
     "/workloads/0/rotations", "odd"},
    {"{" ALLOCATORS "," CHURN ",\"repeat\":{\"rings\":0}}", ERR_OUT_OF_RANGE, "/repeat/rings",
     "0 is outside 1 to 1000"},
    {"{" ALLOCATORS "," CHURN ",\"repeat\":{\"ring\":3}}", ERR_UNKNOWN_NAME, "/repeat/ring",
     "unknown field"},
    {"{" ALLOCATORS "," CHURN ",\"limits\":{\"memory_bytes\":\"1MiB\"}}", ERR_OUT_OF_RANGE,
     "/limits/memory_bytes", "below what table-churn needs"},
    {"{" ALLOCATORS "," CHURN ",\"limits\":{\"memory_bytes\":\"lots\"}}", ERR_INVALID,
     "/limits/memory_bytes", "not a size"},
    {"{" ALLOCATORS "," CHURN ",\"placement\":\"best\"}", ERR_UNKNOWN_NAME, "/placement",
     "compact"},
    {"{" ALLOCATORS "," CHURN ",\"placement\":\"explicit\"}", ERR_INVALID, "/cpuset",
     "go together"},
    {"{" ALLOCATORS "," CHURN ",\"mode\":\"pair\"}", ERR_INVALID, "/mode", "ring or solo"},
    {"{" ALLOCATORS "," CHURN ",\"profile\":\"slow\"}", ERR_UNKNOWN_NAME, "/profile", "quick"},
    {"{\"preset\":\"nope\"}", ERR_UNKNOWN_NAME, "/preset", "no preset"},
    {"{\"preset\":5}", ERR_INVALID, "/preset", "text"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"time\":\"yesterday\"}}", ERR_INVALID, "/labels/time",
     "2026-01-31T12:00:00Z"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"colour\":\"red\"}}", ERR_UNKNOWN_NAME,
     "/labels/colour", "unknown field"},
    {"{" ALLOCATORS "," CHURN ",\"seed\":-1}", ERR_OUT_OF_RANGE, "/seed", "-1"},
    {"{" ALLOCATORS "," CHURN ",\"name\":\"a\\u0000b\"}", ERR_MALFORMED, "", "not JSON"},
    {"{" ALLOCATORS "," CHURN ",\"name\":\"a\\nb\"}", ERR_INVALID, "/name",
     "byte 2 is the control character 0x0a"},
    {"{" ALLOCATORS "," CHURN ",\"name\":\"\\u001b[2J\"}", ERR_INVALID, "/name",
     "byte 1 is the control character 0x1b"},
    {"{" ALLOCATORS "," CHURN ",\"name\":\"\u00fc\\u007f\"}", ERR_INVALID, "/name",
     "byte 3 is the control character 0x7f"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"project\":\"\\t\"}}", ERR_INVALID, "/labels/project",
     "0x09"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"commit\":\"c0ffee\\r\"}}", ERR_INVALID,
     "/labels/commit", "byte 7 is the control character 0x0d"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"parent\":\"\\u0001\"}}", ERR_INVALID,
     "/labels/parent", "0x01"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"branch\":\"a\\u001fb\"}}", ERR_INVALID,
     "/labels/branch", "0x1f"},
    {"{" ALLOCATORS "," CHURN ",\"labels\":{\"tag\":\"\\b\"}}", ERR_INVALID, "/labels/tag", "0x08"},
    {"{" ALLOCATORS
     ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"size_min_bytes\":2000}}]}",
     ERR_INVALID, "/workloads", "table-churn: size_min_bytes: 2000 is above size_max_bytes, 1024"},
    {"{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-cold\",\"params\":{\"size_min_bytes\":["
     "16,64],\"size_max_bytes\":[128,32]}}]}",
     ERR_INVALID, "/workloads", "size_min_bytes: 64 is above size_max_bytes, 32"},
};

/* Parsed, and expanded where parsing succeeds: some refusals need the whole matrix. */
static int try_job(const char *json, struct job_spec **ret_spec, struct job_plan **ret_plan,
                   struct err *e)
{
    int r = job_parse(json, strlen(json), &limits, ret_spec, e);
    return r < 0 ? r : job_expand(*ret_spec, &limits, ret_plan, e);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *t = &refusals[i];
        struct job_spec *spec = NULL;
        struct job_plan *plan = NULL;
        struct err e = {0};
        int r = try_job(t->json, &spec, &plan, &e);
        job_spec_free(spec);
        job_plan_free(plan);
        if (r >= 0 || e.code != t->code || strcmp(e.field, t->field) != 0 ||
            !strstr(e.message, t->message))
            fail_msg("%s\n  gives %d %s \"%s\" \"%s\"\n  wanted %s \"%s\" \"…%s…\"", t->json, r,
                     err_code_name(e.code), e.field, e.message, err_code_name(t->code), t->field,
                     t->message);
    }
}

static struct job_plan *expand(const char *json, struct job_spec **ret_spec)
{
    struct job_plan *plan = NULL;
    struct err e = {0};
    if (try_job(json, ret_spec, &plan, &e) < 0)
        fail_msg("%s: %s %s", json, e.field, e.message);
    if (!plan)
        abort(); /* the analyzer does not know that fail_msg never returns */
    return plan;
}

static void test_matrix_is_the_product_of_lists(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan =
        expand("{\"allocators\":[\"glibc\",\"jemalloc\",\"mimalloc\",\"null\"],\"workloads\":[{"
               "\"workload\":\"table-churn\",\"params\":{\"remote_pct\":[0,1,10]},\"threads\":[1,"
               "\"max\"]}]"
               ",\"repeat\":{\"rings\":5}}",
               &spec);
    assert_int_equal(plan->groups_count, 6);
    assert_int_equal(plan->cells_count, 24);
    assert_int_equal(plan->steps, 6 * 3 * 5); /* a ring per cell beside the control */
    for (uint32_t g = 0; g < plan->groups_count; g++) {
        const struct job_group *group = &plan->groups[g];
        assert_int_equal(plan->cells[group->cells_first].subject, spec->reference);
        assert_true(group->point.threads == 1 || group->point.threads == 4);
        for (uint32_t c = 0; c < group->cells_count; c++)
            assert_int_equal(plan->cells[group->cells_first + c].group, g);
    }
    assert_true(plan->seconds_estimate > 0);
    job_plan_free(plan);
    job_spec_free(spec);
}

static void test_oneshot_block_has_the_control_twice(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan = expand("{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-cold\"}],"
                                   "\"repeat\":{\"blocks\":7}}",
                                   &spec);
    assert_int_equal(plan->steps, (2 + 1) * 7);
    assert_int_equal(job_group_rotations(spec, &plan->groups[0]), 0);
    job_plan_free(plan);
    job_spec_free(spec);
}

static void test_page_axis_adds_its_control(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan = expand(
        "{" ALLOCATORS ",\"workloads\":[{\"workload\":\"chase\",\"pages\":[\"thp\"]}]}", &spec);
    assert_int_equal(plan->groups_count, 1);
    assert_int_equal(plan->cells_count, 2);
    assert_int_equal(plan->cells[0].point.pages, PAGES_4K);
    assert_int_equal(plan->cells[1].point.pages, PAGES_THP);
    job_plan_free(plan);
    job_spec_free(spec);
}

static void test_no_heap_no_fork_cell(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan = expand("{\"allocators\":[\"glibc\",\"jemalloc\",\"null\",\"bump\"],"
                                   "\"workloads\":[{\"workload\":\"fork-latency\"}]}",
                                   &spec);
    assert_int_equal(plan->cells_count, 2);
    job_plan_free(plan);
    job_spec_free(spec);
}

static void test_exploding_matrix_names_the_count(void **state)
{
    (void)state;
    char live[512] = "", sizes[512] = "", json[4096];
    for (int i = 1, a = 0, b = 0; i <= 32; i++) {
        a += snprintf(live + a, sizeof live - (size_t)a, "%s%d", i > 1 ? "," : "", 1000 * i);
        b += snprintf(sizes + b, sizeof sizes - (size_t)b, "%s%d", i > 1 ? "," : "", 100 + i);
    }
    snprintf(json, sizeof json,
             "{" ALLOCATORS ",\"workloads\":[{\"workload\":\"table-churn\",\"params\":{"
             "\"live\":[%s],\"size_max_bytes\":[%s],\"remote_pct\":[0,1,2]}}]}",
             live, sizes);
    struct job_spec *spec = NULL;
    struct job_plan *plan = NULL;
    struct err e = {0};
    assert_true(try_job(json, &spec, &plan, &e) < 0);
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_non_null(strstr(e.message, "6144 cells, at most 4096"));
    job_spec_free(spec);
}

static void test_preset_names_what_is_missing_without_failing(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan = expand("{\"preset\":\"reference\",\"profile\":\"demo\","
                                   "\"allocators\":[\"glibc\",\"jemalloc\",\"null\"]}",
                                   &spec);
    assert_string_equal(spec->preset, "reference");
    assert_int_equal(spec->rings, 10);
    assert_int_equal(spec->subjects_count, 3);
    job_plan_free(plan);
    job_spec_free(spec);
}

static uint64_t param_of(const struct job_group *group, const char *name)
{
    const struct workload *w = group->entry->workload;
    for (unsigned i = 0; i < w->params_count; i++)
        if (strcmp(w->params[i].name, name) == 0)
            return group->point.params[i].u;
    fail_msg("%s has no %s", w->name, name);
    abort();
}

/* The table the demo is for, as run: 1% remote frees on one thread and on all cores, ten rings; the
 * walk over 256 MiB at every page size. */
static void test_demo_of_the_reference_preset(void **state)
{
    (void)state;
    struct job_spec *spec;
    struct job_plan *plan = expand("{\"preset\":\"reference\",\"profile\":\"demo\","
                                   "\"allocators\":[\"glibc\",\"jemalloc\",\"null\"]}",
                                   &spec);
    unsigned churn_threads = 0, churns = 0, chases = 0;
    for (uint32_t g = 0; g < plan->groups_count; g++) {
        const struct job_group *group = &plan->groups[g];
        const struct workload *w = group->entry->workload;
        const char *name = w->name;
        if (strcmp(name, "table-churn") == 0) {
            churns++;
            churn_threads |= 1U << group->point.threads;
            assert_int_equal(param_of(group, "remote_pct"), 1);
            assert_int_equal(job_group_repeats(spec, group), 10);
            assert_true(job_group_in_rings(spec, group));
            assert_int_equal(job_group_rings(spec, group), 2);
        } else if (strcmp(name, "chase") == 0) {
            chases++;
            assert_int_equal(param_of(group, "bytes"), 256 << 20);
        }
    }
    assert_int_equal(churns, 2);
    assert_int_equal(churn_threads, 1U << 1 | 1U << 4); /* 4 cores: limits */
    assert_int_equal(chases, 1);
    job_plan_free(plan);
    job_spec_free(spec);
}

/* The stored form alone repeats the job. */
static void test_canonical_json_round_trips(void **state)
{
    (void)state;
    struct job_spec *spec, *again;
    struct job_plan *plan = expand(
        "{\"allocators\":[\"jemalloc\",{\"name\":\"glibc\",\"options\":[\"b\",\"a\"]}],"
        "\"reference\":\"jemalloc\",\"name\":\"x\",\"labels\":{\"commit\":\"c0ffee\",\"sequence\":"
        "7,"
        "\"time\":\"2026-01-31T12:00:00.5Z\"},\"seed\":42,\"cpuset\":\"0-1\","
        "\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"live\":[1000,2000],\"touch\":"
        "\"full\"},\"threads\":\"powers\",\"rotations\":8,\"slice_ops\":5000}]}",
        &spec);
    json_t *json = job_spec_json(spec);
    char *text = json_dumps(json, JSON_SORT_KEYS);
    struct job_plan *plan_again = expand(text, &again);
    json_t *json_again = job_spec_json(again);
    assert_true(json_equal(json, json_again));
    assert_int_equal(plan->cells_count, plan_again->cells_count);
    assert_int_equal(plan->steps, plan_again->steps);
    assert_int_equal(again->labels.time_us, INT64_C(1769860800000000));
    assert_string_equal(again->subjects[1].options[0], "a");
    json_decref(json);
    json_decref(json_again);
    free(text);
    job_plan_free(plan);
    job_plan_free(plan_again);
    job_spec_free(spec);
    job_spec_free(again);
}

static void test_every_preset_parses_in_every_profile(void **state)
{
    static const char *const profiles[] = {"quick", "full", "demo"};
    (void)state;
    const struct job_preset *preset;
    for (unsigned i = 0; (preset = job_preset_at(i)); i++)
        for (size_t k = 0; k < sizeof profiles / sizeof profiles[0]; k++) {
            char json[256];
            snprintf(json, sizeof json,
                     "{\"preset\":\"%s\",\"profile\":\"%s\",\"allocators\":[\"glibc\",\"null\"],"
                     "\"reference\":\"glibc\"}",
                     preset->name, profiles[k]);
            struct job_spec *spec;
            struct job_plan *plan = expand(json, &spec);
            assert_true(plan->steps > 0);
            job_plan_free(plan);
            job_spec_free(spec);
        }
}

static void test_states_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < JOB_STATE_COUNT_; i++)
        assert_int_equal(job_state_parse(job_state_name((enum job_state)i)), i);
    assert_true(job_state_parse("done") < 0);
    assert_false(job_state_final(JOB_RUNNING));
    assert_true(job_state_final(JOB_LOST));
}

static void test_replay_is_bounded(void **state)
{
    (void)state;
    const struct workload *w = workload_find("table-churn");
    struct workload_point point;
    workload_defaults(w, &point);
    int live = param_find(w->params, w->params_count, "live");
    assert_true(live >= 0);
    point.params[live].u = 1000;
    assert_int_equal(job_replay_ops(w, &point, 20000), 5000); /* a quarter slice */
    point.params[live].u = 5000;
    assert_int_equal(job_replay_ops(w, &point, 20000), 20000); /* 4 x live */
    point.params[live].u = 1000000;
    assert_int_equal(job_replay_ops(w, &point, 20000), 40000); /* two slices */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_matrix_is_the_product_of_lists),
        cmocka_unit_test(test_oneshot_block_has_the_control_twice),
        cmocka_unit_test(test_page_axis_adds_its_control),
        cmocka_unit_test(test_no_heap_no_fork_cell),
        cmocka_unit_test(test_exploding_matrix_names_the_count),
        cmocka_unit_test(test_demo_of_the_reference_preset),
        cmocka_unit_test(test_preset_names_what_is_missing_without_failing),
        cmocka_unit_test(test_canonical_json_round_trips),
        cmocka_unit_test(test_every_preset_parses_in_every_profile),
        cmocka_unit_test(test_states_round_trip),
        cmocka_unit_test(test_replay_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
