/* The scheduler's thread: claim, expand, run every step in a random order that interleaves all
 * cells, store, summarise. All state of a running job is here and in the store; a crash at any
 * point costs the running attempt only. */
#include "daemon/job/scheduler.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"
#include "daemon/job/run.h"
#include "daemon/store/store.h"

struct scheduler {
    struct scheduler_config config;
    pthread_t thread;
    pthread_mutex_t lock; /* of the fields down to running */
    pthread_cond_t wake;
    bool pending, stopping, drain;
    char running[37];       /* UUID of the job in hand, "" when idle */
    _Atomic bool interrupt; /* relaxed; polled by the executor: break the running ring off */
    _Atomic bool cancelled; /* relaxed; the running job was cancelled */
};

static bool scheduler_stopping(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    return stopping;
}

bool scheduler_should_end(struct scheduler *s)
{
    return atomic_load_explicit(&s->cancelled, memory_order_relaxed) || scheduler_stopping(s);
}

static void scheduler_take(struct scheduler *s, const char *uuid)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->running, sizeof s->running, "%s", uuid);
    atomic_store_explicit(&s->cancelled, false, memory_order_relaxed);
    if (!s->stopping)
        atomic_store_explicit(&s->interrupt, false, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
}

/* A cancel may have come between claim and scheduler_take(): the store knows. */
static bool cancel_requested(struct scheduler *s, const char *uuid)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    struct store_job job = {0};
    if (store_view_acquire(s->config.store, 10000, &view, NULL) < 0 ||
        store_view_job(view, uuid, &job, NULL) < 0)
        return false;
    bool requested = job.cancel_requested;
    store_job_done(&job);
    return requested;
}

static void publish_state(struct scheduler *s, const char *uuid, enum job_state state)
{
    char data[64];
    snprintf(data, sizeof data, "{\"state\":\"%s\"}", job_state_name(state));
    events_publish(s->config.events, uuid, job_state_final(state) ? "end" : "state", data);
}

/* A state that cannot be stored now (full disk) is tried again: forgetting it would leave a job
 * running for ever. */
static void set_state(struct scheduler *s, const char *uuid, enum job_state state,
                      const struct err *why)
{
    struct err e = {0};
    while (store_job_set_state(s->config.store, uuid, state, why, &e) < 0) {
        log_error("job %s: cannot store state %s: %s", uuid, job_state_name(state), e.message);
        if (e.code != ERR_NO_SPACE || scheduler_stopping(s))
            return;
        nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    }
    publish_state(s, uuid, state);
    log_info("job %s: %s%s%s", uuid, job_state_name(state), why ? ": " : "",
             why ? why->message : "");
}

static void scheduler_job(struct scheduler *s, const struct store_job *job)
{
    scheduler_take(s, job->uuid);
    if (cancel_requested(s, job->uuid))
        atomic_store_explicit(&s->cancelled, true, memory_order_relaxed);
    struct run_config config = {
        .scheduler = s,
        .store = s->config.store,
        .executor = s->config.executor,
        .events = s->config.events,
        .limits = s->config.limits,
        .host_key = job->host_key,
        .attempts_max = s->config.attempts_max,
        .interrupt = &s->interrupt,
    };
    struct err why = {0};
    set_state(s, job->uuid, JOB_RUNNING, NULL);
    int r = run_job(&config, job, &why);
    if (atomic_load_explicit(&s->cancelled, memory_order_relaxed))
        set_state(s, job->uuid, JOB_CANCELLED, NULL);
    else if (r == -EINTR)
        set_state(s, job->uuid, JOB_QUEUED, NULL);
    else
        set_state(s, job->uuid, r < 0 ? JOB_FAILED : JOB_SUCCEEDED, r < 0 ? &why : NULL);
    scheduler_take(s, "");
}

/* Sleeps until woken; no timer, so an idle daemon does not wake up. */
static bool scheduler_wait(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->pending && !s->stopping)
        pthread_cond_wait(&s->wake, &s->lock);
    s->pending = false;
    bool go_on = !s->stopping;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void *scheduler_main(void *arg)
{
    struct scheduler *s = arg;
    pthread_setname_np(pthread_self(), "scheduler");
    for (;;) {
        struct store_job job = {0};
        struct err e = {0};
        char key[65];
        int r = scheduler_stopping(s) ? 0 : s->config.host_key(s->config.host_ctx, key, &e);
        if (r == 0 && !scheduler_stopping(s))
            r = store_job_claim(s->config.store, key, &job, &e);
        if (r > 0) {
            scheduler_job(s, &job);
            store_job_done(&job);
            continue;
        }
        if (r < 0) {
            log_error("cannot claim a job: %s; trying again", e.message);
            nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
            if (!scheduler_stopping(s))
                continue;
        }
        if (!scheduler_wait(s))
            return NULL;
    }
}

int scheduler_start(const struct scheduler_config *config, struct scheduler **ret, struct err *e)
{
    struct scheduler *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    int r = pthread_create(&s->thread, NULL, scheduler_main, s);
    if (r != 0) {
        free(s);
        return err_set_errno(e, ERR_IO, r, "cannot start the scheduler's thread");
    }
    *ret = s;
    return 0;
}

void scheduler_wake(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->pending = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void scheduler_cancel(struct scheduler *s, const char *job_uuid)
{
    pthread_mutex_lock(&s->lock);
    if (strcmp(s->running, job_uuid) == 0) {
        atomic_store_explicit(&s->cancelled, true, memory_order_relaxed);
        atomic_store_explicit(&s->interrupt, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->lock);
}

void scheduler_interrupt(struct scheduler *s)
{
    atomic_store_explicit(&s->interrupt, true, memory_order_relaxed);
}

void scheduler_stop(struct scheduler *s, bool drain)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    if (!drain)
        atomic_store_explicit(&s->interrupt, true, memory_order_relaxed);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    free(s);
}
