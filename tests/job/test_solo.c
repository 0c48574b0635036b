/* Cells that use CPU outside their turns: when they are measured again alone, what becomes of their
 * figures, and that a restart changes nothing of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <math.h>

#include "daemon/base/log.h"
#include "tests/job/world.h"

#define PLANNED (7 * 2 + 7 * 4) /* rings of table-churn, trials of table-cold */

/* Who works outside its turns slows the reference of its rings, and its repeat more. */
static void disturb(struct exec_result *ret)
{
    ret->runners[0].metrics[0].value = 1e9 / 150;
    ret->runners[1].metrics[0].value = 1e9 / 180;
    assert_int_equal(ret->runners[1].metrics[2].metric, METRIC_RING_LOG_RATIO);
    ret->runners[1].metrics[2].value = log(1.2);
}

/* Alone, jemalloc takes 80 ns a pair where its rings said 50. "*": every subject works outside. */
static int behave_outside(struct script *s, const struct exec_request *q, struct exec_result *ret,
                          struct err *e)
{
    int r = behave_well(s, q, ret, e);
    if (s->world && s->runs == PLANNED)
        tamper(s->world, "PRAGMA ignore_check_constraints = ON;"
                         "UPDATE trial SET role = 'unreadable' WHERE id = 1");
    if (s->runs == s->hold_after)
        atomic_store(&s->hold, true); /* the next one */
    for (uint32_t i = 0; i < q->subjects_count && q->rotations; i++) {
        struct exec_runner_result *runner = &ret->runners[i];
        bool is_jemalloc = strcmp(q->subjects[i].allocator, "jemalloc") == 0;
        bool meant = strcmp(q->subjects[i].allocator, s->outside_of) == 0 ||
                     (s->outside_of[0] == '*' && q->subjects[i].role == ROLE_SUBJECT);
        bool works = meant && s->outside_rings > 0;
        if (works && s->disturbs && i == 2)
            disturb(ret);
        if (q->subjects_count == 1 && is_jemalloc)
            runner->metrics[0].value = 1e9 / 80;
        s->outside_rings -= works && q->subjects_count > 1;
        runner->metrics[runner->metrics_count++] = (struct exec_metric){
            .metric = METRIC_CPU_OUTSIDE_RATIO, .value = works ? s->outside : 0.0001};
    }
    return r;
}

static struct world *outside_world(const char *allocator, double outside, unsigned rings)
{
    struct world *w = world_new();
    w->script.behave = behave_outside;
    w->script.outside_of = allocator;
    w->script.outside = outside;
    w->script.outside_rings = rings;
    world_start(w);
    return w;
}

static void expect_steps(struct world *w, const char *uuid, unsigned steps, struct store_job *job)
{
    assert_int_equal(wait_final(w, uuid, job), JOB_SUCCEEDED);
    assert_int_equal(job->steps_total, steps);
    assert_int_equal(job->steps_done, steps);
    assert_int_equal(job->steps_failed, 0);
}

static void expect_alone(const struct found *f)
{
    const struct store_summary *rate = row_of(f, 1, METRIC_PAIRS_PER_S);
    assert_int_equal(rate->measured, MEASURED_SOLO);
    assert_int_equal(rate->count, 7);
    assert_near(rate->value, 1e9 / 80);
    assert_near(rate->ratio, 1.25); /* to the reference alone, not to that of the rings */
    assert_near(rate->noise, 0);
    assert_string_equal(rate->reason, "");
    /* Why stands beside it, as the rings said. */
    assert_int_equal(row_of(f, 1, METRIC_CPU_OUTSIDE_RATIO)->measured, MEASURED_RING);
    assert_near(row_of(f, 1, METRIC_CPU_OUTSIDE_RATIO)->value, 0.02);
    /* Nobody else is touched. */
    assert_int_equal(row_of(f, 0, METRIC_PAIRS_PER_S)->measured, MEASURED_RING);
    assert_int_equal(row_of(f, 0, METRIC_PAIRS_PER_S)->count, 7);
    assert_int_equal(row_of(f, 2, METRIC_PAIRS_PER_S)->measured, MEASURED_RING);
    assert_near(row_of(f, 2, METRIC_PAIRS_PER_S)->ratio, 2.5);
    assert_int_equal(row_of(f, 4, METRIC_PAIRS_PER_S)->measured, MEASURED_TRIAL);
    assert_near(row_of(f, 4, METRIC_PAIRS_PER_S)->ratio, 2);
}

