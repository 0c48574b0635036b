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
#include "daemon/job/scheduler.h"
#include "daemon/store/store.h"
#include "tests/lib/remove_tree.h"

#define ROTATIONS 4

/* What the scripted executor does. Tests read `runs` while it goes on: a plain counter, nothing is
 * published with it. */
struct script {
    struct executor base;
    int (*behave)(struct script *s, const struct exec_request *q, struct exec_result *ret,
                  struct err *e);
    _Atomic unsigned runs;
    unsigned fail_first; /* runs that end with ERR_IO before it works */
    double noise;        /* added to ln of the third runner's time, alternating by run */
    char crashing[48];   /* allocator that crashes */
    _Atomic bool hold;   /* wait for the interrupt instead of measuring */
    struct store *store; /* behave_settling: where it settles a step behind the scheduler's back */
};

static double allocator_ns(const char *name)
{
    if (strcmp(name, "jemalloc") == 0)
        return 50;
    return strcmp(name, "null") == 0 ? 40 : 100;
}

static void runner_fill(const struct exec_request *q, uint32_t i, struct exec_runner_result *r,
                        double ns)
{
    r->outcome = OUTCOME_OK;
    snprintf(r->sha256, sizeof r->sha256, "%064x", i + 1);
    r->turns_done = r->turns_total = q->rotations ? q->rotations : 1;
    double threads = q->subjects[i].point.threads;
    r->metrics[r->metrics_count++] =
        (struct exec_metric){.metric = METRIC_PAIRS_PER_S, .value = threads * 1e9 / ns};
    r->metrics[r->metrics_count++] =
        (struct exec_metric){.metric = METRIC_HEAP_BYTES, .value = 1000 * ns};
}

static int behave_well(struct script *s, const struct exec_request *q, struct exec_result *ret,
                       struct err *e)
{
    (void)e;
    memset(ret, 0, sizeof *ret);
    ret->runners_count = q->subjects_count;
    for (uint32_t i = 0; i < q->subjects_count; i++) {
        struct exec_runner_result *r = &ret->runners[i];
        const char *name = q->subjects[i].allocator;
        double wobble = i == 2 ? s->noise * (s->runs % 2 ? 1 : -1) : 0;
        double ns = allocator_ns(name) * exp(wobble);
        runner_fill(q, i, r, ns);
        if (strcmp(name, s->crashing) == 0) {
            r->outcome = OUTCOME_CRASHED;
            r->signal = 11;
            r->turns_done = 1;
            r->metrics_count = 0;
        } else if (q->rotations && i > 0) {
            r->metrics[r->metrics_count++] =
                (struct exec_metric){.metric = METRIC_RING_LOG_RATIO,
                                     .value = log(ns / allocator_ns(q->subjects[0].allocator))};
        }
    }
    return 0;
}

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

/* The first run settles another step than its own: the last ring of the first group. */
static int behave_settling(struct script *s, const struct exec_request *q, struct exec_result *ret,
                           struct err *e)
{
    const struct store_ring_new ring = {
        .job_id = 1,
        .repetition = 6,
        .cells_count = 3,
        .cells = {0, 0, 1},
        .roles = {ROLE_REFERENCE, ROLE_CONTROL, ROLE_SUBJECT},
    };
    const struct err why = {.code = ERR_IO, .message = "settled by the test"};
    char uuid[37];
    int64_t attempt_id;
    if (s->runs == 1) {
        assert_int_equal(store_attempt_begin(s->store, &ring, "script", uuid, &attempt_id, e), 0);
        assert_int_equal(store_attempt_abandon(s->store, attempt_id, false, &why, e), 0);
    }
    return behave_well(s, q, ret, e);
}

static int script_run(struct executor *x, const struct exec_request *q, const _Atomic bool *cancel,
                      struct exec_result *ret, struct err *e)
{
    struct script *s = (struct script *)x;
    s->runs++;
    while (atomic_load(&s->hold) && !atomic_load(cancel))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (atomic_load(cancel))
        return err_set(e, ERR_CANCELLED, NULL, "cancelled");
    if (s->runs <= s->fail_first)
        return err_set(e, ERR_IO, NULL, "supervisor gone");
    return s->behave(s, q, ret, e);
}

static int subject_check(void *ctx, struct job_subject *subject, const char *field, struct err *e)
{
    (void)ctx;
    (void)field;
    (void)e;
    subject->flags = strcmp(subject->allocator, "null") == 0 ? RING_SUBJECT_NULL : 0;
    return 0;
}

static int pages_check(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    (void)ctx;
    (void)mode;
    (void)field;
    (void)e;
    return 0;
}

static const struct job_limits limits = {
    .cpus_max = 2,
    .cores_max = 2,
    .memory_bytes = UINT64_C(8) << 30,
    .subject_check = subject_check,
    .pages_check = pages_check,
};

/* cmocka's assertions do not tell the analyzer that they never return; abort does. */
static void *must_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        abort();
    return p;
}

struct world {
    char directory[64];
    struct store *store;
    struct events *events;
    struct script script;
    struct scheduler *scheduler;
};

static int host_key(void *ctx, char ret_key[65], struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(ret_key, 65, "host");
    return 0;
}

static void world_start(struct world *w)
{
    struct err e = {0};
    const struct store_config store = {.directory = w->directory, .readers_count = 2};
    if (store_open(&store, &w->store, &e) < 0)
        fail_msg("%s", e.message);
    assert_true(store_recover(w->store, 3, &e) >= 0);
    w->events = events_new();
    const struct scheduler_config config = {
        .store = w->store,
        .executor = &w->script.base,
        .events = w->events,
        .limits = &limits,
        .host_key = host_key,
        .attempts_max = 3,
    };
    assert_int_equal(scheduler_start(&config, &w->scheduler, &e), 0);
}

