/* Progress events of jobs: a ring of the last EVENTS_KEPT per job, and who follows it.
 *
 * One lock for the bus. A subscriber is woken without it, so that its wake may take locks of its
 * own that are held while it calls events_next; `waking` keeps it alive meanwhile, and
 * events_unsubscribe waits for that to end. */
#include "daemon/job/events.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"

#define WAKE_BATCH 32

struct event {
    uint64_t id;
    char type[12];
    char *data; /* owned */
};

struct topic {
    struct topic *next;
    char job_uuid[37];
    uint64_t last_id; /* of the newest event; 0: none yet */
    bool ended;
    unsigned publishing;              /* publishers that let go of the lock while waking */
    uint64_t ended_order;             /* of the bus: who ended longest ago goes first */
    struct event events[EVENTS_KEPT]; /* event i lies at i % EVENTS_KEPT */
    struct events_subscription *subscriptions;
};

struct events_subscription {
    struct events_subscription *next, *prev;
    struct events *bus;
    struct topic *topic;
    uint64_t read_id; /* last event given out */
    void (*wake)(void *ctx);
    void *ctx;
    unsigned waking;    /* publishers about to call or inside wake */
    uint64_t woken_for; /* newest event it was woken for */
    bool reads;         /* has asked for events before */
    bool kept_from;     /* while held: something may be there for it */
};

struct events {
    pthread_mutex_t lock;
    pthread_cond_t wakes_done;
    pthread_cond_t all_read; /* after each read while a flush waits */
    bool flushing, held;
    struct topic *topics;
    unsigned subscribers;
    uint64_t ended_count;
};

struct events *events_new(void)
{
    struct events *bus = calloc(1, sizeof *bus);
    if (!bus)
        return NULL;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->wakes_done, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->all_read, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return bus;
}

static void topic_free(struct topic *t)
{
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        free(t->events[i].data);
    free(t);
}

void events_free(struct events *bus)
{
    if (!bus)
        return;
    assert(bus->subscribers == 0);
    for (struct topic *t = bus->topics, *next; t; t = next) {
        next = t->next;
        topic_free(t);
    }
    pthread_cond_destroy(&bus->wakes_done);
    pthread_cond_destroy(&bus->all_read);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

static struct topic *topic_get(struct events *bus, const char *job_uuid)
{
    for (struct topic *t = bus->topics; t; t = t->next)
        if (strcmp(t->job_uuid, job_uuid) == 0)
            return t;
    struct topic *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    text_copy(t->job_uuid, sizeof t->job_uuid, job_uuid);
    t->next = bus->topics;
    bus->topics = t;
    return t;
}

/* Keep the newest EVENTS_JOBS_KEPT ended topics; a topic somebody follows stays. */
static void topics_trim(struct events *bus)
{
    for (struct topic **at = &bus->topics; *at;) {
        struct topic *t = *at;
        bool old = t->ended && !t->subscriptions && !t->publishing &&
                   t->ended_order + EVENTS_JOBS_KEPT <= bus->ended_count;
        if (!old) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        topic_free(t);
    }
}

static bool topic_add(struct topic *t, const char *type, const char *data_json)
{
    char *data = strdup(data_json);
    if (!data)
        return false;
    uint64_t id = t->last_id + 1;
    struct event *event = &t->events[id % EVENTS_KEPT];
    free(event->data);
    event->id = id;
    event->data = data;
    text_copy(event->type, sizeof event->type, type);
    t->last_id = id;
    return true;
}

/* Up to WAKE_BATCH subscribers not yet woken for `id`, each marked so that it stays alive. */
static unsigned wakes_collect(struct topic *t, uint64_t id, struct events_subscription **ret)
{
    unsigned count = 0;
    for (struct events_subscription *s = t->subscriptions; s && count < WAKE_BATCH; s = s->next)
        if (s->woken_for < id) {
            s->woken_for = id;
            s->kept_from = s->bus->held && s->reads;
            if (s->kept_from)
                continue;
            s->waking++;
            ret[count++] = s;
        }
    return count;
}

static void wake_batch_locked(struct events *bus, struct events_subscription **batch,
                              unsigned count)
{
    pthread_mutex_unlock(&bus->lock);
    for (unsigned i = 0; i < count; i++)
        batch[i]->wake(batch[i]->ctx);
    pthread_mutex_lock(&bus->lock);
    for (unsigned i = 0; i < count; i++)
        batch[i]->waking--;
    pthread_cond_broadcast(&bus->wakes_done);
}

static void topic_wake_locked(struct events *bus, struct topic *t, uint64_t id)
{
    struct events_subscription *batch[WAKE_BATCH];
    unsigned count;
    while ((count = wakes_collect(t, id, batch)) > 0)
        wake_batch_locked(bus, batch, count);
}

void events_publish(struct events *bus, const char *job_uuid, const char *type,
                    const char *data_json)
{
    assert(strlen(data_json) < EVENT_DATA_MAX && !strchr(data_json, '\n'));
    pthread_mutex_lock(&bus->lock);
    struct topic *t = topic_get(bus, job_uuid);
    /* Out of memory: an event is lost, and its followers read the job again at the next. */
    if (t && topic_add(t, type, data_json)) {
        bool ends = strcmp(type, "end") == 0;
        t->publishing++;
        topic_wake_locked(bus, t, t->last_id);
        t->publishing--;
        if (ends && !t->ended) {
            t->ended_order = bus->ended_count++;
            t->ended = true;
        }
        topics_trim(bus);
    }
    pthread_mutex_unlock(&bus->lock);
}

struct events_subscription *events_subscribe(struct events *bus, const char *job_uuid,
                                             uint64_t last_id, void (*wake)(void *ctx), void *ctx)
{
    struct events_subscription *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct events_subscription){.bus = bus, .wake = wake, .ctx = ctx};
    pthread_mutex_lock(&bus->lock);
    struct topic *t = topic_get(bus, job_uuid);
    if (t) {
        /* An id from before a restart is larger than any of ours: start from the oldest. */
        s->read_id = last_id <= t->last_id ? last_id : 0;
        s->woken_for = t->last_id;
        s->topic = t;
        s->next = t->subscriptions;
        if (s->next)
            s->next->prev = s;
        t->subscriptions = s;
        bus->subscribers++;
    }
    pthread_mutex_unlock(&bus->lock);
    if (!t) {
        free(s);
        return NULL;
    }
    return s;
}