static void test_subject_is_measured_alone(void **state)
{
    (void)state;
    struct world *w = outside_world("jemalloc", 0.02, UINT32_MAX);
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    expect_steps(w, uuid, PLANNED + 7 * 3, &job); /* reference, reference again, jemalloc */
    assert_int_equal(w->script.runs, job.steps_total);
    summaries(w, job.id, f);
    expect_alone(f);
    free(f);
    world_end(w, &job);
}

/* Broken off among the trials alone: the same steps, the same figures. */
static void test_restart_among_trials_alone(void **state)
{
    (void)state;
    struct world *w = outside_world("jemalloc", 0.02, UINT32_MAX);
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    w->script.hold_after = PLANNED + 4;
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    wait_runs(w, PLANNED + 5);
    world_stop(w);
    atomic_store(&w->script.hold, false);
    world_start(w);
    look(w, uuid, &job);
    assert_int_equal(job.state, JOB_QUEUED);
    assert_int_equal(job.steps_total, PLANNED + 7 * 3);
    assert_int_equal(job.steps_done, PLANNED + 4);
    unsigned lacks = job.steps_total - job.steps_done, before = w->script.runs;
    store_job_done(&job);
    scheduler_wake(w->scheduler);
    expect_steps(w, uuid, PLANNED + 7 * 3, &job);
    assert_int_equal(w->script.runs - before, lacks);
    summaries(w, job.id, f);
    expect_alone(f);
    free(f);
    world_end(w, &job);
}

