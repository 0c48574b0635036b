/* Jobs continued: what was found hopeless stays so, what only looks like it does not become it, and
 * nobody measures on what another build of the harness began. And the order steps are run in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "tests/job/world.h"

#define REPETITIONS 7
#define POSITIONS   6 /* of one repetition: two rings of table-churn, four trials of table-cold */

static bool is_jemalloc(const struct exec_request *q)
{
    return strcmp(q->subjects[q->subjects_count - 1].allocator, "jemalloc") == 0;
}

/* jemalloc is not there; known of both groups, the next run is held. */
static int behave_missing(struct script *s, const struct exec_request *q, struct exec_result *ret,
                          struct err *e)
{
    if (!is_jemalloc(q))
        return behave_well(s, q, ret, e);
    if (++s->failures == 2)
        atomic_store(&s->hold, true);
    return err_set(e, ERR_UNAVAILABLE, NULL, "install Debian package libjemalloc2");
}

/* jemalloc's runner fails, and says what would be a reason of ours; three times in both groups,
 * then the next run is held. */
static int behave_pretending(struct script *s, const struct exec_request *q,
                             struct exec_result *ret, struct err *e)
{
    int r = behave_well(s, q, ret, e);
    if (!is_jemalloc(q))
        return r;
    struct exec_runner_result *runner = &ret->runners[q->subjects_count - 1];
    runner->outcome = OUTCOME_FAILED;
    runner->failure = FAIL_LOAD;
    runner->metrics_count = 0;
    snprintf(runner->message, sizeof runner->message,
             "unavailable: failed: pages_unsupported: Resource temporarily unavailable");
    if (++s->failures == 2 * 3)
        atomic_store(&s->hold, true);
    return r;
}

static int behave_held(struct script *s, const struct exec_request *q, struct exec_result *ret,
                       struct err *e)
{
    if (s->runs == s->hold_after)
        atomic_store(&s->hold, true); /* the next one */
    return behave_well(s, q, ret, e);
}

static void wait_hold(struct world *w)
{
    uint64_t end = clock_monotonic_ns() + 30 * NS_PER_S;
    while (!atomic_load(&w->script.hold) && clock_monotonic_ns() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(atomic_load(&w->script.hold));
}

static void begin(struct world *w, char uuid[37])
{
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
}

/* Between this and world_start() nothing of the job runs. */
static void stop_held(struct world *w)
{
    wait_hold(w);
    world_stop(w);
    atomic_store(&w->script.hold, false);
}

static void test_hopeless_cell_stays_so(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    w->script.behave = behave_missing;
    begin(w, uuid);
    stop_held(w);
    w->script.behave = behave_well; /* measured again it would have results */
    world_start(w);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(job.steps_given_up, 2 * (REPETITIONS - 1));
    assert_int_equal(job.steps_done, job.steps_total);
    summaries(w, job.id, f);
    for (unsigned i = 0; i < f->count; i++)
        assert_true(f->rows[i].cell_idx != 1 && f->rows[i].cell_idx != 4);
    free(f);
    world_end(w, &job);
}

static void test_a_runners_words_are_no_reason(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.behave = behave_pretending;
    begin(w, uuid);
    stop_held(w);
    world_start(w);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_non_null(strstr(job.error.message, "2 of 6 cells have no result"));
    assert_non_null(strstr(job.error.message, "temporarily unavailable"));
    assert_int_equal(w->script.failures, 2 * 3);
    assert_int_equal(job.steps_given_up, 2 * (REPETITIONS - 3));
    world_end(w, &job);
}

/* A job of which `runs` runs were done, then another build of the harness comes. */
static void other_build(unsigned runs, const char *sql, enum job_state want, const char *word)
{
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    w->script.behave = behave_held;
    w->script.hold_after = runs;
    atomic_store(&w->script.hold, runs == 0);
    begin(w, uuid);
    wait_runs(w, runs + 1);
    stop_held(w);
    unsigned before = w->script.runs;
    tamper(w, sql);
    tamper(w, "UPDATE summary SET value = 4711");
    world_start(w);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), want);
    if (want == JOB_FAILED) {
        assert_int_equal(job.error.code, ERR_INCOMPATIBLE);
        assert_non_null(strstr(job.error.message, word));
        assert_non_null(strstr(job.error.message, ring_build_id()));
        assert_int_equal(w->script.runs, before);
        summaries(w, job.id, f);
        for (unsigned i = 0; i < f->count; i++)
            assert_near(f->rows[i].value, 4711); /* not made anew under this build's key */
    } else {
        assert_string_equal(job.harness_build, ring_build_id());
        assert_int_equal(job.steps_done, job.steps_total);
    }
    free(f);
    world_end(w, &job);
}

