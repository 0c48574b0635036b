#include "tests/job/world.h"

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
#include "daemon/store/db.h"
#include "daemon/store/store.h"
#include "tests/lib/remove_tree.h"

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

int behave_well(struct script *s, const struct exec_request *q, struct exec_result *ret,
                struct err *e)
{
    (void)e;
    s->prefaulted += q->prefault_bytes > 0;
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
void *must_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        abort();
    return p;
}

static int host_key(void *ctx, char ret_key[65], struct err *e)
{
    (void)ctx;
    (void)e;
    snprintf(ret_key, 65, "host");
    return 0;
}

void world_start(struct world *w)
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

void world_stop(struct world *w)
{
    scheduler_stop(w->scheduler, false);
    scheduler_free(w->scheduler);
    events_free(w->events);
    store_close(w->store);
}

struct world *world_new(void)
{
    struct world *w = must_alloc(sizeof *w);
    w->seed = 5;
    strcpy(w->directory, "/tmp/heapmark-sched-XXXXXX");
    assert_non_null(mkdtemp(w->directory));
    w->script =
        (struct script){.base = {.name = "script", .run = script_run}, .behave = behave_well};
    return w;
}

void world_free(struct world *w)
{
    assert_int_equal(remove_tree(w->directory), 0);
    free(w);
}

void world_end(struct world *w, struct store_job *job)
{
    store_job_done(job);
    world_stop(w);
    world_free(w);
}

static const char job_format[] =
    "{\"allocators\":[\"glibc\",\"jemalloc\",\"null\"],\"reference\":\"glibc\",\"seed\":%u,"
    "\"workloads\":[{\"workload\":\"table-churn\",\"params\":{\"live\":1000}},"
    "{\"workload\":\"table-cold\",\"pages\":\"%s\"}],"
    "\"repeat\":{\"rings\":7,\"rotations\":4,\"blocks\":7}}";

/* With `cells_missing` the store has fewer cells than the plan. */
void submit_without(struct world *w, uint32_t cells_missing, char uuid[37])
{
    struct job_spec *spec = NULL;
    struct job_plan *plan = NULL;
    struct err e = {0};
    char job_text[sizeof job_format + 32];
    snprintf(job_text, sizeof job_text, job_format, w->seed, w->cold_pages ? w->cold_pages : "4k");
    if (job_parse(job_text, strlen(job_text), &limits, &spec, &e) < 0 ||
        job_expand(spec, &limits, &plan, &e) < 0) {
        fail_msg("%s", e.message);
        abort(); /* the analyzer does not know that fail_msg never returns */
    }
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

void submit(struct world *w, char uuid[37])
{
    submit_without(w, 0, uuid);
}

void look(struct world *w, const char *uuid, struct store_job *ret)
{
    struct store_view *view;
    struct err e = {0};
    assert_int_equal(store_view_acquire(w->store, 1000, &view, &e), 0);
    assert_int_equal(store_view_job(view, uuid, ret, &e), 0);
    store_view_release(view);
}

enum job_state wait_final(struct world *w, const char *uuid, struct store_job *ret)
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

static int summary_keep(void *ctx, const struct store_summary *row)
{
    struct found *f = ctx;
    struct store_summary *to = &f->rows[f->count];
    *to = *row;
    to->reason = memccpy(f->reasons[f->count], row->reason, 0, sizeof f->reasons[0] - 1)
                     ? f->reasons[f->count]
                     : "too long";
    f->count++;
    return 0;
}

void summaries(struct world *w, int64_t job_id, struct found *f)
{
    struct store_view *view;
    struct err e = {0};
    f->count = 0;
    assert_int_equal(store_view_acquire(w->store, 1000, &view, &e), 0);
    assert_int_equal(store_view_summaries(view, job_id, summary_keep, f, &e), 0);
    store_view_release(view);
}

const struct store_summary *row_of(const struct found *f, uint32_t cell, enum metric_id m)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->rows[i].cell_idx == cell && f->rows[i].metric == m)
            return &f->rows[i];
    print_error("no summary of cell %u, metric %d\n", cell, (int)m);
    abort();
}

void tamper(struct world *w, const char *sql)
{
    char path[128];
    struct db db;
    struct err e = {0};
    snprintf(path, sizeof path, "%s/heapmark.db", w->directory);
    if (db_open(&db, path, true, &e) < 0 || db_exec(&db, sql, &e) < 0)
        fail_msg("%s: %s", sql, e.message);
    db_close(&db);
}

void assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) <= 1e-9 * fabs(wanted) + 1e-12))
        fail_msg("%.17g is not %.17g", value, wanted);
}

void wait_runs(struct world *w, unsigned runs)
{
    uint64_t end = clock_monotonic_ns() + 30 * NS_PER_S;
    while (w->script.runs < runs && clock_monotonic_ns() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(w->script.runs >= runs);
}
