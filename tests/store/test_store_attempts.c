/* Attempts and trials: what goes in comes out, once, and never merged. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"

struct trial_list {
    unsigned count;
    struct store_trial trials[16];
    struct ring_slice slices[16][FIXTURE_SLICES];
    char outcome[16][16], failure[16][32], message[16][256], sha256[16][65], version[16][64];
    char attempt_state[16][16], discard_reason[16][96];
};

static int trial_collect(void *ctx, const struct store_trial *t)
{
    struct trial_list *list = ctx;
    unsigned i = list->count++;
    list->trials[i] = *t;
    snprintf(list->outcome[i], sizeof list->outcome[i], "%s", t->outcome);
    snprintf(list->failure[i], sizeof list->failure[i], "%s", t->failure);
    snprintf(list->message[i], sizeof list->message[i], "%s", t->message);
    snprintf(list->sha256[i], sizeof list->sha256[i], "%s", t->sha256);
    snprintf(list->version[i], sizeof list->version[i], "%s", t->version);
    snprintf(list->attempt_state[i], sizeof list->attempt_state[i], "%s", t->attempt_state);
    snprintf(list->discard_reason[i], sizeof list->discard_reason[i], "%s", t->discard_reason);
    if (t->slices)
        memcpy(list->slices[i], t->slices, t->slices_count * sizeof *t->slices);
    return 0;
}

static void trials_get(struct fixture *f, struct store_trial_filter filter, struct trial_list *list)
{
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    *list = (struct trial_list){0};
    if (store_view_trials(v, &filter, trial_collect, list, &f->e) != 0)
        fail_msg("store_view_trials: %s", f->e.message);
}

static int64_t attempt(struct fixture *f, int64_t job_id, uint32_t repetition)
{
    struct store_ring_new ring = fixture_ring(job_id, repetition);
    int64_t id = 0;
    char uuid[37];
    if (store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e) < 0)
        fail_msg("store_attempt_begin: %s", f->e.message);
    assert_int_equal(strlen(uuid), 36);
    return id;
}

static void test_trial_round_trip(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct trial_list list;
    int64_t job_id = fixture_job_running(f, 1);
    int64_t id = attempt(f, job_id, 0);
    fixture_result(5, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    trials_get(f, (struct store_trial_filter){job_id, -1, true, 0, 0}, &list);
    assert_int_equal(list.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct store_trial *t = &list.trials[i];
        const struct exec_runner_result *r = &result.runners[i];
        assert_int_equal(t->runner_idx, i);
        assert_int_equal(t->cell_idx, i == 2);
        assert_int_equal(t->role, i == 0 ? ROLE_REFERENCE : i == 1 ? ROLE_CONTROL : ROLE_SUBJECT);
        assert_int_equal(t->attempt, 1);
        assert_string_equal(list.attempt_state[i], "accepted");
        assert_string_equal(list.outcome[i], "ok");
        assert_string_equal(list.sha256[i], r->sha256);
        assert_string_equal(list.version[i], r->version);
        assert_int_equal(t->turns_done, 20);
        assert_int_equal(t->isolation, r->isolation);
        assert_int_equal(t->started_us, result.started_us);
        assert_int_equal(t->finished_us, result.finished_us);
        assert_true(t->steal_ratio == 0.001 && isnan(t->psi_cpu_ratio));
        assert_true(t->housekeeping);
        assert_int_equal(t->slices_count, FIXTURE_SLICES);
        assert_memory_equal(list.slices[i], r->slices, sizeof list.slices[i]);
    }
    trials_get(f, (struct store_trial_filter){job_id, 1, false, 0, 0}, &list);
    assert_int_equal(list.count, 1);
    assert_null(list.trials[0].slices);
    trials_get(f, (struct store_trial_filter){job_id, -1, false, 0, 2}, &list);
    assert_int_equal(list.count, 2);
    trials_get(f, (struct store_trial_filter){job_id, -1, false, list.trials[1].id, 2}, &list);
    assert_int_equal(list.count, 1);
    trials_get(f, (struct store_trial_filter){job_id, 77, false, 0, 0}, &list);
    assert_int_equal(list.count, 0);
}

static int value_collect(void *ctx, const struct store_value *value)
{
    double(*sums)[2] = ctx;
    if (value->metric == METRIC_PAIRS_PER_S)
        sums[value->runner_idx][0] += value->value;
    else if (value->metric == METRIC_HEAP_BYTES)
        sums[value->runner_idx][1] += value->value;
    else
        fail_msg("metric %d was not stored as a value", value->metric);
    return 0;
}

static int vector_check(void *ctx, const double *values, uint32_t count)
{
    (void)ctx;
    assert_int_equal(count, 3);
    assert_true(values[0] == 1.5 && isinf(values[1]) && values[2] == 5);
    return 7;
}

static int absence_collect(void *ctx, const struct store_absence *absence)
{
    assert_int_equal(absence->metric, METRIC_FRAG_PEAK);
    assert_string_equal(absence->reason, "no number");
    ++*(int *)ctx;
    return 0;
}

/* Why there is no value is kept where there is none, and counts as values do: of what was accepted
 * only. */
