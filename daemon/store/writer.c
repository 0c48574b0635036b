/* The one connection that changes anything or checkpoints, used by one thread at a time.
 *
 * Callers queue a task. Whoever finds the connection free takes what is queued (up to a bound) as
 * one transaction, on its own thread: a lone caller pays no context switch. Whoever finds it in
 * use sleeps until its task is durable, or until it is its turn to take the next group. So while
 * one group waits for the disk the next gathers, and concurrent callers share an fsync. Each task
 * of a group has a savepoint and fails alone. When the transaction as a whole fails (disk full,
 * I/O error), every task of the group is run again by itself, so that each caller gets its own
 * answer and none an answer that is not true.
 *
 * Checkpoints are the store's thread's: PASSIVE whenever the log has grown by 4 MB and once after
 * a quiet second, TRUNCATE above 64 MB. It takes the connection like any caller, before those who
 * wait, and sleeps without a timeout while nothing is written: an idle daemon does not wake. */
#include "daemon/store/internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

#define TRUNCATE_BUSY_MS 200 /* how long readers may hold a truncation up */

static void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static void rollback(struct db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        (void)db_exec(db, "ROLLBACK", NULL);
}

static int run_sql(struct stmt st, struct err *e)
{
    int r = stmt_run(&st, e);
    stmt_end(&st);
    return r;
}

/* One task, its own transaction. */
static int task_alone(struct store *s, struct store_task *task)
{
    struct writer *w = &s->writer;
    struct db *db = &w->db;
    int r = run_sql(stmt_begin(db, "BEGIN IMMEDIATE"), task->e);
    if (r < 0)
        return r;
    int changes = sqlite3_total_changes(db->handle);
    int result = task->run(s, db, task->arg, task->e);
    if (result >= 0) {
        r = run_sql(stmt_begin(db, "COMMIT"), task->e);
        if (r == 0) {
            count(&w->commits, 1);
            count(&w->transactions, 1);
            count(&w->rows_written, (uint64_t)(sqlite3_total_changes(db->handle) - changes));
            return result;
        }
        result = r;
    }
    rollback(db);
    return result;
}

/* A task inside the group's transaction. False: the transaction itself is gone or not to be
 * trusted, whatever became of the task. */
static bool task_in_group(struct store *s, struct store_task *task)
{
    struct db *db = &s->writer.db;
    if (run_sql(stmt_begin(db, "SAVEPOINT task"), task->e) < 0)
        return false;
    task->result = task->run(s, db, task->arg, task->e);
    if (sqlite3_get_autocommit(db->handle))
        return false;
    if (task->result < 0 && run_sql(stmt_begin(db, "ROLLBACK TO task"), NULL) < 0)
        return false;
    return run_sql(stmt_begin(db, "RELEASE task"), NULL) == 0;
}

static bool group_together(struct store *s, struct store_task *first, unsigned tasks_count)
{
    struct writer *w = &s->writer;
    struct db *db = &w->db;
    if (run_sql(stmt_begin(db, "BEGIN IMMEDIATE"), NULL) < 0)
        return false;
    int changes = sqlite3_total_changes(db->handle);
    bool ok = true;
    for (struct store_task *task = first; ok && task; task = task->next)
        ok = task_in_group(s, task);
    ok = ok && run_sql(stmt_begin(db, "COMMIT"), NULL) == 0;
    if (!ok) {
        rollback(db);
        return false;
    }
    count(&w->commits, 1);
    count(&w->transactions, tasks_count);
    count(&w->rows_written, (uint64_t)(sqlite3_total_changes(db->handle) - changes));
    return true;
}

static void run_group(struct store *s, struct store_task *first, unsigned tasks_count)
{
    if (tasks_count > 1 && group_together(s, first, tasks_count))
        return;
    for (struct store_task *task = first; task; task = task->next) {
        if (task->e)
            *task->e = (struct err){0};
        task->result = task_alone(s, task);
    }
}

/* ---- checkpoints ---- */

static void checkpoint(struct writer *w, int mode)
{
    int log_frames = 0, done_frames = 0;
    if (mode == SQLITE_CHECKPOINT_TRUNCATE)
        (void)sqlite3_busy_timeout(w->db.handle, TRUNCATE_BUSY_MS);
    int rc = sqlite3_wal_checkpoint_v2(w->db.handle, "main", mode, &log_frames, &done_frames);
    (void)sqlite3_busy_timeout(w->db.handle, DB_BUSY_MS);
    if (rc == SQLITE_OK)
        count(&w->checkpoints, 1);
    else if (rc != SQLITE_BUSY)
        log_warning("store: checkpoint: %s", sqlite3_errmsg(w->db.handle));
    if (mode == SQLITE_CHECKPOINT_TRUNCATE && rc == SQLITE_OK)
        w->wal_bytes = 0;
    /* What a reader holds back waits until the log has grown again, not for a timer. */
    w->wal_next_bytes = w->wal_bytes + STORE_WAL_STEP_BYTES;
    w->wal_dirty = false;
}

