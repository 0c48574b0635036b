/* Views: a small pool of read-only connections. A view holds one snapshot from acquire to release
 * and belongs to its holder meanwhile. */
#include "daemon/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#include "daemon/base/clock.h"

int readers_open(struct store *s, unsigned count, struct err *e)
{
    struct readers *p = &s->readers;
    if (count < 1 || count > STORE_READERS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, NULL, "%u readers, 1 to %d allowed", count,
                       STORE_READERS_MAX);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->returned, &attr);
    pthread_condattr_destroy(&attr);
    p->ready = true;
    for (; p->count < count; p->count++) {
        p->views[p->count].store = s;
        int r = db_open(&p->views[p->count].db, s->path, false, e);
        if (r < 0)
            return r;
    }
    return 0;
}

void readers_close(struct store *s)
{
    struct readers *p = &s->readers;
    if (!p->ready)
        return;
    for (unsigned i = 0; i < p->count; i++) {
        assert(!p->views[i].taken);
        db_close(&p->views[i].db);
    }
    p->count = 0;
    pthread_cond_destroy(&p->returned);
    pthread_mutex_destroy(&p->mutex);
    p->ready = false;
}

static struct store_view *view_free_one(struct readers *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (!p->views[i].taken)
            return &p->views[i];
    return NULL;
}

static struct store_view *view_wait(struct readers *p, uint64_t deadline_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                                   .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    pthread_mutex_lock(&p->mutex);
    struct store_view *v;
    while (!(v = view_free_one(p)))
        if (pthread_cond_timedwait(&p->returned, &p->mutex, &until) == ETIMEDOUT)
            break;
    if (!v)
        v = view_free_one(p);
    if (v)
        v->taken = true;
    pthread_mutex_unlock(&p->mutex);
    return v;
}

/* BEGIN alone takes no snapshot; the first read does. */
static int view_begin(struct db *db, struct err *e)
{
    cleanup_(stmt_end) struct stmt begin = stmt_begin(db, "BEGIN");
    int r = stmt_run(&begin, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt read = stmt_begin(db, "SELECT 1 FROM sqlite_schema LIMIT 1");
    r = stmt_step(&read, e);
    return r < 0 ? r : 0;
}

int store_view_acquire(struct store *s, uint32_t deadline_ms, struct store_view **ret,
                       struct err *e)
{
    uint64_t deadline_ns = clock_monotonic_ns() + deadline_ms * NS_PER_MS;
    struct store_view *v = view_wait(&s->readers, deadline_ns);
    if (!v)
        return err_set(e, ERR_LIMIT, NULL, "all %u readers are busy; try later", s->readers.count);
    v->db.deadline_ns = deadline_ns;
    int r = view_begin(&v->db, e);
    if (r < 0) {
        store_view_release(v);
        return r;
    }
    *ret = v;
    return 0;
}

void store_view_release(struct store_view *v)
{
    if (!v)
        return;
    v->db.deadline_ns = 0;
    if (!sqlite3_get_autocommit(v->db.handle)) {
        cleanup_(stmt_end) struct stmt st = stmt_begin(&v->db, "ROLLBACK");
        (void)stmt_run(&st, NULL);
    }
    struct readers *p = &v->store->readers;
    pthread_mutex_lock(&p->mutex);
    v->taken = false;
    pthread_cond_signal(&p->returned);
    pthread_mutex_unlock(&p->mutex);
}
