/* Summaries, results over jobs, series and points, builds, hosts, tokens. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

static struct store_summary summary(uint32_t cell, enum metric_id metric, double value,
                                    const char *protocol)
{
    return (struct store_summary){.cell_idx = cell,
                                  .metric = metric,
                                  .count = 10,
                                  .value = value,
                                  .low = value - 1,
                                  .high = value + 1,
                                  .confidence = 0.95,
                                  .ratio = cell ? 1.25 : NAN,
                                  .ratio_low = cell ? 1.2 : NAN,
                                  .ratio_high = cell ? 1.3 : NAN,
                                  .noise = 0.004,
                                  .null_share = NAN,
                                  .harness_bound = cell == 1,
                                  .protocol_key = protocol};
}

/* Job n with one finished ring and summaries of cells 0 and 1. */
static int64_t measured_job(struct fixture *f, unsigned n, const char *host, const char *protocol)
{
    struct exec_request request;
    struct exec_result result;
    int64_t job_id = fixture_job_running(f, n), id;
    struct store_ring_new ring = fixture_ring(job_id, 0);
    char uuid[37];
    assert_int_equal(store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e), 0);
    fixture_result(n, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    struct store_summary rows[] = {summary(0, METRIC_PAIRS_PER_S, 100 + n, protocol),
                                   summary(1, METRIC_PAIRS_PER_S, 200 + n, protocol),
                                   summary(1, METRIC_HEAP_BYTES, NAN, protocol)};
    if (store_summaries_put(f->store, job_id, host, rows, 3, &f->e) < 0)
        fail_msg("store_summaries_put: %s", f->e.message);
    return job_id;
}

struct summary_list {
    unsigned count;
    struct store_summary rows[16];
};

static int summary_collect(void *ctx, const struct store_summary *row)
{
    struct summary_list *list = ctx;
    list->rows[list->count++] = *row;
    return 0;
}

static void test_summaries(void **state)
{
    struct fixture *f = *state;
    struct summary_list list = {0};
    int64_t job_id = measured_job(f, 1, FIXTURE_HOST, "protocol-a");
    {
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_summaries(v, job_id, summary_collect, &list, &f->e), 0);
    }
    assert_int_equal(list.count, 3);
    const struct store_summary *r = &list.rows[1];
    assert_int_equal(r->cell_idx, 1);
    assert_int_equal(r->metric, METRIC_PAIRS_PER_S);
    assert_int_equal(r->count, 10);
    assert_true(r->value == 201 && r->low == 200 && r->high == 202 && r->confidence == 0.95);
    assert_true(r->ratio == 1.25 && r->ratio_low == 1.2 && r->ratio_high == 1.3);
    assert_true(r->noise == 0.004 && isnan(r->null_share) && r->harness_bound);
    assert_string_equal(r->protocol_key, "");
    assert_true(isnan(list.rows[0].ratio) && isnan(list.rows[2].value));

    struct store_summary one = summary(0, METRIC_NS_PER_PAIR, 5, "protocol-b");
    assert_int_equal(store_summaries_put(f->store, job_id, FIXTURE_HOST, &one, 1, &f->e), 0);
    list.count = 0;
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_summaries(v, job_id, summary_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 1); /* replaced, not added */
    assert_int_equal(list.rows[0].metric, METRIC_NS_PER_PAIR);
}

