/* /jobs: submit, list, get (with long-poll), cancel. */
#include "daemon/api/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/hash.h"
#include "daemon/base/text.h"

#define IDEMPOTENCY_KEY_MAX 128
#define RETRY_AFTER_TEXT    "1"

/* ---- rendering ---- */

static void write_label(struct writer *w, const char *name, const char *value)
{
    if (value[0])
        w_str(w, name, value);
}

static void write_labels(struct writer *w, const struct job_labels *l)
{
    w_open(w, "labels", '{');
    write_label(w, "project", l->project);
    write_label(w, "commit", l->commit);
    write_label(w, "parent", l->parent);
    if (l->sequence)
        w_u64(w, "sequence", l->sequence);
    write_label(w, "branch", l->branch);
    write_label(w, "tag", l->tag);
    if (l->time_us)
        w_time(w, "time", l->time_us);
    w_end(w, '}');
}

/* From the pace so far; null before the first step and when nothing runs. */
static void write_seconds_left(struct writer *w, const struct store_job *job)
{
    uint32_t done = job->steps_done;
    if (job->state != JOB_RUNNING || done == 0 || !job->started_us || done > job->steps_total) {
        w_null(w, "seconds_left");
        return;
    }
    double elapsed = (double)(clock_realtime_us() - job->started_us) / 1e6;
    double left = elapsed / done * (job->steps_total - done);
    w_int(w, "seconds_left", left < 0 ? 0 : (int64_t)(left + 0.5));
}

static void write_progress(struct writer *w, const struct store_job *job)
{
    w_open(w, "progress", '{');
    w_u64(w, "steps_total", job->steps_total);
    w_u64(w, "steps_done", job->steps_done);
    w_u64(w, "steps_failed", job->steps_failed);
    w_u64(w, "steps_discarded", job->steps_discarded);
    w_u64(w, "steps_given_up", job->steps_given_up);
    write_seconds_left(w, job);
    w_end(w, '}');
}

static void write_links(struct writer *w, const char *uuid)
{
    static const char *const parts[] = {"cells", "trials", "results", "events"};
    char link[128];
    w_open(w, "links", '{');
    snprintf(link, sizeof link, API_PREFIX "/jobs/%s", uuid);
    w_str(w, "self", link);
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(link, sizeof link, API_PREFIX "/jobs/%s/%s", uuid, parts[i]);
        w_str(w, parts[i], link);
    }
    w_end(w, '}');
}

static void write_job_error(struct writer *w, const struct err *error)
{
    if (error->code == ERR_NONE) {
        w_null(w, "error");
        return;
    }
    w_open(w, "error", '{');
    w_str(w, "code", err_code_name(error->code));
    w_str(w, "field", error->field);
    w_str(w, "message", error->message);
    w_end(w, '}');
}

void write_job(struct writer *w, const char *key, const struct store_job *job, bool with_spec)
{
    if (key)
        w_open(w, key, '{');
    else
        w_begin(w, '{');
    w_str(w, "id", job->uuid);
    w_str(w, "state", job_state_name(job->state));
    w_str(w, "name", job->name);
    w_str_or_null(w, "preset", job->preset);
    w_str(w, "profile", job->profile);
    write_labels(w, &job->labels);
    w_str(w, "principal", job->principal);
    w_str_or_null(w, "host_key", job->host_key);
    w_time(w, "created", job->created_us);
    w_time(w, "started", job->started_us);
    w_time(w, "finished", job->finished_us);
    w_u64(w, "cells_count", job->cells_count);
    write_progress(w, job);
    w_bool(w, "cancel_requested", job->cancel_requested);
    w_u64(w, "attempts", job->attempts);
    write_job_error(w, &job->error);
    write_links(w, job->uuid);
    if (with_spec)
        w_raw(w, "spec", job->spec_json && *job->spec_json ? job->spec_json : "null");
    w_end(w, '}');
}

/* ---- submit ---- */

static int uuid_make(char ret[37], struct err *e)
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return err_set(e, ERR_IO, NULL, "no random numbers");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562: version 4, variant 10 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char hex[33];
    text_hex(b, sizeof b, hex);
    snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return 0;
}