static void test_builds_do_not_mix(void **state)
{
    (void)state;
    other_build(5, "UPDATE job SET harness_build = 'other-1'", JOB_FAILED, "other-1");
    other_build(5, "UPDATE job SET harness_build = ''", JOB_FAILED, "earlier version");
    other_build(0, "UPDATE job SET harness_build = 'other-1'", JOB_SUCCEEDED, "");
}

/* ---- order ---- */

struct order {
    unsigned count;
    struct {
        unsigned repetition, step; /* step: group and position in one */
    } steps[REPETITIONS * POSITIONS];
    int64_t ring_id;
};

/* Trials come in the order their steps were run in, those of one ring together. */
static int order_keep(void *ctx, const struct store_trial *trial)
{
    struct order *o = ctx;
    if (trial->ring_id == o->ring_id)
        return 0;
    o->ring_id = trial->ring_id;
    assert_true(o->count < REPETITIONS * POSITIONS);
    o->steps[o->count].repetition = trial->repetition;
    o->steps[o->count++].step = trial->cell_idx < 3 ? trial->position : 2 + trial->position;
    return 0;
}

static void order_of(unsigned seed, struct order *ret)
{
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    struct err e = {0};
    struct store_view *view;
    w->seed = seed;
    begin(w, uuid);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    const struct store_trial_filter filter = {.job_id = job.id, .cell_idx = -1};
    *ret = (struct order){0};
    assert_int_equal(store_view_acquire(w->store, 1000, &view, &e), 0);
    assert_int_equal(store_view_trials(view, &filter, order_keep, ret, &e), 0);
    store_view_release(view);
    assert_int_equal(ret->count, REPETITIONS * POSITIONS);
    world_end(w, &job);
}

/* How many of the repetitions have an order that none before them had. */
static unsigned orders_count(const struct order *o)
{
    unsigned count = 0;
    for (unsigned r = 0; r < REPETITIONS; r++) {
        unsigned before = 0;
        while (before < r) {
            unsigned i = 0;
            while (i < POSITIONS &&
                   o->steps[before * POSITIONS + i].step == o->steps[r * POSITIONS + i].step)
                i++;
            if (i == POSITIONS)
                break;
            before++;
        }
        count += before == r;
    }
    return count;
}

/* Randomised complete blocks: what drifts with the minutes meets every cell alike. */
static void test_order_is_complete_blocks_at_random(void **state)
{
    (void)state;
    static struct order first, again, other;
    order_of(5, &first);
    order_of(5, &again);
    order_of(6, &other);
    bool churn_first = false, cold_first = false, backwards = false;
    for (unsigned r = 0; r < REPETITIONS; r++) {
        unsigned seen = 0;
        for (unsigned i = 0; i < POSITIONS; i++) {
            assert_int_equal(first.steps[r * POSITIONS + i].repetition, r);
            seen |= 1U << first.steps[r * POSITIONS + i].step;
        }
        assert_int_equal(seen, (1U << POSITIONS) - 1);
        churn_first |= first.steps[r * POSITIONS].step < 2;
        cold_first |= first.steps[r * POSITIONS].step >= 2;
        for (unsigned i = 1; i < POSITIONS; i++)
            backwards |= first.steps[r * POSITIONS + i].step == 0 &&
                         first.steps[r * POSITIONS + i - 1].step == 1;
    }
    assert_true(churn_first && cold_first && backwards);
    assert_true(orders_count(&first) > REPETITIONS / 2);
    assert_memory_equal(first.steps, again.steps, sizeof first.steps);
    assert_memory_not_equal(first.steps, other.steps, sizeof first.steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hopeless_cell_stays_so),
        cmocka_unit_test(test_a_runners_words_are_no_reason),
        cmocka_unit_test(test_builds_do_not_mix),
        cmocka_unit_test(test_order_is_complete_blocks_at_random),
    };
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