/* Few rings of it, or just as much as is allowed: nothing happens. */
static void test_little_is_let_pass(void **state)
{
    static const struct {
        double outside;
        unsigned rings;
    } cases[] = {{0.5, 1}, {0.5, 3}, {0.005, UINT32_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *w = outside_world("jemalloc", cases[i].outside, cases[i].rings);
        char uuid[37];
        struct store_job job;
        struct found *f = must_alloc(sizeof *f);
        submit(w, uuid);
        scheduler_wake(w->scheduler);
        expect_steps(w, uuid, PLANNED, &job);
        summaries(w, job.id, f);
        assert_int_equal(row_of(f, 1, METRIC_PAIRS_PER_S)->measured, MEASURED_RING);
        assert_near(row_of(f, 1, METRIC_PAIRS_PER_S)->ratio, 2);
        free(f);
        world_end(w, &job);
    }
}

/* A reference that does it is in every ring: the whole group is measured alone. */
static void test_reference_takes_its_group_along(void **state)
{
    (void)state;
    struct world *w = outside_world("glibc", 0.02, UINT32_MAX);
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    expect_steps(w, uuid, PLANNED + 7 * 4, &job);
    summaries(w, job.id, f);
    for (uint32_t cell = 0; cell < 3; cell++) {
        assert_int_equal(row_of(f, cell, METRIC_PAIRS_PER_S)->measured, MEASURED_SOLO);
        assert_int_equal(row_of(f, cell, METRIC_PAIRS_PER_S)->count, 7);
    }
    assert_near(row_of(f, 0, METRIC_PAIRS_PER_S)->ratio, 1);
    assert_near(row_of(f, 1, METRIC_PAIRS_PER_S)->ratio, 1.25); /* not the 2 of the rings */
    assert_near(row_of(f, 2, METRIC_PAIRS_PER_S)->ratio, 2.5);
    assert_int_equal(row_of(f, 4, METRIC_PAIRS_PER_S)->measured, MEASURED_TRIAL); /* other group */
    free(f);
    world_end(w, &job);
}

/* What jemalloc's rings say of the reference is left out; where all rings are like that, not. */
static void test_disturbed_rings_do_not_speak_of_the_reference(void **state)
{
    static const struct {
        const char *of;
        double value, noise;
    } cases[] = {{"jemalloc", 1e7, 0}, {"*", 1e9 / 150, 0.18232155679395462}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *w = outside_world(cases[i].of, 0.02, UINT32_MAX);
        char uuid[37];
        struct store_job job;
        struct found *f = must_alloc(sizeof *f);
        w->script.disturbs = true;
        submit(w, uuid);
        scheduler_wake(w->scheduler);
        expect_steps(w, uuid, PLANNED + 7 * (i ? 4 : 3), &job);
        summaries(w, job.id, f);
        const struct store_summary *reference = row_of(f, 0, METRIC_PAIRS_PER_S);
        assert_int_equal(reference->measured, MEASURED_RING);
        assert_int_equal(reference->count, 7);
        assert_near(reference->value, cases[i].value);
        assert_near(reference->noise, cases[i].noise);
        assert_near(row_of(f, 1, METRIC_PAIRS_PER_S)->ratio, 1.25);
        free(f);
        world_end(w, &job);
    }
}

/* A read that fails when the rings are done is tried again; when it stays so nothing is made up. */
static void test_failed_reads_are_tried_again(void **state)
{
    (void)state;
    for (int repaired = 1; repaired >= 0; repaired--) {
        struct world *w = outside_world("jemalloc", 0.02, UINT32_MAX);
        char uuid[37];
        struct store_job job;
        w->script.world = w;
        submit(w, uuid);
        scheduler_wake(w->scheduler);
        wait_runs(w, PLANNED);
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* some tries of five seconds */
        look(w, uuid, &job);
        assert_int_equal(job.state, JOB_RUNNING);
        store_job_done(&job);
        if (repaired) {
            tamper(w, "UPDATE trial SET role = 'reference' WHERE role = 'unreadable'");
            expect_steps(w, uuid, PLANNED + 7 * 3, &job);
        } else {
            assert_int_equal(wait_final(w, uuid, &job), JOB_FAILED);
            assert_non_null(strstr(job.error.message, "cannot be summarised"));
            assert_int_equal(w->script.runs, PLANNED);
        }
        world_end(w, &job);
    }
}

/* Alone jemalloc fails: its rings stand, and say that they are not to be trusted. */
static int behave_failing_alone(struct script *s, const struct exec_request *q,
                                struct exec_result *ret, struct err *e)
{
    int r = behave_outside(s, q, ret, e);
    if (s->runs > PLANNED && strcmp(q->subjects[0].allocator, "jemalloc") == 0) {
        ret->runners[0].outcome = OUTCOME_CRASHED;
        ret->runners[0].metrics_count = 0;
    }
    return r;
}

static void test_not_measured_alone_is_said(void **state)
{
    (void)state;
    struct world *w = outside_world("jemalloc", 0.02, UINT32_MAX);
    char uuid[37];
    struct store_job job;
    struct found *f = must_alloc(sizeof *f);
    w->script.behave = behave_failing_alone;
    submit(w, uuid);
    scheduler_wake(w->scheduler);
    assert_int_equal(wait_final(w, uuid, &job), JOB_SUCCEEDED);
    assert_int_equal(job.steps_given_up, 7 - 3);
    summaries(w, job.id, f);
    assert_int_equal(row_of(f, 1, METRIC_PAIRS_PER_S)->measured, MEASURED_RING);
    assert_non_null(strstr(row_of(f, 1, METRIC_PAIRS_PER_S)->reason, "not measured alone"));
    assert_string_equal(row_of(f, 0, METRIC_PAIRS_PER_S)->reason, "");
    assert_string_equal(row_of(f, 2, METRIC_PAIRS_PER_S)->reason, "");
    free(f);
    world_end(w, &job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subject_is_measured_alone),
        cmocka_unit_test(test_restart_among_trials_alone),
        cmocka_unit_test(test_little_is_let_pass),
        cmocka_unit_test(test_reference_takes_its_group_along),
        cmocka_unit_test(test_disturbed_rings_do_not_speak_of_the_reference),
        cmocka_unit_test(test_failed_reads_are_tried_again),
        cmocka_unit_test(test_not_measured_alone_is_said),
    };
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
