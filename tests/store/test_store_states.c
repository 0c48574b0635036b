/* The state machine, every pair of it; cancellation; recovery after an end at any moment. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The ways documented in design/service.md, written a second time on purpose. */
static const struct {
    enum job_state from, to;
} legal[] = {
    {JOB_QUEUED, JOB_CLAIMED}, {JOB_QUEUED, JOB_CANCELLED},  {JOB_CLAIMED, JOB_RUNNING},
    {JOB_CLAIMED, JOB_QUEUED}, {JOB_CLAIMED, JOB_FAILED},    {JOB_CLAIMED, JOB_CANCELLED},
    {JOB_CLAIMED, JOB_LOST},   {JOB_RUNNING, JOB_QUEUED},    {JOB_RUNNING, JOB_SUCCEEDED},
    {JOB_RUNNING, JOB_FAILED}, {JOB_RUNNING, JOB_CANCELLED}, {JOB_RUNNING, JOB_LOST},
};

static bool is_legal(enum job_state from, enum job_state to)
{
    for (size_t i = 0; i < sizeof legal / sizeof legal[0]; i++)
        if (legal[i].from == from && legal[i].to == to)
            return true;
    return false;
}

/* Bring the newest queued job n (the only one) to a state. */
static void drive(struct fixture *f, unsigned n, enum job_state state)
{
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, n, &f->e), 0);
    if (state == JOB_QUEUED)
        return;
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    store_job_done(&job);
    if (state == JOB_CLAIMED)
        return;
    assert_int_equal(store_job_set_state(f->store, job.uuid, JOB_RUNNING, NULL, &f->e), 0);
    if (state != JOB_RUNNING)
        assert_int_equal(store_job_set_state(f->store, job.uuid, state, NULL, &f->e), 0);
}

static void check_times(const struct store_job *job)
{
    if (job_state_final(job->state))
        assert_true(job->finished_us >= job->created_us);
    else
        assert_int_equal(job->finished_us, 0);
    if (job->state == JOB_RUNNING || job->state == JOB_SUCCEEDED)
        assert_true(job->started_us >= job->created_us);
}

static void test_every_transition(void **state)
{
    (void)state;
    for (int from = 0; from < JOB_STATE_COUNT_; from++)
        for (int to = 0; to < JOB_STATE_COUNT_; to++) {
            void *fresh;
            fixture_setup(&fresh);
            struct fixture *f = fresh;
            struct store_job job;
            char uuid[37];
            bool want = is_legal((enum job_state)from, (enum job_state)to);
            assert_int_equal(store_job_transition_legal((enum job_state)from, (enum job_state)to),
                             want);
            fixture_uuid(1, uuid);
            drive(f, 1, (enum job_state)from);
            int r = store_job_set_state(f->store, uuid, (enum job_state)to, NULL, &f->e);
            if (r != (want ? 0 : -EBUSY))
                fail_msg("%s to %s: %d", job_state_name((enum job_state)from),
                         job_state_name((enum job_state)to), r);
            fixture_job_get(f, 1, &job);
            assert_int_equal(job.state, want ? to : from);
            check_times(&job);
            store_job_done(&job);
            fixture_teardown(&fresh);
        }
}

static void test_reason_is_kept(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    char uuid[37];
    struct err why = {.code = ERR_UNAVAILABLE, .field = "/allocators/0", .message = "no \"x\""};
    drive(f, 1, JOB_RUNNING);
    fixture_uuid(1, uuid);
    assert_int_equal(store_job_set_state(f->store, uuid, JOB_FAILED, &why, &f->e), 0);
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.error.code, ERR_UNAVAILABLE);
    assert_string_equal(job.error.field, "/allocators/0");
    assert_string_equal(job.error.message, "no \"x\"");
    store_job_done(&job);
}

static void test_requeue_gives_the_claim_back(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    char uuid[37];
    fixture_uuid(1, uuid);
    drive(f, 1, JOB_RUNNING);
    fixture_job_get(f, 1, &job);
    int64_t started_us = job.started_us;
    store_job_done(&job);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(store_job_set_state(f->store, uuid, JOB_QUEUED, NULL, &f->e), 0);
        assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
        assert_int_equal(job.attempts, 1);
        store_job_done(&job);
    }
    assert_int_equal(store_job_set_state(f->store, uuid, JOB_RUNNING, NULL, &f->e), 0);
    fixture_job_get(f, 1, &job);
    assert_true(job.started_us == started_us); /* the first time counts */
    store_job_done(&job);
}

/* ---- cancel ---- */