static void test_absences(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct trial_list list;
    int64_t job_id = fixture_job_running(f, 1);
    fixture_result(1, &request, &result);
    result.discard = true;
    int64_t id = attempt(f, job_id, 0);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    result.discard = false;
    id = attempt(f, job_id, 0);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    trials_get(f, (struct store_trial_filter){job_id, -1, false, 0, 0}, &list);
    int all = 0, discarded = 0, one = 0;
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_absences(v, job_id, 0, absence_collect, &all, &f->e), 0);
    assert_int_equal(
        store_view_absences(v, 0, list.trials[0].id, absence_collect, &discarded, &f->e), 0);
    assert_int_equal(store_view_absences(v, 0, list.trials[4].id, absence_collect, &one, &f->e), 0);
    assert_int_equal(all, 3);
    assert_int_equal(discarded, 0);
    assert_int_equal(one, 1);
}

static void test_values_and_vectors(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct trial_list list;
    int64_t job_id = fixture_job_running(f, 1);
    int64_t id = attempt(f, job_id, 0);
    fixture_result(5, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    trials_get(f, (struct store_trial_filter){job_id, -1, false, 0, 0}, &list);
    double sums[3][2] = {{0}}, one[3][2] = {{0}};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_values(v, job_id, 0, value_collect, sums, &f->e), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_true(sums[i][0] == 1e6 + 5 + 0.25 * i && sums[i][1] == 4096.0 * (i + 1));
    assert_int_equal(store_view_values(v, 0, list.trials[2].id, value_collect, one, &f->e), 0);
    assert_true(one[0][0] == 0 && one[2][0] == sums[2][0]);
    assert_int_equal(
        store_view_vector(v, list.trials[0].id, METRIC_FORK_NS, vector_check, NULL, &f->e), 7);
    assert_int_equal(
        store_view_vector(v, list.trials[0].id, METRIC_HEAP_BYTES, vector_check, NULL, &f->e),
        -ENOENT);
}

struct cell_list {
    unsigned ok[FIXTURE_CELLS], failed[FIXTURE_CELLS], discarded[FIXTURE_CELLS];
    char last_failure[FIXTURE_CELLS][512];
};

static int cell_collect(void *ctx, const struct store_cell *cell)
{
    static const char *const allocators[] = {"glibc", "jemalloc", "mimalloc"};
    struct cell_list *list = ctx;
    assert_true(cell->idx < FIXTURE_CELLS);
    assert_string_equal(cell->allocator, allocators[cell->idx]);
    assert_string_equal(cell->options_key, cell->idx == 1 ? "thp-off" : "");
    assert_int_equal(cell->pages, cell->idx == 2 ? PAGES_THP : PAGES_4K);
    assert_int_equal(cell->group_idx, cell->idx == 2);
    assert_int_equal(cell->role, cell->idx == 0 ? ROLE_REFERENCE : ROLE_SUBJECT);
    list->ok[cell->idx] = cell->trials_ok;
    list->failed[cell->idx] = cell->trials_failed;
    list->discarded[cell->idx] = cell->trials_discarded;
    snprintf(list->last_failure[cell->idx], 512, "%s", cell->last_failure);
    return 0;
}

static void cells_get(struct fixture *f, int64_t job_id, struct cell_list *list)
{
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    *list = (struct cell_list){0};
    assert_int_equal(store_view_cells(v, job_id, cell_collect, list, &f->e), 0);
}

/* A crash, a discard and a good retry: counters of job and cells, texts, never merged. */
static void test_failures_are_told(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct trial_list list;
    struct cell_list cells;
    struct store_job job;
    int64_t job_id = fixture_job_running(f, 1);

    int64_t id = attempt(f, job_id, 0);
    fixture_result(1, &request, &result);
    result.runners[2].outcome = OUTCOME_CRASHED;
    result.runners[2].signal = 11;
    result.runners[2].exit_status = -1;
    result.runners[2].turns_done = 7;
    result.runners[2].sha256[0] = '\0';
    result.runners[2].slices_count = 0;
    snprintf(result.runners[2].message, sizeof result.runners[2].message, "in free()");
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);

    id = attempt(f, job_id, 1);
    fixture_result(2, &request, &result);
    result.discard = true;
    snprintf(result.discard_reason, sizeof result.discard_reason, "steal 4%%");
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
    id = attempt(f, job_id, 1);
    fixture_result(3, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);

    fixture_job_get(f, 1, &job);
    assert_int_equal(job.steps_done, 2);
    assert_int_equal(job.steps_failed, 1);
    assert_int_equal(job.steps_discarded, 1);
    store_job_done(&job);
    cells_get(f, job_id, &cells);
    assert_int_equal(cells.ok[0], 4); /* reference and control of two rings */
    assert_int_equal(cells.discarded[0], 2);
    assert_int_equal(cells.ok[1], 1);
    assert_int_equal(cells.failed[1], 1);
    assert_int_equal(cells.discarded[1], 1);
    assert_string_equal(cells.last_failure[0], "");
    assert_string_equal(cells.last_failure[1], "crashed: signal 11 after 7 of 20 turns: in free()");
    trials_get(f, (struct store_trial_filter){job_id, -1, true, 0, 0}, &list);
    assert_int_equal(list.count, 9);
    assert_string_equal(list.outcome[2], "crashed");
    assert_string_equal(list.sha256[2], "");
    assert_int_equal(list.trials[2].slices_count, 0);
    assert_string_equal(list.attempt_state[3], "discarded");
    assert_string_equal(list.discard_reason[3], "steal 4%");
    assert_int_equal(list.trials[6].attempt, 2);
    double sums[3][2] = {{0}};
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_values(v, job_id, 0, value_collect, sums, &f->e), 0);
    assert_true(sums[0][0] == 1e6 + 1 + 1e6 + 3); /* the discarded attempt's is not there */
}

