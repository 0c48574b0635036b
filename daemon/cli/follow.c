/* Waiting for a job by its event stream. A stream that breaks is taken up again after the last
 * event seen; the job itself, asked between two streams, is the truth about its state. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/progress.h"
#include "daemon/cli/term.h"

#define RETRIES_MAX   8
#define RETRY_MS      200 /* doubled each time */
#define RETRY_MS_MAX  5000
#define TIMEOUT_S_MAX 31536000

struct follow {
    struct cli *c;
    struct progress progress;
    struct sse sse;
    uint64_t deadline_ns; /* 0: none */
    unsigned interrupts;  /* already answered when this wait began */
    bool ended, timed_out;
    unsigned events; /* of this stream */
};

static void number_take(const json_t *data, const char *key, double *where)
{
    double value = member_real(data, key);
    if (isfinite(value))
        *where = value;
}

static void progress_take(struct progress *p, const json_t *data)
{
    number_take(data, "steps_total", &p->steps_total);
    number_take(data, "steps_done", &p->steps_done);
    number_take(data, "steps_failed", &p->steps_failed);
    number_take(data, "steps_discarded", &p->steps_discarded);
    number_take(data, "steps_given_up", &p->steps_given_up);
    if (json_object_get(data, "seconds_left")) {
        p->seconds_left = member_real(data, "seconds_left");
        p->told_ns = clock_monotonic_ns();
    }
    if (member_text(data, "workload")[0]) {
        char what[sizeof p->what];
        snprintf(what, sizeof what, "%.64s T=%.0f", member_text(data, "workload"),
                 member_real(data, "threads"));
        term_clean(p->what, sizeof p->what, what);
    }
    if (member_text(data, "state")[0])
        term_clean(p->state, sizeof p->state, member_text(data, "state"));
}

static bool on_event(void *ctx, const char *event, const char *data, const char *id)
{
    struct follow *f = ctx;
    (void)id;
    cleanup_(json_decref_p) json_t *json = json_loads(data, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        f->events = 0; /* not our protocol: counts as a broken stream */
        return false;
    }
    f->events++;
    progress_take(&f->progress, json);
    progress_show(&f->progress);
    f->ended = strcmp(event, "end") == 0;
    return !f->ended;
}

static bool on_tick(void *ctx)
{
    struct follow *f = ctx;
    f->timed_out = f->deadline_ns && clock_monotonic_ns() >= f->deadline_ns;
    if (f->progress.is_terminal)
        progress_show(&f->progress);
    return !f->timed_out;
}

static enum cli_exit deadline_set(struct follow *f)
{
    const char *text = cli_value(f->c, OPTION_TIMEOUT);
    uint64_t seconds;
    if (!text)
        return CLI_OK;
    if (text_parse_u64(text, &seconds) < 0 || seconds == 0 || seconds > TIMEOUT_S_MAX)
        return cli_fail(f->c, CLI_USAGE, "--timeout %s: not 1 to %d seconds", text, TIMEOUT_S_MAX);
    f->deadline_ns = clock_monotonic_ns() + seconds * NS_PER_S;
    return CLI_OK;
}

static enum cli_exit left_waiting(struct follow *f, enum cli_exit code, const char *id)
{
    return cli_fail(f->c, code,
                    "%s; job %s goes on\n  wait again: heapmark watch %s\n  stop it: heapmark "
                    "cancel %s",
                    code == CLI_TIMEOUT ? "not finished in time" : "interrupted", id, id, id);
}

static void retry_sleep(unsigned failures)
{
    unsigned ms = RETRY_MS;
    for (unsigned i = 1; i < failures && ms < RETRY_MS_MAX; i++)
        ms *= 2;
    if (ms > RETRY_MS_MAX)
        ms = RETRY_MS_MAX;
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&wait, NULL); /* an interrupt may cut it short; the caller looks */
}

/* One stream, then the job's own word. Sets *ret_job when it is final. */
static enum cli_exit follow_once(struct follow *f, const char *id, const char *events_path,
                                 json_t **ret_job)
{
    const struct client_stream stream = {.sse = &f->sse, .tick = on_tick, .ctx = f};
    cleanup_(json_decref_p) json_t *job = NULL;
    f->events = 0;
    f->ended = false;
    enum cli_exit code = client_events(f->c->client, events_path, &stream, &f->c->err);
    if (code != CLI_OK && code != CLI_UNREACHABLE)
        return code;
    if (f->timed_out)
        return CLI_TIMEOUT;
    code = job_get(f->c, id, &job);
    if (code == CLI_OK)
        progress_take(&f->progress, job);
    if (code == CLI_OK && job_is_final(job))
        *ret_job = take_ptr(job);
    return code;
}

static enum cli_exit follow_loop(struct follow *f, const char *id, json_t **ret_job)
{
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs";
    enum cli_exit code = client_path_segment(path, id, &f->c->err);
    if (code != CLI_OK)
        return code;
    text_copy(path + strlen(path), sizeof path - strlen(path), "/events");
    for (unsigned failures = 0; !*ret_job;) {
        code = follow_once(f, id, path, ret_job);
        if (cli_interrupts() > f->interrupts && !*ret_job)
            return left_waiting(f, CLI_INTERRUPTED, id);
        if (code == CLI_TIMEOUT && f->timed_out)
            return left_waiting(f, CLI_TIMEOUT, id);
        if (code != CLI_OK && code != CLI_UNREACHABLE && code != CLI_TIMEOUT)
            return code;
        failures = f->events ? 0 : failures + 1;
        if (failures > RETRIES_MAX)
            return code != CLI_OK ? code
                                  : cli_fail(f->c, CLI_UNREACHABLE,
                                             "the server's event stream of job %s is broken", id);
        if (!*ret_job)
            retry_sleep(failures + 1);
    }
    return CLI_OK;
}

enum cli_exit job_follow(struct cli *c, const char *id, json_t **ret_job)
{
    cleanup_(free_p) struct follow *f = calloc(1, sizeof *f);
    cleanup_(json_decref_p) json_t *job = NULL;
    if (!f)
        return cli_fail(c, CLI_FAILED, "out of memory");
    f->c = c;
    f->interrupts = cli_interrupts();
    client_interrupts_accept(c->client);
    f->sse.handler = on_event;
    f->sse.ctx = f;
    progress_init(&f->progress, c->quiet);
    enum cli_exit code = deadline_set(f);
    if (code == CLI_OK)
        code = job_get(c, id, &job);
    if (code != CLI_OK)
        return code;
    progress_take(&f->progress, json_object_get(job, "progress"));
    progress_take(&f->progress, job);
    if (job_is_final(job)) {
        *ret_job = take_ptr(job);
        return CLI_OK;
    }
    progress_show(&f->progress);
    json_t *final = NULL;
    code = follow_loop(f, id, &final);
    progress_clear(&f->progress);
    if (code == CLI_OK)
        *ret_job = final;
    return code;
}