static void write_plan_cell(struct writer *w, const struct job_spec *spec,
                            const struct job_plan *plan, uint32_t index)
{
    const struct job_cell *cell = &plan->cells[index];
    const struct job_group *group = &plan->groups[cell->group];
    char options[JOB_OPTIONS_KEY_MAX];
    job_options_key(&spec->subjects[cell->subject], options);
    w_begin(w, '{');
    w_u64(w, "index", index);
    w_u64(w, "group", cell->group);
    w_str(w, "workload", group->entry->workload->name);
    write_point_params(w, group->entry->workload, &cell->point);
    w_str(w, "params_key", group->params_key);
    w_u64(w, "threads", cell->point.threads);
    w_str(w, "pages", page_mode_name(cell->point.pages));
    write_subject(w, spec->subjects[cell->subject].allocator, options);
    w_str(w, "role", store_role_name(index == group->cells_first ? ROLE_REFERENCE : ROLE_SUBJECT));
    w_end(w, '}');
}

static int reply_dry_run(const struct job_spec *spec, const struct job_plan *plan,
                         struct http_reply *reply, struct err *e)
{
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    w_u64(&w, "cells_count", plan->cells_count);
    w_u64(&w, "steps", plan->steps);
    w_num(&w, "seconds_estimate", plan->seconds_estimate);
    w_u64(&w, "memory_bytes_estimate", plan->memory_bytes_estimate);
    w_open(&w, "cells", '[');
    for (uint32_t i = 0; i < plan->cells_count; i++)
        write_plan_cell(&w, spec, plan, i);
    w_end(&w, ']');
    w_json(&w, "spec", job_spec_json(spec));
    w_end(&w, '}');
    return w_reply(&w, reply, e);
}

static int check_queue(struct api_context *api, struct err *e)
{
    if (api_draining(api))
        return err_set(e, ERR_CANCELLED, NULL, "the server is stopping; submit again later");
    if (!api->jobs_queued_max)
        return 0;
    struct store_stats stats;
    int r = store_stats(api->store, &stats, e);
    if (r < 0)
        return r;
    if (stats.jobs_by_state[JOB_QUEUED] >= api->jobs_queued_max)
        return err_set(e, ERR_LIMIT, NULL, "%u jobs are queued already; try again later",
                       api->jobs_queued_max);
    return 0;
}

/* Keys of different clients never meet: the principal is part of what is stored. */
static int idempotency_key(const struct http_request *rq, char *buf, size_t size, struct err *e)
{
    const char *key = rq->idempotency_key;
    size_t length = strlen(key);
    if (length == 0 || length > IDEMPOTENCY_KEY_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, NULL, "Idempotency-Key has %zu bytes, must be 1 to %d",
                       length, IDEMPOTENCY_KEY_MAX);
    snprintf(buf, size, "%s:%s", rq->principal.name, key);
    return 0;
}

/* The options keys of all subjects, one string each, in one block: freed together. */
static char (*subject_keys(const struct job_spec *spec))[JOB_OPTIONS_KEY_MAX]
{
    char(*keys)[JOB_OPTIONS_KEY_MAX] =
        calloc(spec->subjects_count ? spec->subjects_count : 1, sizeof *keys);
    for (uint32_t i = 0; keys && i < spec->subjects_count; i++)
        job_options_key(&spec->subjects[i], keys[i]);
    return keys;
}

static void fill_cells(const struct job_spec *spec, const struct job_plan *plan,
                       char (*keys)[JOB_OPTIONS_KEY_MAX], struct store_cell_new *cells)
{
    for (uint32_t i = 0; i < plan->cells_count; i++) {
        const struct job_cell *cell = &plan->cells[i];
        const struct job_group *group = &plan->groups[cell->group];
        cells[i] = (struct store_cell_new){
            .idx = i,
            .group_idx = cell->group,
            .workload = group->entry->workload->name,
            .params_key = group->params_key,
            .allocator = spec->subjects[cell->subject].allocator,
            .options_key = keys[cell->subject],
            .threads = cell->point.threads,
            .pages = cell->point.pages,
            .role = i == group->cells_first ? ROLE_REFERENCE : ROLE_SUBJECT,
        };
    }
}

