/* Opening and closing: the lock, the file, the schema, the check after an unclean end, the
 * threads; and what the whole store can say of itself. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

const char *store_sqlite_version(void)
{
    return sqlite3_libversion();
}

/* ---- the state directory ---- */

static int lock_refused(struct store *s, struct err *e)
{
    char pid[32];
    char path[STORE_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", s->directory, STORE_LOCK_FILE);
    ssize_t n = io_read_file(AT_FDCWD, path, pid, sizeof pid);
    return err_set(e, ERR_CONFLICT, NULL,
                   "state directory %s is in use by another heapmarkd (process %s); stop it or "
                   "choose another directory",
                   s->directory, n > 0 ? pid : "unknown");
}

/* The lock is the flock, which dies with its process; the text in the file only tells who, and
 * text found in a file nobody locks tells of an end without store_close. */
static int lock_take(struct store *s, bool *ret_unclean, struct err *e)
{
    char path[STORE_PATH_MAX + 64], pid[32];
    snprintf(path, sizeof path, "%s/%s", s->directory, STORE_LOCK_FILE);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return err_set_errno(e, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, errno,
                             "state directory %s cannot be written (%s); check its owner, mode "
                             "and mount",
                             s->directory, STORE_LOCK_FILE);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(take_fd(&s->lock_fd)); /* not ours: its text must stay */
        return error == EWOULDBLOCK ? lock_refused(s, e)
                                    : err_set_errno(e, ERR_IO, error, "locking %s", path);
    }
    *ret_unclean = io_read_file(AT_FDCWD, path, pid, sizeof pid) != 0;
    snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) < 0 || pwrite(s->lock_fd, pid, strlen(pid), 0) < 0)
        return err_set_errno(e, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, errno, "writing %s", path);
    return 0;
}

static void lock_release(struct store *s, bool clean)
{
    if (s->lock_fd < 0)
        return;
    if (clean && ftruncate(s->lock_fd, 0) < 0)
        log_warning("store: cannot empty the lock file: %s", strerror(errno));
    close(take_fd(&s->lock_fd));
}

static int directory_prepare(struct store *s, const char *directory, struct err *e)
{
    if (!text_copy(s->directory, sizeof s->directory, directory) || !directory[0])
        return err_set(e, ERR_INVALID, NULL,
                       "the state directory's path is empty or longer than %d", STORE_PATH_MAX - 1);
    snprintf(s->path, sizeof s->path, "%s/%s", directory, STORE_FILE);
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return err_set_errno(e, ERR_IO, errno, "state directory %s", directory);
    return 0;
}

/* SQLite gives its log the permissions of the database, which holds hashes of tokens. */
static int file_prepare(struct store *s, bool *ret_log_left, struct err *e)
{
    char wal[sizeof s->path + 8];
    struct stat st;
    snprintf(wal, sizeof wal, "%s-wal", s->path);
    *ret_log_left = stat(wal, &st) == 0 && st.st_size > 0;
    cleanup_(close_p) int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(e, errno == ENOSPC ? ERR_NO_SPACE : ERR_IO, errno, "opening %s",
                             s->path);
    return 0;
}

static int quick_check(struct store *s, struct err *e)
{
    struct db *db = &s->writer.db;
    cleanup_(stmt_end) struct stmt st = stmt_begin_once(db, "PRAGMA quick_check(1)");
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    const char *said = r > 0 ? stmt_col_text(&st, 0) : "nothing";
    if (strcmp(said, "ok") != 0)
        return err_set(
            e, ERR_IO, NULL,
            "%s is damaged (quick_check: %.200s); restore a backup or move the file away", s->path,
            said);
    log_info("store: the last run did not end cleanly; the database is intact");
    return 0;
}

static int database_open(struct store *s, bool unclean, struct err *e)
{
    bool log_left;
    int r = file_prepare(s, &log_left, e);
    if (r == 0)
        r = db_open(&s->writer.db, s->path, true, e);
    if (r < 0)
        return r;
    if (unclean || log_left)
        r = quick_check(s, e);
    if (r == 0)
        r = migrate_run(&s->writer.db, s->path, store_migrations, e);
    if (r == 0)
        r = migrate_metrics(&s->writer.db, &s->metrics, e);
    return r;
}