static int wal_hook(void *ctx, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    struct writer *w = ctx;
    uint64_t bytes = (uint64_t)pages * DB_PAGE_BYTES;
    if (bytes < w->wal_bytes) /* it started over */
        w->wal_next_bytes = STORE_WAL_STEP_BYTES;
    w->wal_bytes = bytes;
    w->wal_dirty = true;
    return SQLITE_OK;
}

/* A passive checkpoint that reaches the end lets the log start over at its beginning when no
 * reader is in it, so in ordinary times it never comes to the size where it must be cut. */
static void checkpoint_by_size(struct writer *w)
{
    checkpoint(w, w->wal_bytes >= STORE_WAL_TRUNCATE_BYTES ? SQLITE_CHECKPOINT_TRUNCATE
                                                           : SQLITE_CHECKPOINT_PASSIVE);
}

/* ---- whose turn it is ---- */

static struct store_task *take_group(struct writer *w, unsigned *ret_count)
{
    struct store_task *first = w->first, *last = first;
    unsigned n = 1;
    while (n < STORE_TASKS_PER_COMMIT && last->next) {
        last = last->next;
        n++;
    }
    w->first = last->next;
    if (!w->first)
        w->last = &w->first;
    last->next = NULL;
    *ret_count = n;
    return first;
}

/* Mutex held. */
static void finish_group(struct store_task *first)
{
    while (first) {
        /* The task lives on its caller's stack and may go once the mutex is free. */
        struct store_task *next = first->next;
        first->done = true;
        pthread_cond_signal(&first->finished);
        first = next;
    }
}

/* The connection is free: wake who is next. Mutex held. */
static void pass_on(struct writer *w)
{
    if (w->checkpoint_due)
        pthread_cond_signal(&w->wake);
    else if (w->first)
        pthread_cond_signal(&w->first->finished);
}

/* Run the next group on this thread. Mutex held, connection free. */
static void lead_group(struct store *s)
{
    struct writer *w = &s->writer;
    unsigned n;
    struct store_task *group = take_group(w, &n);
    w->busy = true;
    pthread_mutex_unlock(&w->mutex);
    run_group(s, group, n);
    pthread_mutex_lock(&w->mutex);
    w->busy = false;
    w->last_group_ns = clock_monotonic_ns();
    if (w->wal_dirty && !w->armed) {
        w->armed = true;
        pthread_cond_signal(&w->wake);
    }
    w->checkpoint_due |= w->wal_dirty && w->wal_bytes >= w->wal_next_bytes;
    finish_group(group);
    pass_on(w);
}

int store_write(struct store *s, store_task_fn run, void *arg, struct err *e)
{
    struct writer *w = &s->writer;
    struct store_task task = {.run = run, .arg = arg, .e = e};
    pthread_cond_init(&task.finished, NULL);
    pthread_mutex_lock(&w->mutex);
    assert(!w->stop);
    *w->last = &task;
    w->last = &task.next;
    while (!task.done) {
        if (w->busy || w->checkpoint_due)
            pthread_cond_wait(&task.finished, &w->mutex);
        else
            lead_group(s);
    }
    pthread_mutex_unlock(&w->mutex);
    pthread_cond_destroy(&task.finished);
    return task.result;
}

/* ---- the thread ---- */

/* Sleep until a checkpoint may be due: for ever when nothing was written since the last, else
 * until a second after the last group. Mutex held. */
static void wait_for_quiet(struct writer *w)
{
    if (!w->armed || w->checkpoint_due) {
        pthread_cond_wait(&w->wake, &w->mutex);
        return;
    }
    uint64_t until_ns = w->last_group_ns + STORE_IDLE_MS * NS_PER_MS;
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
                                   .tv_nsec = (long)(until_ns % NS_PER_S)};
    (void)pthread_cond_timedwait(&w->wake, &w->mutex, &until);
    if (w->armed && clock_monotonic_ns() >= w->last_group_ns + STORE_IDLE_MS * NS_PER_MS)
        w->checkpoint_due = true;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        if (!w->checkpoint_due || w->busy) {
            wait_for_quiet(w);
            continue;
        }
        w->busy = true;
        pthread_mutex_unlock(&w->mutex);
        checkpoint_by_size(w);
        pthread_mutex_lock(&w->mutex);
        w->busy = w->checkpoint_due = w->armed = false;
        pass_on(w);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

int writer_start(struct store *s, struct err *e)
{
    struct writer *w = &s->writer;
    w->last = &w->first;
    w->wal_next_bytes = STORE_WAL_STEP_BYTES;
    (void)sqlite3_wal_hook(w->db.handle, wal_hook, w);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    /* Signals are for the daemon's own thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (r != 0) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->mutex);
        return err_set_errno(e, ERR_IO, r, "starting the store's thread");
    }
    (void)pthread_setname_np(w->thread, STORE_THREAD_NAME);
    w->started = true;
    return 0;
}

void writer_stop(struct store *s)
{
    struct writer *w = &s->writer;
    if (w->started) {
        pthread_mutex_lock(&w->mutex);
        w->stop = true;
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->mutex);
        checkpoint(w, SQLITE_CHECKPOINT_TRUNCATE);
    }
    db_close(&w->db);
}
