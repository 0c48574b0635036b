#include "tests/store/scenario.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Note the outcome of one step; an error without a code or a word is a failure of the test. */
static bool step(struct scenario *s, const char *what, int r)
{
    if (r >= 0)
        return true;
    if (s->f.e.code == ERR_NONE || s->f.e.message[0] == '\0')
        fail_msg("%s failed with %d and said nothing", what, r);
    if (s->failures++ == 0)
        s->first = s->f.e;
    s->only_no_space &= s->f.e.code == ERR_NO_SPACE;
    s->f.e = (struct err){0};
    return false;
}

static int count_job(void *ctx, const struct store_job *job)
{
    (void)job;
    ++*(unsigned *)ctx;
    return 0;
}

static int count_trial(void *ctx, const struct store_trial *trial)
{
    (void)trial;
    ++*(unsigned *)ctx;
    return 0;
}

static int count_summary(void *ctx, const struct store_summary *row)
{
    (void)row;
    ++*(unsigned *)ctx;
    return 0;
}

static int read_all(struct scenario *s)
{
    struct store_job_filter any = {.state = -1};
    struct store_trial_filter all = {.job_id = s->job_id, .cell_idx = -1, .with_slices = true};
    unsigned count = 0;
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    int r = store_view_acquire(s->f.store, 10000, &v, &s->f.e);
    if (r == 0)
        r = store_view_jobs(v, &any, count_job, &count, &s->f.e);
    if (r == 0)
        r = store_view_trials(v, &all, count_trial, &count, &s->f.e);
    return r;
}

static void run_steps(struct scenario *s)
{
    struct store *store = s->f.store;
    struct err *e = &s->f.e;
    struct store_job job = {0};
    struct exec_request request;
    struct exec_result result;
    char uuid[37];
    fixture_uuid(1, uuid);
    s->job1 = step(s, "add", fixture_job_add(store, 1, e));
    s->token = step(s, "token", store_token_add(store, "t", "hash", SCOPE_READ, 0, e));
    if (s->job1) {
        int r = store_job_claim(store, FIXTURE_HOST, &job, e);
        s->claimed = step(s, "claim", r) && r == 1;
        store_job_done(&job);
        s->job_id = job.id;
    }
    if (s->claimed)
        s->running = step(s, "run", store_job_set_state(store, uuid, JOB_RUNNING, NULL, e));
    if (s->running) {
        struct store_ring_new ring = fixture_ring(s->job_id, 0);
        char attempt[37];
        s->begun = step(s, "begin",
                        store_attempt_begin(store, &ring, "local", attempt, &s->attempt_id, e));
    }
    fixture_result(1, &request, &result);
    if (s->begun)
        s->finished =
            step(s, "finish", store_attempt_finish(store, s->attempt_id, &request, &result, e));
    s->read = step(s, "read", read_all(s));
    struct store_summary row = {.metric = METRIC_PAIRS_PER_S, .value = 1, .protocol_key = "p"};
    if (s->finished)
        s->summarised =
            step(s, "summaries", store_summaries_put(store, s->job_id, FIXTURE_HOST, &row, 1, e));
    if (s->summarised)
        s->succeeded = step(s, "succeed", store_job_set_state(store, uuid, JOB_SUCCEEDED, NULL, e));
    s->job2 = step(s, "add", fixture_job_add(store, 2, e));
}

void scenario_run(struct scenario *s)
{
    s->only_no_space = true;
    s->opened = step(s, "open", fixture_try_open(&s->f));
    if (!s->opened)
        return;
    run_steps(s);
    fixture_close(&s->f);
}

static enum job_state job_state_of(struct scenario *s, unsigned n, bool *ret_there)
{
    struct store_job job = {0};
    char uuid[37];
    fixture_uuid(n, uuid);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(&s->f);
    *ret_there = store_view_job(v, uuid, &job, &s->f.e) == 0;
    store_job_done(&job);
    return job.state;
}

static void verify_job1(struct scenario *s, enum job_state state)
{
    struct store_trial_filter all = {.job_id = s->job_id, .cell_idx = -1, .with_slices = true};
    unsigned trials = 0, summaries = 0;
    if (s->succeeded)
        assert_int_equal(state, JOB_SUCCEEDED);
    else if (s->running)
        assert_true(state == JOB_RUNNING || state == JOB_SUCCEEDED);
    else if (s->claimed)
        assert_true(state == JOB_CLAIMED || state == JOB_RUNNING);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(&s->f);
    assert_int_equal(store_view_trials(v, &all, count_trial, &trials, &s->f.e), 0);
    assert_true(trials == 3 || (trials == 0 && !s->finished));
    assert_int_equal(store_view_summaries(v, s->job_id, count_summary, &summaries, &s->f.e), 0);
    assert_true(summaries == 1 || (summaries == 0 && !s->summarised));
}

void scenario_verify(struct scenario *s)
{
    bool there;
    fixture_open(&s->f);
    enum job_state state = job_state_of(s, 1, &there);
    assert_true(there || !s->job1);
    if (s->claimed)
        verify_job1(s, state);
    (void)job_state_of(s, 2, &there);
    assert_true(there || !s->job2);
    if (s->token) {
        struct store_token token;
        cleanup_(store_view_release_p) struct store_view *v = fixture_view(&s->f);
        assert_int_equal(store_view_token(v, "hash", &token, &s->f.e), 0);
    }
    fixture_close(&s->f);
    fixture_check(&s->f);
}
