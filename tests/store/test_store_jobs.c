/* Jobs: what goes in comes out; the queue, filters, cursors, idempotency. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

static void test_job_round_trip(void **state)
{
    struct fixture *f = *state;
    struct store_job job, claimed;
    int64_t before = clock_realtime_us();
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_string_equal(job.name, "job 1");
    assert_string_equal(job.preset, "reference");
    assert_string_equal(job.profile, "quick");
    assert_string_equal(job.principal, "local");
    assert_string_equal(job.spec_json, "{\"seed\":1}");
    assert_string_equal(job.labels.project, "p");
    assert_string_equal(job.labels.commit, "c0ffee");
    assert_string_equal(job.labels.parent, "beef");
    assert_string_equal(job.labels.branch, "main");
    assert_string_equal(job.labels.tag, "v1");
    assert_true(job.labels.sequence == UINT64_MAX);
    assert_true(job.created_us >= before && job.started_us == 0 && job.finished_us == 0);
    assert_int_equal(job.cells_count, FIXTURE_CELLS);
    assert_int_equal(job.steps_total, 4);
    assert_int_equal(job.attempts, 0);
    assert_string_equal(job.host_key, "");
    store_job_done(&job);

    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &claimed, &f->e), 1);
    assert_int_equal(claimed.state, JOB_CLAIMED);
    assert_int_equal(claimed.attempts, 1);
    assert_string_equal(claimed.host_key, FIXTURE_HOST);
    assert_string_equal(claimed.spec_json, "{\"seed\":1}");
    store_job_done(&claimed);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &claimed, &f->e), 0);
}

static void test_claim_takes_the_oldest(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 3; n > 0; n--)
        assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    for (unsigned n = 3; n > 0; n--) {
        struct store_job job;
        char uuid[37];
        fixture_uuid(n, uuid);
        assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
        assert_string_equal(job.uuid, uuid);
        store_job_done(&job);
    }
}

static void test_job_unknown(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    enum job_state state_after;
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_job(v, "nothing", &job, &f->e), -ENOENT);
    assert_int_equal(f->e.code, ERR_NOT_FOUND);
    assert_int_equal(store_job_set_state(f->store, "nothing", JOB_RUNNING, NULL, &f->e), -ENOENT);
    assert_int_equal(store_job_cancel(f->store, "nothing", &state_after, &f->e), -ENOENT);
}

static void test_job_same_uuid_twice(void **state)
{
    struct fixture *f = *state;
    struct store_stats stats;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_true(fixture_job_add(f->store, 1, &f->e) < 0);
    assert_int_equal(store_stats(f->store, &stats, &f->e), 0);
    assert_int_equal(stats.jobs_by_state[JOB_QUEUED], 1);
}

/* ---- filters and cursors ---- */

struct job_list {
    unsigned count, stop_after;
    char uuids[64][37];
    int64_t last_id;
};

static int job_collect(void *ctx, const struct store_job *job)
{
    struct job_list *list = ctx;
    assert_null(job->spec_json);
    assert_true(list->count == 0 || job->id < list->last_id);
    list->last_id = job->id;
    memcpy(list->uuids[list->count++], job->uuid, 37);
    return list->stop_after && list->count == list->stop_after ? 42 : 0;
}

static void labelled_job(struct fixture *f, unsigned n, const char *project, const char *branch,
                         const char *commit, const char *preset)
{
    struct job_labels labels = {0};
    struct store_job_new job;
    char uuid[37];
    bool replayed;
    fixture_job(n, &job);
    snprintf(labels.project, sizeof labels.project, "%s", project);
    snprintf(labels.branch, sizeof labels.branch, "%s", branch);
    snprintf(labels.commit, sizeof labels.commit, "%s", commit);
    job.labels = &labels;
    job.preset = preset;
    assert_int_equal(store_job_add(f->store, &job, uuid, &replayed, &f->e), 0);
    assert_false(replayed);
}

