/* The scheduler over a real store and a scripted executor: what is run, what is tried again, what
 * a job becomes, that a continued job runs only what it lacks, and that summaries are right. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "tests/job/world.h"

static int behave_noisy(struct script *s, const struct exec_request *q, struct exec_result *ret,
                        struct err *e)
{
    int r = behave_well(s, q, ret, e);
    ret->discard = true;
    snprintf(ret->discard_reason, sizeof ret->discard_reason, "stolen");
    return r;
}

static int behave_unavailable(struct script *s, const struct exec_request *q,
                              struct exec_result *ret, struct err *e)
{
    if (strcmp(q->subjects[q->subjects_count - 1].allocator, "jemalloc") == 0)
        return err_set(e, ERR_UNAVAILABLE, NULL, "install Debian package libjemalloc2");
    return behave_well(s, q, ret, e);
}

/* The first run leaves an attempt of another step of job 1: of this repetition, with this subject.
 */
static void leave_attempt(struct script *s, uint32_t repetition, uint32_t subject, bool lost)
{
    const struct store_ring_new ring = {
        .job_id = 1,
        .repetition = repetition,
        .cells_count = 3,
        .cells = {0, 0, subject},
        .roles = {ROLE_REFERENCE, ROLE_CONTROL, ROLE_SUBJECT},
    };
    const struct err why = {.code = ERR_IO, .message = "left by the test"};
    struct err e;
    char uuid[37];
    int64_t attempt_id;
    if (s->runs != 1)
        return;
    assert_int_equal(store_attempt_begin(s->store, &ring, "script", uuid, &attempt_id, &e), 0);
    assert_int_equal(store_attempt_abandon(s->store, attempt_id, lost, &why, &e), 0);
}

/* The last ring of the first group is settled, which is not the step that runs. */
static int behave_settling(struct script *s, const struct exec_request *q, struct exec_result *ret,
                           struct err *e)
{
    leave_attempt(s, 6, 1, false);
    return behave_well(s, q, ret, e);
}

/* A lost attempt of a step of its own job, with the runners of another. */
static int behave_leaving_others(struct script *s, const struct exec_request *q,
                                 struct exec_result *ret, struct err *e)
{
    leave_attempt(s, 3, 2, true);
    return behave_well(s, q, ret, e);
}

/* jemalloc crashes; how many steps are given up cannot be stored until the last run. */
static int behave_untold(struct script *s, const struct exec_request *q, struct exec_result *ret,
                         struct err *e)
{
    if (s->runs == 1)
        tamper(s->world, "CREATE TRIGGER refuse BEFORE UPDATE OF steps_given_up ON job"
                         " WHEN new.steps_given_up > 0 BEGIN SELECT RAISE(ABORT, 'refused'); END");
    if (s->runs == 7 * 2 + 7 * 4 - 2 * 4)
        tamper(s->world, "DROP TRIGGER refuse");
    return behave_well(s, q, ret, e);
}

static void test_job_succeeds_with_summaries(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.noise = 0.02;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(job.steps_total, 7 * 2 + 7 * 4);
    assert_int_equal(job.steps_done, job.steps_total);
    assert_int_equal(w->script.runs, job.steps_total);
    assert_int_equal(w->script.prefaulted, 7 * 4); /* one-shot trials, not rings */
    struct found *f = must_alloc(sizeof *f);
    summaries(w, job.id, f);
    /* churn: cells 0 glibc, 1 jemalloc, 2 null */
    const struct store_summary *jemalloc = row_of(f, 1, METRIC_PAIRS_PER_S);
    assert_int_equal(jemalloc->count, 7);
    assert_true(jemalloc->ratio > 1.9 && jemalloc->ratio < 2.1); /* twice the pairs/s */
    assert_true(jemalloc->ratio_low <= jemalloc->ratio && jemalloc->ratio <= jemalloc->ratio_high);
    assert_true(jemalloc->ratio_high - jemalloc->ratio_low > 0.01);
    assert_near(jemalloc->noise, 0); /* the control never wobbled */
    assert_true(jemalloc->null_share > 0.7 && jemalloc->harness_bound); /* 40 of 50 ns */
    const struct store_summary *glibc = row_of(f, 0, METRIC_PAIRS_PER_S);
    assert_int_equal(glibc->count, 7); /* in every ring, yet one observation a repetition */
    assert_near(glibc->value, 1e7);
    assert_near(glibc->ratio, 1);
    assert_false(glibc->harness_bound);
    /* Memory has no slices: its ratio is that of the values. */
    assert_true(fabs(row_of(f, 1, METRIC_HEAP_BYTES)->ratio - 0.5) < 0.03);
    /* cold: cells 3, 4, 5, in blocks */
    assert_int_equal(row_of(f, 4, METRIC_PAIRS_PER_S)->count, 7);
    assert_near(row_of(f, 4, METRIC_PAIRS_PER_S)->ratio, 2);
    assert_near(row_of(f, 4, METRIC_PAIRS_PER_S)->noise, 0);
    free(f);
    world_end(w, &job);
}

static void test_lost_attempts_are_tried_again(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.fail_first = 2;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(w->script.runs, job.steps_total + 2);
    assert_int_equal(job.steps_failed, 0);
    world_end(w, &job);
}

static void test_lost_too_often_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.fail_first = UINT32_MAX;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_non_null(strstr(job.error.message, "cells have no result"));
    assert_non_null(strstr(job.error.message, "supervisor gone"));
    world_end(w, &job);
}

/* Reserved huge pages need nobody to touch them first. */
static void test_no_prefault_for_hugetlb(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->cold_pages = "hugetlb-2m";
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(w->script.runs, 7 * 2 + 7 * 4);
    assert_int_equal(w->script.prefaulted, 0);
    world_end(w, &job);
}