static int job_store(struct api_context *api, const struct http_request *rq,
                     const struct job_spec *spec, const struct job_plan *plan, char ret_uuid[37],
                     bool *ret_replayed, struct err *e)
{
    char uuid[37], body_sha256[SHA256_HEX_SIZE];
    char key[HTTP_PRINCIPAL_MAX + IDEMPOTENCY_KEY_MAX + 2];
    int r = uuid_make(uuid, e);
    if (r == 0 && rq->idempotency_key)
        r = idempotency_key(rq, key, sizeof key, e);
    if (r < 0)
        return r;
    hash_sha256_hex(rq->body, rq->body_size, body_sha256);
    json_t *json = job_spec_json(spec);
    cleanup_(free_p) char *spec_json = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    cleanup_(free_p) struct store_cell_new *cells = calloc(plan->cells_count, sizeof *cells);
    cleanup_(free_p) char(*keys)[JOB_OPTIONS_KEY_MAX] = subject_keys(spec);
    if (!spec_json || !cells || !keys)
        return err_set(e, ERR_IO, NULL, "out of memory");
    fill_cells(spec, plan, keys, cells);
    struct store_job_new job = {
        .uuid = uuid,
        .name = spec->name,
        .preset = spec->preset,
        .profile = spec->profile,
        .spec_json = spec_json,
        .labels = &spec->labels,
        .cells = cells,
        .cells_count = plan->cells_count,
        .steps_total = plan->steps,
        .principal = rq->principal.name,
        .idempotency_key = rq->idempotency_key ? key : NULL,
        .body_sha256 = body_sha256,
    };
    return store_job_add(api->store, &job, ret_uuid, ret_replayed, e);
}

static int reply_job(struct api_context *api, const char *uuid, const char *key, bool with_spec,
                     struct http_reply *reply, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_(store_job_done) struct store_job job = {0};
    int r = view_acquire(api, &v, e);
    if (r == 0)
        r = view_job(v, uuid, &job, e);
    if (r < 0)
        return r;
    cleanup_writer struct writer w = {0};
    if (key)
        w_begin(&w, '{');
    write_job(&w, key, &job, with_spec);
    if (key)
        w_end(&w, '}');
    return w_reply(&w, reply, e);
}

static int jobs_post(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    cleanup_(job_spec_free_p) struct job_spec *spec = NULL;
    cleanup_(job_plan_free_p) struct job_plan *plan = NULL;
    int r = job_parse(rq->body, rq->body_size, api->limits, &spec, e);
    if (r == 0)
        r = job_expand(spec, api->limits, &plan, e);
    if (r < 0)
        return r;
    assert(plan);
    if (http_query_count(rq, "dry_run", 0))
        return reply_dry_run(spec, plan, reply, e);
    r = check_queue(api, e);
    if (r < 0)
        return r;
    while (spec->seed == 0)
        if (getrandom(&spec->seed, sizeof spec->seed, 0) == (ssize_t)sizeof spec->seed)
            spec->seed >>= 11; /* 53 bits: every JSON reader keeps it exactly */
    char uuid[37], location[96];
    bool replayed = false;
    r = job_store(api, rq, spec, plan, uuid, &replayed, e);
    if (r < 0)
        return r;
    api->queue.wake(api->queue.ctx);
    snprintf(location, sizeof location, API_PREFIX "/jobs/%s", uuid);
    http_reply_status(reply, 202);
    http_reply_header(reply, "Location", location);
    http_reply_header(reply, "Retry-After", RETRY_AFTER_TEXT);
    if (replayed)
        http_reply_header(reply, "Idempotency-Replayed", "true");
    return reply_job(api, uuid, "job", false, reply, e);
}

/* ---- list ---- */

static int jobs_page_each(void *ctx, const struct store_job *job)
{
    struct list_page *page = ctx;
    if (list_page_take(page, job->id))
        write_job(page->w, NULL, job, false);
    return 0;
}

static int jobs_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    const char *state = http_query_get(rq, "state");
    struct store_job_filter filter = {
        .state = state ? job_state_parse(state) : -1,
        .project = http_query_get(rq, "project"),
        .branch = http_query_get(rq, "branch"),
        .commit = http_query_get(rq, "commit"),
        .preset = http_query_get(rq, "preset"),
        .before_id = list_cursor(rq),
        .limit = list_limit(rq) + 1,
    };
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, rq);
    int r = view_acquire(api_of(ctx), &v, e);
    if (r == 0)
        r = store_view_jobs(v, &filter, jobs_page_each, &page, e);
    return r < 0 ? r : list_page_reply(&page, rq, reply, e);
}

/* ---- get, with long-poll ---- */