static void test_job_filters(void **state)
{
    struct fixture *f = *state;
    labelled_job(f, 1, "a", "main", "c1", "reference");
    labelled_job(f, 2, "a", "dev", "c2", "fits");
    labelled_job(f, 3, "b", "main", "c1", "");
    labelled_job(f, 4, "", "", "", "reference");
    struct store_job claimed;
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &claimed, &f->e), 1);
    store_job_done(&claimed);
    static const struct {
        struct store_job_filter filter;
        unsigned want[5]; /* 0 ends */
    } cases[] = {
        {{.state = -1}, {4, 3, 2, 1}},
        {{.state = -1, .limit = 2}, {4, 3}},
        {{.state = JOB_QUEUED}, {4, 3, 2}},
        {{.state = JOB_CLAIMED}, {1}},
        {{.state = JOB_LOST}, {0}},
        {{.state = -1, .project = "a"}, {2, 1}},
        {{.state = -1, .project = "a", .branch = "main"}, {1}},
        {{.state = -1, .branch = "main"}, {3, 1}},
        {{.state = -1, .commit = "c1"}, {3, 1}},
        {{.state = -1, .preset = "reference"}, {4, 1}},
        {{.state = JOB_QUEUED, .preset = "reference"}, {4}},
        {{.state = -1, .project = "' OR 1=1 --"}, {0}},
        {{.state = -1, .project = "A"}, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job_list list = {0};
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_jobs(v, &cases[i].filter, job_collect, &list, &f->e), 0);
        unsigned n = 0;
        for (; cases[i].want[n]; n++) {
            char uuid[37];
            fixture_uuid(cases[i].want[n], uuid);
            assert_true(n < list.count);
            assert_string_equal(list.uuids[n], uuid);
        }
        assert_int_equal(list.count, n);
    }
}

static void test_job_cursor(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n <= 11; n++)
        assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    struct job_list all = {0};
    struct store_job_filter filter = {.state = -1, .limit = 4};
    for (unsigned page = 0; page < 3; page++) {
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
        assert_int_equal(store_view_jobs(v, &filter, job_collect, &all, &f->e), 0);
        filter.before_id = all.last_id;
        /* What comes in between two pages does not shift them. */
        assert_int_equal(fixture_job_add(f->store, 100 + page, &f->e), 0);
    }
    assert_int_equal(all.count, 11);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_jobs(v, &filter, job_collect, &all, &f->e), 0);
    assert_int_equal(all.count, 11);
}

static void test_callback_ends_the_query(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n <= 5; n++)
        assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    struct store_job_filter filter = {.state = -1};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    for (int i = 0; i < 2; i++) { /* the view is as good as new afterwards */
        struct job_list list = {.stop_after = 2};
        assert_int_equal(store_view_jobs(v, &filter, job_collect, &list, &f->e), 42);
        assert_int_equal(list.count, 2);
    }
}

/* ---- idempotency ---- */

static int add_with_key(struct fixture *f, unsigned n, const char *principal, const char *key,
                        const char *body, char ret_uuid[37], bool *ret_replayed)
{
    struct store_job_new job;
    fixture_job(n, &job);
    job.principal = principal;
    job.idempotency_key = key;
    job.body_sha256 = body;
    return store_job_add(f->store, &job, ret_uuid, ret_replayed, &f->e);
}

static void test_idempotency(void **state)
{
    struct fixture *f = *state;
    char first[37], uuid[37];
    bool replayed;
    assert_int_equal(add_with_key(f, 1, "local", "k", "body", first, &replayed), 0);
    assert_false(replayed);
    assert_int_equal(add_with_key(f, 2, "local", "k", "body", uuid, &replayed), 0);
    assert_true(replayed);
    assert_string_equal(uuid, first);
    assert_int_equal(add_with_key(f, 3, "local", "k", "other", uuid, &replayed), -EINVAL);
    assert_int_equal(f->e.code, ERR_INVALID);
    assert_string_equal(f->e.field, "Idempotency-Key");
    assert_int_equal(add_with_key(f, 4, "somebody", "k", "other", uuid, &replayed), 0);
    assert_false(replayed);
    assert_int_equal(add_with_key(f, 5, "local", "K", "body", uuid, &replayed), 0);
    assert_false(replayed);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(add_with_key(f, 6, "local", "k", "body", uuid, &replayed), 0);
    assert_true(replayed);
    assert_string_equal(uuid, first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_job_round_trip),
        TEST(test_claim_takes_the_oldest),
        TEST(test_job_unknown),
        TEST(test_job_same_uuid_twice),
        TEST(test_job_filters),
        TEST(test_job_cursor),
        TEST(test_callback_ends_the_query),
        TEST(test_idempotency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