static void test_cancel(void **state)
{
    static const struct {
        enum job_state from, after;
        bool requested;
    } cases[] = {
        {JOB_QUEUED, JOB_CANCELLED, true},     {JOB_CLAIMED, JOB_CLAIMED, true},
        {JOB_RUNNING, JOB_RUNNING, true},      {JOB_SUCCEEDED, JOB_SUCCEEDED, false},
        {JOB_FAILED, JOB_FAILED, false},       {JOB_LOST, JOB_LOST, false},
        {JOB_CANCELLED, JOB_CANCELLED, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        void *fresh;
        fixture_setup(&fresh);
        struct fixture *f = fresh;
        struct store_job job;
        char uuid[37];
        fixture_uuid(1, uuid);
        drive(f, 1, cases[i].from);
        for (int twice = 0; twice < 2; twice++) {
            enum job_state after = JOB_STATE_COUNT_;
            assert_int_equal(store_job_cancel(f->store, uuid, &after, &f->e), 0);
            assert_int_equal(after, cases[i].after);
        }
        fixture_job_get(f, 1, &job);
        assert_int_equal(job.state, cases[i].after);
        assert_int_equal(job.cancel_requested, cases[i].requested);
        check_times(&job);
        store_job_done(&job);
        fixture_teardown(&fresh);
    }
}

static void test_cancelled_job_does_not_queue_again(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    enum job_state after;
    char uuid[37];
    fixture_uuid(1, uuid);
    drive(f, 1, JOB_RUNNING);
    assert_int_equal(store_job_cancel(f->store, uuid, &after, &f->e), 0);
    assert_int_equal(store_job_set_state(f->store, uuid, JOB_QUEUED, NULL, &f->e), 0);
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.state, JOB_CANCELLED);
    assert_true(job.finished_us > 0);
    store_job_done(&job);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 0);
}

/* ---- recovery ---- */

static enum job_state state_of(struct fixture *f, unsigned n)
{
    struct store_job job;
    fixture_job_get(f, n, &job);
    store_job_done(&job);
    return job.state;
}

static void test_recover_every_state(void **state)
{
    static const enum job_state after[JOB_STATE_COUNT_] = {
        [JOB_QUEUED] = JOB_QUEUED,  [JOB_CLAIMED] = JOB_QUEUED,
        [JOB_RUNNING] = JOB_QUEUED, [JOB_SUCCEEDED] = JOB_SUCCEEDED,
        [JOB_FAILED] = JOB_FAILED,  [JOB_CANCELLED] = JOB_CANCELLED,
        [JOB_LOST] = JOB_LOST,
    };
    struct fixture *f = *state;
    for (int from = JOB_STATE_COUNT_ - 1; from >= 0; from--) /* queued last: claims skip it */
        drive(f, 10 + (unsigned)from, (enum job_state)from);
    assert_int_equal(store_recover(f->store, 3, &f->e), 0);
    for (unsigned from = 0; from < JOB_STATE_COUNT_; from++)
        assert_int_equal(state_of(f, 10 + from), after[from]);
    assert_int_equal(store_recover(f->store, 3, &f->e), 0);
    for (unsigned from = 0; from < JOB_STATE_COUNT_; from++)
        assert_int_equal(state_of(f, 10 + from), after[from]);
}

static void test_recover_gives_up_at_last(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
        assert_int_equal(job.attempts, i);
        store_job_done(&job);
        assert_int_equal(store_recover(f->store, 3, &f->e), 0);
        assert_int_equal(state_of(f, 1), i < 3 ? JOB_QUEUED : JOB_LOST);
    }
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.error.code, ERR_IO);
    assert_non_null(strstr(job.error.message, "3 times"));
    assert_true(job.finished_us > 0);
    store_job_done(&job);
}

/* One step of job number `job_id` settled or not, before the daemon dies. */
static void attempt_one(struct fixture *f, int64_t job_id, uint32_t position, bool lost)
{
    const struct err why = {.code = ERR_IO, .message = "test"};
    const struct store_ring_new ring = {.job_id = job_id,
                                        .position = position,
                                        .cells_count = 1,
                                        .cells = {0},
                                        .roles = {ROLE_REFERENCE}};
    char uuid[37];
    int64_t attempt_id;
    assert_int_equal(store_attempt_begin(f->store, &ring, "test", uuid, &attempt_id, &f->e), 0);
    assert_int_equal(store_attempt_abandon(f->store, attempt_id, lost, &why, &f->e), 0);
}