static void test_summaries_refused(void **state)
{
    struct fixture *f = *state;
    struct summary_list list = {0};
    int64_t job_id = measured_job(f, 1, FIXTURE_HOST, "protocol-a");
    struct store_summary rows[] = {summary(0, METRIC_NS_PER_PAIR, 1, "p"),
                                   summary(99, METRIC_NS_PER_PAIR, 1, "p")};
    assert_int_equal(store_summaries_put(f->store, 4711, FIXTURE_HOST, rows, 1, &f->e), -ENOENT);
    assert_int_equal(store_summaries_put(f->store, job_id, FIXTURE_HOST, rows, 2, &f->e), -EINVAL);
    rows[1] = summary(0, METRIC_COUNT_, 1, "p");
    assert_true(store_summaries_put(f->store, job_id, FIXTURE_HOST, rows, 2, &f->e) < 0);
    rows[1] = rows[0]; /* the same cell and metric twice */
    assert_true(store_summaries_put(f->store, job_id, FIXTURE_HOST, rows, 2, &f->e) < 0);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_summaries(v, job_id, summary_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 3); /* the old ones stand */
}

/* ---- results ---- */

struct result_list {
    unsigned count;
    int64_t rowids[32];
    double values[32];
};

static int result_collect(void *ctx, const struct store_result *row, int64_t rowid)
{
    struct result_list *list = ctx;
    assert_true(list->count == 0 || rowid < list->rowids[list->count - 1]);
    list->rowids[list->count] = rowid;
    list->values[list->count++] = row->summary.value;
    assert_string_equal(row->workload, "table-churn");
    assert_string_equal(row->params_key, "live=1000");
    bool first = row->summary.cell_idx == 0;
    assert_string_equal(row->allocator, first ? "glibc" : "jemalloc");
    assert_string_equal(row->options_key, first ? "" : "thp-off");
    assert_int_equal(row->sha256[0], first ? 'a' : 'b');
    assert_string_equal(row->version, first ? "2.36" : "5.3.0");
    assert_string_equal(row->project, "p");
    assert_string_equal(row->branch, "main");
    assert_string_equal(row->commit, "c0ffee");
    assert_int_equal(row->threads, 1);
    assert_int_equal(row->pages, PAGES_4K);
    assert_true(row->finished_us > 0 && row->job_id > 0);
    assert_string_equal(row->summary.protocol_key, row->protocol_key);
    return 0;
}

#define ANY .threads = -1, .pages = -1

static void test_result_filters(void **state)
{
    struct fixture *f = *state;
    char first[37];
    fixture_uuid(1, first);
    (void)measured_job(f, 1, "host-a", "protocol-a");
    (void)measured_job(f, 2, "host-b", "protocol-a");
    const struct {
        struct store_result_filter filter;
        unsigned want;
    } cases[] = {
        {{ANY}, 6},
        {{ANY, .limit = 4}, 4},
        {{ANY, .job_uuid = first}, 3},
        {{ANY, .job_uuid = "no"}, 0},
        {{ANY, .workload = "table-churn"}, 6},
        {{ANY, .workload = "chase"}, 0},
        {{ANY, .params_key = "live=1000", .allocator = "jemalloc"}, 4},
        {{ANY, .metric = "pairs_per_s"}, 4},
        {{ANY, .metric = "no_such_metric"}, 0},
        {{ANY, .host_key = "host-b"}, 3},
        {{ANY, .host_key = "host-c"}, 0},
        {{ANY, .project = "p", .branch = "main", .commit = "c0ffee"}, 6},
        {{ANY, .project = "q"}, 0},
        {{.threads = 1, .pages = PAGES_4K}, 6},
        {{.threads = 2, .pages = -1}, 0},
        {{.threads = -1, .pages = PAGES_THP}, 0},
        {{ANY, .since_us = 1}, 6},
        {{ANY, .until_us = 1}, 0},
        {{ANY, .since_us = clock_realtime_us() + 1000000}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result_list list = {0};
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_results(v, &cases[i].filter, result_collect, &list, &f->e), 0);
        if (list.count != cases[i].want)
            fail_msg("filter %zu: %u rows, not %u", i, list.count, cases[i].want);
    }
}