struct attempt_case {
    const char *what;
    void (*prepare)(struct fixture *f, int64_t job_id, struct store_ring_new *ring);
    int result;
};

static void prepare_running(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)ring;
    (void)attempt(f, job_id, 0);
}

static void prepare_accepted(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)ring;
    struct exec_request request;
    struct exec_result result;
    int64_t id = attempt(f, job_id, 0);
    fixture_result(1, &request, &result);
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
}

static void prepare_failed(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)ring;
    struct err why = {.code = ERR_UNAVAILABLE, .message = "no such library"};
    int64_t id = attempt(f, job_id, 0);
    assert_int_equal(store_attempt_abandon(f->store, id, false, &why, &f->e), 0);
}

static void prepare_lost(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)ring;
    int64_t id = attempt(f, job_id, 0);
    assert_int_equal(store_attempt_abandon(f->store, id, true, NULL, &f->e), 0);
}

static void prepare_other_runners(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    prepare_lost(f, job_id, ring);
    ring->cells[2] = 2;
}

static void prepare_fewer_runners(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    prepare_lost(f, job_id, ring);
    ring->cells_count = 2;
}

static void prepare_no_such_cell(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)f;
    (void)job_id;
    ring->cells[1] = 99;
}

static void prepare_no_such_job(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)f;
    ring->job_id = job_id + 1000;
}

static void prepare_job_over(struct fixture *f, int64_t job_id, struct store_ring_new *ring)
{
    (void)job_id;
    (void)ring;
    char uuid[37];
    fixture_uuid(1, uuid);
    assert_int_equal(store_job_set_state(f->store, uuid, JOB_SUCCEEDED, NULL, &f->e), 0);
}