static void store_tear_down(struct store *s, bool clean)
{
    readers_close(s);
    writer_stop(s);
    lock_release(s, clean);
    free(s);
}

int store_open(const struct store_config *config, struct store **ret, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set_errno(e, ERR_IO, ENOMEM, "opening the store");
    s->lock_fd = -1;
    s->low_water_bytes = config->low_water_bytes;
    bool unclean = false, opened = false;
    int r = directory_prepare(s, config->directory, e);
    if (r == 0)
        r = lock_take(s, &unclean, e);
    if (r == 0)
        r = database_open(s, unclean, e);
    if (r == 0) {
        opened = true;
        r = readers_open(s, config->readers_count, e);
    }
    if (r == 0)
        r = writer_start(s, e);
    if (r < 0) {
        /* An end before the check passed must be found unclean again. */
        store_tear_down(s, opened || !unclean);
        return r;
    }
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s)
        store_tear_down(s, true);
}

/* ---- what the store says of itself ---- */

static uint64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int disk_free(struct store *s, uint64_t *ret, struct err *e)
{
    struct statvfs fs;
    if (statvfs(s->directory, &fs) < 0)
        return err_set_errno(e, ERR_IO, errno, "asking for the free space of %s", s->directory);
    *ret = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

static uint64_t log_bytes(struct store *s)
{
    char wal[sizeof s->path + 8];
    snprintf(wal, sizeof wal, "%s-wal", s->path);
    return file_bytes(wal);
}

int store_space_check(struct store *s, struct err *e)
{
    /* A checkpoint may grow the database by all of the log. */
    uint64_t left = 0, need = s->low_water_bytes + log_bytes(s);
    int r = disk_free(s, &left, e);
    if (r < 0)
        return r;
    if (left >= need)
        return 0;
    return err_set(e, ERR_NO_SPACE, NULL,
                   "only %" PRIu64 " MiB are free in %s, %" PRIu64
                   " MiB are the low-water mark; free some space",
                   left >> 20, s->directory, need >> 20);
}

static int ready_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    (void)arg;
    /* BEGIN IMMEDIATE took the write lock; a read proves the file answers. */
    cleanup_(stmt_end) struct stmt st = stmt_begin(db, "SELECT count(*) FROM metric");
    int r = stmt_step(&st, e);
    return r < 0 ? r : 0;
}

int store_ready(struct store *s, struct err *e)
{
    int r = store_space_check(s, e);
    return r < 0 ? r : store_write(s, ready_task, NULL, e);
}

static int count_jobs(struct store *s, uint64_t counts[JOB_STATE_COUNT_], struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    int r = store_view_acquire(s, 2000, &v, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(&v->db, "SELECT state, count(*) FROM job GROUP BY state");
    while ((r = stmt_step(&st, e)) > 0) {
        int state = job_state_parse(stmt_col_text(&st, 0));
        if (state >= 0)
            counts[state] = stmt_col_u64(&st, 1);
    }
    return r;
}

int store_stats(struct store *s, struct store_stats *ret, struct err *e)
{
    struct store_stats stats = {
        .database_bytes = file_bytes(s->path),
        .wal_bytes = log_bytes(s),
        .commits = atomic_load_explicit(&s->writer.commits, memory_order_relaxed),
        .transactions = atomic_load_explicit(&s->writer.transactions, memory_order_relaxed),
        .rows_written = atomic_load_explicit(&s->writer.rows_written, memory_order_relaxed),
        .checkpoints = atomic_load_explicit(&s->writer.checkpoints, memory_order_relaxed),
    };
    int r = disk_free(s, &stats.disk_free_bytes, e);
    if (r == 0)
        r = count_jobs(s, stats.jobs_by_state, e);
    if (r == 0)
        *ret = stats;
    return r;
}