static void test_result_cursor(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n <= 4; n++)
        (void)measured_job(f, n, FIXTURE_HOST, "protocol-a");
    struct result_list list = {0};
    struct store_result_filter filter = {ANY, .limit = 5};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    for (unsigned want = 5; want <= 12; want = want == 5 ? 10 : want == 10 ? 12 : 13) {
        assert_int_equal(store_view_results(v, &filter, result_collect, &list, &f->e), 0);
        assert_int_equal(list.count, want);
        filter.before_rowid = list.rowids[list.count - 1];
    }
}

/* ---- series ---- */

struct series_list {
    unsigned count;
    int64_t ids[32];
    char keys[32][512];
    uint32_t points[32];
};

static int series_collect(void *ctx, const struct store_series *s)
{
    struct series_list *list = ctx;
    list->ids[list->count] = s->id;
    list->points[list->count] = s->points_count;
    snprintf(list->keys[list->count++], 512, "%s", s->key);
    assert_true(s->points_count == 0 || s->last_us > 0);
    return 0;
}

struct point_list {
    unsigned count;
    struct store_point points[32];
    char sha256[32][65], commit[32][32];
};

static int point_collect(void *ctx, const struct store_point *p)
{
    struct point_list *list = ctx;
    snprintf(list->sha256[list->count], 65, "%s", p->sha256);
    snprintf(list->commit[list->count], 32, "%s", p->commit);
    list->points[list->count++] = *p;
    return 0;
}

static void series_get(struct fixture *f, struct store_result_filter filter,
                       struct series_list *list)
{
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    *list = (struct series_list){0};
    assert_int_equal(store_view_series(v, &filter, series_collect, list, &f->e), 0);
}

static void points_get(struct fixture *f, int64_t series, int64_t since_us, int64_t until_us,
                       uint32_t limit, struct point_list *list)
{
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    *list = (struct point_list){0};
    assert_int_equal(
        store_view_points(v, series, since_us, until_us, limit, point_collect, list, &f->e), 0);
}

/* Same host, protocol, cell: one series, whatever the build. Another host or protocol: another. */
static void test_series_keys(void **state)
{
    struct fixture *f = *state;
    struct series_list list;
    (void)measured_job(f, 1, "host-a", "protocol-a");
    (void)measured_job(f, 2, "host-a", "protocol-a");
    series_get(f, (struct store_result_filter){ANY}, &list);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.points[0], 2);
    assert_string_equal(list.keys[0],
                        "metric=pairs_per_s workload=table-churn params=live=1000"
                        " allocator=jemalloc options=thp-off host=host-a protocol=protocol-a");
    assert_string_equal(list.keys[1], "metric=pairs_per_s workload=table-churn params=live=1000"
                                      " allocator=glibc host=host-a protocol=protocol-a");
    (void)measured_job(f, 3, "host-b", "protocol-a");
    (void)measured_job(f, 4, "host-a", "protocol-b");
    series_get(f, (struct store_result_filter){ANY}, &list);
    assert_int_equal(list.count, 6);
    char uuid[37];
    fixture_uuid(4, uuid);
    const struct {
        struct store_result_filter filter;
        unsigned want;
    } cases[] = {
        {{ANY, .host_key = "host-b"}, 2},   {{ANY, .allocator = "glibc"}, 3},
        {{ANY, .metric = "heap_bytes"}, 0}, {{ANY, .workload = "table-churn"}, 6},
        {{ANY, .project = "p"}, 6},         {{ANY, .project = "q"}, 0},
        {{ANY, .job_uuid = uuid}, 2},       {{ANY, .limit = 1}, 1},
        {{ANY, .until_us = 1}, 0},          {{.threads = 2, .pages = -1}, 0},
        {{ANY, .before_rowid = 3}, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        series_get(f, cases[i].filter, &list);
        if (list.count != cases[i].want)
            fail_msg("filter %zu: %u series, not %u", i, list.count, cases[i].want);
    }
}