static void world_stop(struct world *w)
{
    scheduler_stop(w->scheduler, false);
    scheduler_free(w->scheduler);
    events_free(w->events);
    store_close(w->store);
}

static struct world *world_new(void)
{
    struct world *w = must_alloc(sizeof *w);
    strcpy(w->directory, "/tmp/heapmark-sched-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    w->script =
        (struct script){.base = {.name = "script", .run = script_run}, .behave = behave_well};
    return w;
}

static void world_free(struct world *w)
{
    assert_int_equal(remove_tree(w->directory), 0);
    free(w);
}

static void world_end(struct world *w, struct store_job *job)
{
    store_job_done(job);
    world_stop(w);
    world_free(w);
}

static const char job_text[] =
    "{\"allocators\":[\"glibc\",\"jemalloc\",\"null\"],\"reference\":\"glibc\",\"seed\":5,"
    "\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"live\":1000}},"
    "{\"workload\":\"table-cold\"}],"
    "\"repeat\":{\"rings\":7,\"rotations\":4,\"blocks\":7}}";

/* With `cells_missing` the store has fewer cells than the plan. */
static void submit_without(struct world *w, uint32_t cells_missing, char uuid[37])
{
    struct job_spec *spec = NULL;
    struct job_plan *plan = NULL;
    struct err e = {0};
    if (job_parse(job_text, strlen(job_text), &limits, &spec, &e) < 0 ||
        job_expand(spec, &limits, &plan, &e) < 0)
        fail_msg("%s", e.message);
    struct store_cell_new *cells = must_alloc(plan->cells_count * sizeof *cells);
    for (uint32_t i = 0; i < plan->cells_count; i++)
        cells[i] = (struct store_cell_new){
            .idx = i,
            .group_idx = plan->cells[i].group,
            .workload = plan->groups[plan->cells[i].group].entry->workload->name,
            .params_key = plan->groups[plan->cells[i].group].params_key,
            .allocator = spec->subjects[plan->cells[i].subject].allocator,
            .options_key = "",
            .threads = 1,
            .role =
                i == plan->groups[plan->cells[i].group].cells_first ? ROLE_REFERENCE : ROLE_SUBJECT,
        };
    json_t *json = job_spec_json(spec);
    char *text = json_dumps(json, 0);
    static unsigned serial;
    char id[37];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012u", ++serial);
    const struct store_job_new job = {
        .uuid = id,
        .name = "",
        .preset = "",
        .profile = "quick",
        .spec_json = text,
        .labels = &spec->labels,
        .cells = cells,
        .cells_count = plan->cells_count - cells_missing,
        .steps_total = plan->steps,
        .principal = "local",
    };
    bool replayed;
    if (store_job_add(w->store, &job, uuid, &replayed, &e) < 0)
        fail_msg("%s", e.message);
    free(cells);
    free(text);
    json_decref(json);
    job_plan_free(plan);
    job_spec_free(spec);
}

static void submit(struct world *w, char uuid[37])
{
    submit_without(w, 0, uuid);
}

static void look(struct world *w, const char *uuid, struct store_job *ret)
{
    struct store_view *view;
    struct err e = {0};
    assert_int_equal(store_view_acquire(w->store, 1000, &view, &e), 0);
    assert_int_equal(store_view_job(view, uuid, ret, &e), 0);
    store_view_release(view);
}

static enum job_state wait_final(struct world *w, const char *uuid, struct store_job *ret)
{
    uint64_t end = clock_monotonic_ns() + 60 * NS_PER_S;
    for (;;) {
        look(w, uuid, ret);
        if (job_state_final(ret->state))
            return ret->state;
        if (clock_monotonic_ns() > end)
            fail_msg("job is still %s", job_state_name(ret->state));
        store_job_done(ret);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

struct found {
    struct store_summary rows[256];
    unsigned count;
};

static int summary_keep(void *ctx, const struct store_summary *row)
{
    struct found *f = ctx;
    f->rows[f->count++] = *row;
    return 0;
}

static void summaries(struct world *w, int64_t job_id, struct found *f)
{
    struct store_view *view;
    struct err e = {0};
    f->count = 0;
    assert_int_equal(store_view_acquire(w->store, 1000, &view, &e), 0);
    assert_int_equal(store_view_summaries(view, job_id, summary_keep, f, &e), 0);
    store_view_release(view);
}

static const struct store_summary *row_of(const struct found *f, uint32_t cell, enum metric_id m)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->rows[i].cell_idx == cell && f->rows[i].metric == m)
            return &f->rows[i];
    print_error("no summary of cell %u, metric %d\n", cell, (int)m);
    abort();
}

static void assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) <= 1e-9 * fabs(wanted) + 1e-12))
        fail_msg("%.17g is not %.17g", value, wanted);
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

static void wait_runs(struct world *w, unsigned runs)
{
    uint64_t end = clock_monotonic_ns() + 30 * NS_PER_S;
    while (w->script.runs < runs && clock_monotonic_ns() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(w->script.runs >= runs);
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
        cmocka_unit_test(test_crashing_allocator_fails_alone),
        cmocka_unit_test(test_unavailable_is_said_not_failed),
        cmocka_unit_test(test_settled_step_is_passed_over),
        cmocka_unit_test(test_refused_step_fails_with_the_reason),
        cmocka_unit_test(test_noise_is_bounded),
        cmocka_unit_test(test_cancel_breaks_the_ring_off),
        cmocka_unit_test(test_stopped_job_continues_with_what_it_lacks),
    };
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