void events_unsubscribe(struct events_subscription *s)
{
    if (!s)
        return;
    struct events *bus = s->bus;
    pthread_mutex_lock(&bus->lock);
    if (s->prev)
        s->prev->next = s->next;
    else
        s->topic->subscriptions = s->next;
    if (s->next)
        s->next->prev = s->prev;
    bus->subscribers--;
    while (s->waking)
        pthread_cond_wait(&bus->wakes_done, &bus->lock);
    /* A topic nobody ever published to was made by the subscription alone. */
    if (s->topic->last_id == 0 && !s->topic->subscriptions) {
        struct topic **at = &bus->topics;
        while (*at != s->topic)
            at = &(*at)->next;
        *at = s->topic->next;
        topic_free(s->topic);
    }
    pthread_mutex_unlock(&bus->lock);
    free(s);
}

static int next_locked(struct events_subscription *s, char *buf, size_t buf_size)
{
    int n = 0;
    const struct topic *t = s->topic;
    uint64_t oldest = t->last_id >= EVENTS_KEPT ? t->last_id - EVENTS_KEPT + 1 : 1;
    uint64_t id = s->read_id + 1 < oldest ? oldest : s->read_id + 1;
    if (id <= t->last_id) {
        const struct event *event = &t->events[id % EVENTS_KEPT];
        n = snprintf(buf, buf_size, "id: %llu\nevent: %s\ndata: %s\n\n", (unsigned long long)id,
                     event->type, event->data);
        if (n < 0 || (size_t)n >= buf_size)
            n = -ENOBUFS;
        else
            s->read_id = id;
    } else if (t->last_id && strcmp(t->events[t->last_id % EVENTS_KEPT].type, "end") == 0) {
        n = -ENODATA;
    }
    return n;
}

int events_next(struct events_subscription *s, char *buf, size_t buf_size)
{
    struct events *bus = s->bus;
    pthread_mutex_lock(&bus->lock);
    s->reads = true;
    s->kept_from = bus->held;
    int n = bus->held ? -EBUSY : next_locked(s, buf, buf_size);
    if (bus->flushing)
        pthread_cond_signal(&bus->all_read);
    pthread_mutex_unlock(&bus->lock);
    return n;
}

/* ---- holding back ---- */

static bool all_read(const struct events *bus)
{
    for (const struct topic *t = bus->topics; t; t = t->next)
        for (const struct events_subscription *s = t->subscriptions; s; s = s->next)
            if (s->reads && s->read_id < t->last_id)
                return false;
    return true;
}

void events_hold(struct events *bus, unsigned flush_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + flush_ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    pthread_mutex_lock(&bus->lock);
    bus->flushing = true;
    while (!all_read(bus))
        if (pthread_cond_timedwait(&bus->all_read, &bus->lock, &until) != 0)
            break;
    bus->flushing = false;
    bus->held = true;
    pthread_mutex_unlock(&bus->lock);
}

/* Up to WAKE_BATCH subscribers something was kept from, each marked so that it stays alive. */
static unsigned kept_collect(struct events *bus, struct events_subscription **ret)
{
    unsigned count = 0;
    for (const struct topic *t = bus->topics; t; t = t->next)
        for (struct events_subscription *s = t->subscriptions; s && count < WAKE_BATCH; s = s->next)
            if (s->kept_from) {
                s->kept_from = false;
                s->waking++;
                ret[count++] = s;
            }
    return count;
}

void events_release(struct events *bus)
{
    struct events_subscription *batch[WAKE_BATCH];
    unsigned count;
    pthread_mutex_lock(&bus->lock);
    bus->held = false;
    while ((count = kept_collect(bus, batch)) > 0)
        wake_batch_locked(bus, batch, count);
    pthread_mutex_unlock(&bus->lock);
}

unsigned events_subscribers(struct events *bus)
{
    pthread_mutex_lock(&bus->lock);
    unsigned count = bus->subscribers;
    pthread_mutex_unlock(&bus->lock);
    return count;
}