static void test_points(void **state)
{
    struct fixture *f = *state;
    struct series_list series;
    struct point_list list;
    int64_t jobs[4];
    for (unsigned n = 0; n < 4; n++)
        jobs[n] = measured_job(f, n + 1, FIXTURE_HOST, "protocol-a");
    series_get(f, (struct store_result_filter){ANY, .allocator = "jemalloc"}, &series);
    assert_int_equal(series.count, 1);
    points_get(f, series.ids[0], 0, 0, 0, &list);
    assert_int_equal(list.count, 4);
    for (unsigned n = 0; n < 4; n++) {
        const struct store_point *p = &list.points[n];
        assert_int_equal(p->job_id, jobs[n]);
        assert_true(p->value == 201 + n && p->low == 200 + n && p->high == 202 + n);
        assert_true(p->ratio == 1.25 && p->ratio_low == 1.2 && p->ratio_high == 1.3);
        assert_int_equal(list.sha256[n][0], 'b');
        assert_string_equal(list.commit[n], "c0ffee");
        assert_true(n == 0 || p->time_us >= list.points[n - 1].time_us);
    }
    int64_t third = list.points[2].time_us;
    points_get(f, series.ids[0], third, 0, 0, &list);
    assert_int_equal(list.count, 2);
    points_get(f, series.ids[0], 0, third, 0, &list);
    assert_int_equal(list.count, 2);
    points_get(f, series.ids[0], 0, 0, 3, &list);
    assert_int_equal(list.count, 3);
    {
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_points(v, 12345, 0, 0, 0, point_collect, &list, &f->e),
                         -ENOENT);
        assert_int_equal(f->e.code, ERR_NOT_FOUND);
    }
    points_get(f, series.ids[0], 0, 1, 0, &list); /* known, and nothing that old */
    assert_int_equal(list.count, 0);

    struct store_summary again = summary(1, METRIC_PAIRS_PER_S, 999, "protocol-a");
    assert_int_equal(store_summaries_put(f->store, jobs[1], FIXTURE_HOST, &again, 1, &f->e), 0);
    points_get(f, series.ids[0], 0, 0, 0, &list);
    assert_int_equal(list.count, 4); /* replaced in its place */
    assert_true(list.points[1].value == 999);
    again = summary(1, METRIC_PAIRS_PER_S, NAN, "protocol-a");
    assert_int_equal(store_summaries_put(f->store, jobs[1], FIXTURE_HOST, &again, 1, &f->e), 0);
    points_get(f, series.ids[0], 0, 0, 0, &list);
    assert_int_equal(list.count, 3); /* no value, no point */
}

/* A commit measured late stands at its commit's time. */
static void test_point_time_is_the_commits(void **state)
{
    struct fixture *f = *state;
    struct store_job_new job;
    struct store_job claimed;
    struct job_labels labels = {.project = "p", .time_us = 1500000000000000};
    char uuid[37];
    bool replayed;
    fixture_job(1, &job);
    job.labels = &labels;
    assert_int_equal(store_job_add(f->store, &job, uuid, &replayed, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &claimed, &f->e), 1);
    store_job_done(&claimed);
    struct store_summary row = summary(0, METRIC_PAIRS_PER_S, 1, "protocol-a");
    assert_int_equal(store_summaries_put(f->store, claimed.id, FIXTURE_HOST, &row, 1, &f->e), 0);
    struct series_list series;
    struct point_list list;
    series_get(f, (struct store_result_filter){ANY}, &series);
    points_get(f, series.ids[0], 0, 0, 0, &list);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.points[0].time_us, 1500000000000000);
    assert_string_equal(list.sha256[0], ""); /* nothing was proved: no build */
}

/* ---- builds, hosts ---- */

struct build_list {
    unsigned count;
    char text[8][256];
};

static int build_collect(void *ctx, const struct store_build *b)
{
    struct build_list *list = ctx;
    assert_true(b->first_seen_us > 0 && b->last_seen_us >= b->first_seen_us);
    snprintf(list->text[list->count++], 256, "%s %.2s %s %s", b->allocator, b->sha256, b->version,
             b->path);
    return 0;
}