static void test_crashing_allocator_fails_alone(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    strcpy(w->script.crashing, "jemalloc");
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_non_null(strstr(job.error.message, "jemalloc"));
    assert_non_null(strstr(job.error.message, "signal 11 after 1 of"));
    struct found *f = must_alloc(sizeof *f);
    summaries(w, job.id, f);
    assert_int_equal(row_of(f, 2, METRIC_PAIRS_PER_S)->count, 7); /* the others go on */
    /* Three failures of a cell are enough to know; 7 - 3 are not tried, in both groups. */
    assert_int_equal(w->script.runs, job.steps_total - 2 * 4);
    assert_int_equal(job.steps_given_up, 2 * 4);
    assert_int_equal(job.steps_failed, 2 * 3);
    assert_int_equal(job.steps_done, job.steps_total);
    free(f);
    world_end(w, &job);
}

static void test_unavailable_is_said_not_failed(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.behave = behave_unavailable;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(w->script.runs, job.steps_total - 2 * 6); /* asked once per group */
    assert_int_equal(job.steps_given_up, 2 * 6);
    assert_int_equal(job.steps_done, job.steps_total);
    world_end(w, &job);
}

/* Settled behind its back: the store refuses another attempt, and always will. */
static void test_settled_step_is_passed_over(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.behave = behave_settling;
    world_start(w);
    w->script.store = w->store;
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(w->script.runs, job.steps_total - 1);
    assert_int_equal(job.steps_done, job.steps_total);
    world_end(w, &job);
}

/* What the plan has now is not what was begun: given up and told, never passed over in silence. */
static void test_step_with_other_runners_is_given_up(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.behave = behave_leaving_others;
    world_start(w);
    w->script.store = w->store;
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(w->script.runs, job.steps_total - 1);
    assert_int_equal(job.steps_given_up, 1);
    assert_int_equal(job.steps_done, job.steps_total);
    world_end(w, &job);
}

static void test_given_up_steps_are_told_at_last(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    strcpy(w->script.crashing, "jemalloc");
    w->script.behave = behave_untold;
    w->script.world = w;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_int_equal(w->script.runs, job.steps_total - 2 * 4);
    assert_int_equal(job.steps_given_up, 2 * 4);
    world_end(w, &job);
}

/* The store will never take an attempt of the last cell: said once, not tried for ever. */
static void test_refused_step_fails_with_the_reason(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    world_start(w);
    submit_without(w, 1, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_non_null(strstr(job.error.message, "1 of 6 cells have no result"));
    assert_non_null(strstr(job.error.message, "has no cell 5"));
    assert_int_equal(w->script.runs, job.steps_total - 7);
    world_end(w, &job);
}

static void test_noise_is_bounded(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    w->script.behave = behave_noisy;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
    assert_int_equal(w->script.runs, 3 * job.steps_total);
    assert_int_equal(job.steps_discarded, 3 * job.steps_total);
    assert_int_equal(job.steps_given_up, job.steps_total);
    assert_int_equal(job.steps_done, job.steps_total);
    world_end(w, &job);
}

static void test_cancel_breaks_the_ring_off(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    struct err e = {0};
    enum job_state after;
    atomic_store(&w->script.hold, true);
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    wait_runs(w, 1);
    assert_int_equal(store_job_cancel(w->store, uuid, &after, &e), 0);
    scheduler_cancel(w->scheduler, "another");
    scheduler_cancel(w->scheduler, uuid);
    assert_int_equal(wait_final(w, uuid, &job), JOB_CANCELLED);
    assert_int_equal(w->script.runs, 1);
    world_end(w, &job);
}

static void test_stopped_job_continues_with_what_it_lacks(void **state)
{
    (void)state;
    struct world *w = world_new();
    char uuid[37];
    struct store_job job;
    world_start(w);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    wait_runs(w, 5);
    atomic_store(&w->script.hold, true);
    wait_runs(w, 6);
    world_stop(w);
    unsigned before = w->script.runs;
    atomic_store(&w->script.hold, false);
    world_start(w);
    look(w, uuid, &job);
    if (job_state_final(job.state))
        fail_msg("ended before it was stopped");
    uint32_t done = job.steps_done; /* all the runs but the one broken off, if one was */
    assert_true(done == before || done + 1 == before);
    store_job_done(&job);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(job.steps_done, job.steps_total);
    assert_int_equal(w->script.runs - before, job.steps_total - done);
    struct found *f = must_alloc(sizeof *f);
    summaries(w, job.id, f);
    assert_int_equal(row_of(f, 1, METRIC_PAIRS_PER_S)->count, 7);
    free(f);
    world_end(w, &job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_succeeds_with_summaries),
        cmocka_unit_test(test_lost_attempts_are_tried_again),
        cmocka_unit_test(test_lost_too_often_is_given_up),
        cmocka_unit_test(test_no_prefault_for_hugetlb),
        cmocka_unit_test(test_crashing_allocator_fails_alone),
        cmocka_unit_test(test_unavailable_is_said_not_failed),
        cmocka_unit_test(test_settled_step_is_passed_over),
        cmocka_unit_test(test_step_with_other_runners_is_given_up),
        cmocka_unit_test(test_given_up_steps_are_told_at_last),
        cmocka_unit_test(test_refused_step_fails_with_the_reason),
        cmocka_unit_test(test_noise_is_bounded),
        cmocka_unit_test(test_cancel_breaks_the_ring_off),
        cmocka_unit_test(test_stopped_job_continues_with_what_it_lacks),
    };
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