int job_is_final(struct api_context *api, const char *uuid, enum job_state *ret_state,
                 struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_(store_job_done) struct store_job job = {0};
    int r = view_acquire(api, &v, e);
    if (r == 0)
        r = view_job(v, uuid, &job, e);
    if (r < 0)
        return r;
    *ret_state = job.state;
    return job_state_final(job.state);
}

static void wait_wake(void *rq)
{
    http_unpark(rq);
}

static void wait_free(void *subscription)
{
    events_unsubscribe(subscription);
}

static int job_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    uint64_t wait_s = http_query_count(rq, "wait", 0);
    if (wait_s > 0 && !rq->park_expired) {
        /* Follow first, look second: an end between the two still wakes us. */
        if (!rq->user) {
            rq->user = events_subscribe(api->events, rq->params[0], 0, wait_wake, rq);
            rq->user_free = wait_free;
        }
        enum job_state state;
        int r = job_is_final(api, rq->params[0], &state, e);
        if (r < 0)
            return r;
        if (r == 0 && rq->user) {
            http_park(rq, (uint32_t)wait_s * 1000);
            return HTTP_PARKED;
        }
    }
    http_reply_etag(reply);
    return reply_job(api, rq->params[0], NULL, true, reply, e);
}

/* ---- cancel ---- */

static int job_cancel(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    struct api_context *api = api_of(ctx);
    enum job_state state;
    int r = job_is_final(api, rq->params[0], &state, e); /* 404 for what is no id */
    if (r < 0)
        return r;
    bool over = job_state_final(state);
    r = store_job_cancel(api->store, rq->params[0], &state, e);
    if (r < 0)
        return r;
    /* A queued job ends right here, unseen by the scheduler: who waits for it must hear so. */
    if (!over && state == JOB_CANCELLED)
        events_publish(api->events, rq->params[0], "end", "{\"state\":\"cancelled\"}");
    if (!job_state_final(state)) {
        api->queue.cancel(api->queue.ctx, rq->params[0]);
        http_reply_status(reply, 202);
    }
    return reply_job(api, rq->params[0], NULL, false, reply, e);
}

static const char *const state_choices[] = {"queued", "claimed",   "running", "succeeded",
                                            "failed", "cancelled", "lost",    NULL};

static const struct http_query_row jobs_query[] = {
    {.name = "state", .type = HTTP_CHOICE, .choices = state_choices, .help = "Only jobs in it."},
    {.name = "project", .type = HTTP_TEXT, .help = "Only this label."},
    {.name = "branch", .type = HTTP_TEXT, .help = "Only this label."},
    {.name = "commit", .type = HTTP_TEXT, .help = "Only this label."},
    {.name = "preset", .type = HTTP_TEXT, .help = "Only jobs made from it."},
    QUERY_LIMIT,
    QUERY_CURSOR,
    {0},
};
static const struct http_query_row submit_query[] = {
    {.name = "dry_run",
     .type = HTTP_COUNT,
     .max = 1,
     .help = "1: only say what the job would be; nothing is stored."},
    {0},
};
static const struct http_query_row job_query[] = {
    {.name = "wait",
     .type = HTTP_COUNT,
     .max = API_WAIT_S_MAX,
     .help = "Answer when the job has ended, or after so many seconds."},
    {0},
};

const struct http_route jobs_routes[] = {
    {.method = HTTP_POST,
     .pattern = API_PREFIX "/jobs",
     .scope = SCOPE_SUBMIT,
     .flags = HTTP_BODY,
     .handle = jobs_post,
     .query = submit_query,
     .name = "submitJob",
     .summary = "Submit a job; 202 means it is stored durably. dry_run=1 only plans it (200).",
     .returns = "Submitted",
     .accepts = "JobRequest",
     .success = 202},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs",
     .scope = SCOPE_READ,
     .handle = jobs_get,
     .query = jobs_query,
     .name = "listJobs",
     .summary = "Jobs, newest first.",
     .returns = "JobList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/jobs/{id}",
     .scope = SCOPE_READ,
     .handle = job_get,
     .query = job_query,
     .name = "getJob",
     .summary = "One job with its canonical specification.",
     .returns = "Job"},
    {.method = HTTP_POST,
     .pattern = API_PREFIX "/jobs/{id}/cancel",
     .scope = SCOPE_SUBMIT,
     .handle = job_cancel,
     .name = "cancelJob",
     .summary = "Ask a job to stop; again is no error. 202 while it is stopping.",
     .returns = "Job"},
    {0},
};