static void test_attempt_begin_cases(void **state)
{
    static const struct attempt_case cases[] = {
        {"while one runs", prepare_running, -EBUSY},
        {"after acceptance", prepare_accepted, -EBUSY},
        {"after a final failure", prepare_failed, -EBUSY},
        {"after a loss", prepare_lost, 0},
        {"with other runners", prepare_other_runners, -EBUSY},
        {"with fewer runners", prepare_fewer_runners, -EBUSY},
        {"of a cell that is not there", prepare_no_such_cell, -EINVAL},
        {"of a job that is not there", prepare_no_such_job, -ENOENT},
        {"of a job that is over", prepare_job_over, -EBUSY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        void *fresh;
        fixture_setup(&fresh);
        struct fixture *f = fresh;
        int64_t job_id = fixture_job_running(f, 1), id = -1;
        struct store_ring_new ring = fixture_ring(job_id, 0);
        char uuid[37];
        cases[i].prepare(f, job_id, &ring);
        int r = store_attempt_begin(f->store, &ring, "local", uuid, &id, &f->e);
        if (r != cases[i].result)
            fail_msg("begin %s: %d (%s)", cases[i].what, r, f->e.message);
        assert_true((r == 0) == (id != -1));
        fixture_teardown(&fresh);
    }
}

/* An attempt ends once. What comes later changes nothing, whatever it is. */
static void test_attempt_ends_once(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    int64_t job_id = fixture_job_running(f, 1), ids[4];
    struct err why = {.code = ERR_UNAVAILABLE, .message = "gone"};
    fixture_result(1, &request, &result);
    for (uint32_t i = 0; i < 4; i++)
        ids[i] = attempt(f, job_id, i);
    assert_int_equal(store_attempt_finish(f->store, ids[0], &request, &result, &f->e), 0);
    result.discard = true;
    assert_int_equal(store_attempt_finish(f->store, ids[1], &request, &result, &f->e), 0);
    result.discard = false;
    assert_int_equal(store_attempt_abandon(f->store, ids[2], true, &why, &f->e), 0);
    assert_int_equal(store_attempt_abandon(f->store, ids[3], false, &why, &f->e), 0);
    struct trial_list before, after;
    trials_get(f, (struct store_trial_filter){job_id, -1, true, 0, 0}, &before);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(store_attempt_finish(f->store, ids[i], &request, &result, &f->e), -EBUSY);
        assert_int_equal(f->e.code, ERR_CONFLICT);
        assert_int_equal(store_attempt_abandon(f->store, ids[i], i % 2, &why, &f->e), -EBUSY);
    }
    assert_int_equal(store_attempt_finish(f->store, 12345, &request, &result, &f->e), -ENOENT);
    assert_int_equal(store_attempt_abandon(f->store, 12345, true, &why, &f->e), -ENOENT);
    trials_get(f, (struct store_trial_filter){job_id, -1, true, 0, 0}, &after);
    assert_int_equal(before.count, 12);
    assert_int_equal(after.count, 12);
    assert_string_equal(after.outcome[6], "lost");
    assert_string_equal(after.outcome[9], "not_run");
    assert_string_equal(after.failure[9], "unavailable");
    assert_string_equal(after.message[9], "gone");
    struct cell_list cells;
    cells_get(f, job_id, &cells);
    assert_string_equal(cells.last_failure[1], "not_run: unavailable: gone");
    assert_int_equal(cells.failed[1], 1);
    struct store_job job;
    fixture_job_get(f, 1, &job);
    assert_int_equal(job.steps_done, 2);
    assert_int_equal(job.steps_failed, 1);
    assert_int_equal(job.steps_discarded, 1);
    store_job_done(&job);
}

static void test_finish_with_wrong_runners(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct trial_list list;
    int64_t job_id = fixture_job_running(f, 1), id = attempt(f, job_id, 0);
    fixture_result(1, &request, &result);
    result.runners_count = 2;
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), -EINVAL);
    result.runners_count = 3;
    result.runners[2].metrics[0].metric = METRIC_COUNT_;
    assert_true(store_attempt_finish(f->store, id, &request, &result, &f->e) < 0);
    trials_get(f, (struct store_trial_filter){job_id, -1, true, 0, 0}, &list);
    assert_int_equal(list.count, 0); /* not half of it either */
    result.runners[2].metrics[0].metric = METRIC_PAIRS_PER_S;
    assert_int_equal(store_attempt_finish(f->store, id, &request, &result, &f->e), 0);
}

struct step_list {
    unsigned count;
    struct store_step steps[8];
};

static int step_collect(void *ctx, const struct store_step *step)
{
    struct step_list *list = ctx;
    list->steps[list->count++] = *step;
    return 0;
}

static void test_steps(void **state)
{
    struct fixture *f = *state;
    struct exec_request request;
    struct exec_result result;
    struct step_list list = {0};
    int64_t job_id = fixture_job_running(f, 1);
    fixture_result(1, &request, &result);
    result.discard = true;
    assert_int_equal(
        store_attempt_finish(f->store, attempt(f, job_id, 2), &request, &result, &f->e), 0);
    (void)attempt(f, job_id, 2);
    result.discard = false;
    assert_int_equal(
        store_attempt_finish(f->store, attempt(f, job_id, 1), &request, &result, &f->e), 0);
    assert_int_equal(store_attempt_abandon(f->store, attempt(f, job_id, 0), false, NULL, &f->e), 0);
    cleanup_(store_view_release_p) struct store_view *v = fixture_view(f);
    assert_int_equal(store_view_steps(v, job_id, step_collect, &list, &f->e), 0);
    assert_int_equal(list.count, 3);
    assert_true(!list.steps[0].accepted && list.steps[0].failed && list.steps[0].attempts == 1);
    assert_true(list.steps[1].accepted && !list.steps[1].failed && list.steps[1].discards == 0);
    assert_true(!list.steps[2].accepted && !list.steps[2].failed && list.steps[2].attempts == 2 &&
                list.steps[2].discards == 1 && list.steps[2].repetition == 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_trial_round_trip),
        TEST(test_values_and_vectors),
        TEST(test_absences),
        TEST(test_failures_are_told),
        cmocka_unit_test(test_attempt_begin_cases),
        TEST(test_attempt_ends_once),
        TEST(test_finish_with_wrong_runners),
        TEST(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