static void test_builds(void **state)
{
    struct fixture *f = *state;
    struct build_list list = {0};
    (void)measured_job(f, 1, FIXTURE_HOST, "protocol-a");
    (void)measured_job(f, 2, FIXTURE_HOST, "protocol-a");
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_builds(v, NULL, build_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.text[0], "glibc aa 2.36 /usr/lib/lib0.so");
    assert_string_equal(list.text[1], "jemalloc bb 5.3.0 /usr/lib/lib1.so");
    list.count = 0;
    assert_int_equal(store_view_builds(v, "jemalloc", build_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 1);
    assert_int_equal(store_view_builds(v, "x", build_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 1);
}

static void test_host_put_twice(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(store_host_put(f->store, FIXTURE_HOST, "n", "{}", &f->e), 0);
    assert_int_equal(store_host_put(f->store, FIXTURE_HOST, "m", "{\"a\":1}", &f->e), 0);
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    assert_string_equal(job.host_key, FIXTURE_HOST);
    store_job_done(&job);
}

/* ---- tokens ---- */

static int token_count(void *ctx, const struct store_token *t)
{
    unsigned *count = ctx;
    *count += t->name[0] != '\0';
    return 0;
}

static void test_tokens(void **state)
{
    struct fixture *f = *state;
    struct store_token token;
    unsigned count = 0;
    int64_t now = clock_realtime_us();
    assert_int_equal(store_token_add(f->store, "ci", "hash1", SCOPE_READ | SCOPE_SUBMIT, 0, &f->e),
                     0);
    assert_int_equal(store_token_add(f->store, "ci", "hash2", SCOPE_READ, 0, &f->e), -EBUSY);
    assert_int_equal(store_token_add(f->store, "other", "hash1", SCOPE_READ, 0, &f->e), -EBUSY);
    assert_int_equal(store_token_add(f->store, "old", "hash3", SCOPE_READ, now - 1, &f->e), 0);
    assert_int_equal(store_token_add(f->store, "far", "hash4", SCOPE_ADMIN, now + 60000000, &f->e),
                     0);
    {
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_token(v, "hash1", &token, &f->e), 0);
        assert_string_equal(token.name, "ci");
        assert_int_equal(token.scopes, SCOPE_READ | SCOPE_SUBMIT);
        assert_int_equal(token.last_used_us, 0);
        assert_int_equal(store_view_token(v, "hash4", &token, &f->e), 0);
        static const char *const bad[] = {"hash2", "hash3", "HASH1", "", "hash"};
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            assert_int_equal(store_view_token(v, bad[i], &token, &f->e), -EACCES);
            assert_int_equal(f->e.code, ERR_UNAUTHORIZED);
        }
    }
    assert_int_equal(store_token_used(f->store, 1, &f->e), 0);
    assert_int_equal(store_token_revoke(f->store, "far", &f->e), 0);
    assert_int_equal(store_token_revoke(f->store, "far", &f->e), 0);
    assert_int_equal(store_token_revoke(f->store, "nobody", &f->e), -ENOENT);
    assert_int_equal(store_token_add(f->store, "far", "hash5", SCOPE_READ, 0, &f->e), -EBUSY);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_token(v, "hash4", &token, &f->e), -EACCES);
    assert_int_equal(store_view_token(v, "hash1", &token, &f->e), 0);
    assert_true(token.last_used_us >= now);
    assert_int_equal(store_view_tokens(v, token_count, &count, &f->e), 0);
    assert_int_equal(count, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_summaries),      TEST(test_summaries_refused),
        TEST(test_result_filters), TEST(test_result_cursor),
        TEST(test_series_keys),    TEST(test_points),
        TEST(test_builds),         TEST(test_point_time_is_the_commits),
        TEST(test_host_put_twice), TEST(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