/* Ends that brought a step each do not count; an attempt that brought nothing is no progress. */
static void test_recover_counts_ends_without_progress(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
        attempt_one(f, job.id, i, i >= 7);
        store_job_done(&job);
        assert_int_equal(store_recover(f->store, 3, &f->e), 0);
        assert_int_equal(state_of(f, 1), i < 9 ? JOB_QUEUED : JOB_LOST);
    }
    fixture_job_get(f, 1, &job);
    assert_non_null(strstr(job.error.message, "3 times"));
    assert_int_equal(job.steps_done, 7);
    assert_int_equal(job.attempts, 10); /* all claims are told, fruitless or not */
    store_job_done(&job);
}

/* A drained daemon gives back a claim it may no longer have. */
static void test_progress_survives_a_drain(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    attempt_one(f, job.id, 0, false);
    assert_int_equal(store_job_set_state(f->store, job.uuid, JOB_QUEUED, NULL, &f->e), 0);
    store_job_done(&job);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    assert_int_equal(job.attempts, 1);
    store_job_done(&job);
}

/* Whoever claims a job measures it, until a step of it is settled: then only the same build may. */
static void test_build_stays_with_what_is_measured(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    for (uint32_t i = 0; i < 3; i++) {
        if (i > 0)
            fixture_tamper(f, "UPDATE job SET harness_build = 'other'");
        assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
        assert_string_equal(job.harness_build, i < 2 ? ring_build_id() : "other");
        attempt_one(f, job.id, i, i == 0); /* the first is lost: nothing measured yet */
        assert_int_equal(store_job_set_state(f->store, job.uuid, JOB_QUEUED, NULL, &f->e), 0);
        store_job_done(&job);
    }
}

static void test_given_up_steps_are_done(void **state)
{
    struct fixture *f = *state;
    struct store_job job;
    assert_int_equal(fixture_job_add(f->store, 1, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1);
    attempt_one(f, job.id, 0, false);
    assert_int_equal(store_job_steps(f->store, job.id, 40, 3, &f->e), 0);
    store_job_done(&job);
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.steps_given_up, 3);
    assert_int_equal(job.steps_total, 40);
    assert_int_equal(job.steps_done, 4);
    assert_int_equal(job.steps_failed, 1);
    store_job_done(&job);
    assert_int_equal(store_recover(f->store, 3, &f->e), 0);
    assert_int_equal(store_job_claim(f->store, FIXTURE_HOST, &job, &f->e), 1); /* tries them anew */
    assert_int_equal(job.steps_given_up, 0);
    assert_int_equal(job.steps_done, 1);
    store_job_done(&job);
}

static void test_recover_cancels_what_was_asked(void **state)
{
    struct fixture *f = *state;
    enum job_state after;
    char uuid[37];
    fixture_uuid(1, uuid);
    drive(f, 1, JOB_RUNNING);
    assert_int_equal(store_job_cancel(f->store, uuid, &after, &f->e), 0);
    assert_int_equal(store_recover(f->store, 1, &f->e), 0);
    assert_int_equal(state_of(f, 1), JOB_CANCELLED);
}

static int count_lost(void *ctx, const struct store_trial *trial)
{
    unsigned *lost = ctx;
    *lost += strcmp(trial->attempt_state, "lost") == 0 && strcmp(trial->outcome, "lost") == 0;
    return 0;
}

/* More attempts than one batch of the recovery, and a good one that must survive. */
static void test_recover_attempts(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    unsigned lost = 0;
    int64_t job_id = fixture_job_running(f, 1), id;
    char uuid[37];
    for (uint32_t i = 0; i < 300; i++) {
        struct store_ring_new ring = fixture_ring(job_id, i);
        assert_int_equal(store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e), 0);
    }
    fixture_result(1, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(store_recover(f->store, 3, &f->e), 299);
    assert_int_equal(store_recover(f->store, 3, &f->e), 0);
    struct store_trial_filter all = {.job_id = job_id, .cell_idx = -1};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_trials(v, &all, count_lost, &lost, &f->e), 0);
    assert_int_equal(lost, 299 * 3);
    struct store_job job;
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.steps_done, 1);
    assert_int_equal(job.steps_failed, 0);
    store_job_done(&job);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_transition),
        TEST(test_reason_is_kept),
        TEST(test_requeue_gives_the_claim_back),
        cmocka_unit_test(test_cancel),
        TEST(test_cancelled_job_does_not_queue_again),
        TEST(test_recover_every_state),
        TEST(test_recover_gives_up_at_last),
        TEST(test_recover_counts_ends_without_progress),
        TEST(test_progress_survives_a_drain),
        TEST(test_build_stays_with_what_is_measured),
        TEST(test_given_up_steps_are_done),
        TEST(test_recover_cancels_what_was_asked),
        TEST(test_recover_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
