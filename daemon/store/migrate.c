/* The schema: from nothing or an older version to the newest, or a clear refusal. Runs in
 * store_open before the writer thread exists. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int64_t migrations_count(const struct embedded_file *files)
{
    int64_t count = 0;
    while (files[count].name)
        count++;
    return count;
}

static int sync_path(const char *path, int flags)
{
    cleanup_(close_p) int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* VACUUM INTO does not sync what it wrote, and must not leave half a backup under the final name:
 * write aside, sync, rename, sync the directory. */
static int migrate_backup(struct db *db, const char *path, int64_t version, struct err *e)
{
    char final[STORE_PATH_MAX + 64], part[STORE_PATH_MAX + 72], directory[STORE_PATH_MAX + 64];
    snprintf(final, sizeof final, "%s.v%lld.backup", path, (long long)version);
    snprintf(part, sizeof part, "%s.part", final);
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = '\0';
    if (unlink(part) < 0 && errno != ENOENT)
        return err_set_errno(e, ERR_IO, errno, "removing %s", part);
    cleanup_(stmt_end) struct stmt st = stmt_begin_once(db, "VACUUM INTO ?");
    stmt_text(&st, part);
    int r = stmt_run(&st, e);
    if (r < 0)
        return r;
    r = sync_path(part, O_RDONLY);
    if (r == 0 && rename(part, final) < 0)
        r = -errno;
    if (r == 0)
        r = sync_path(directory, O_RDONLY | O_DIRECTORY);
    return r < 0 ? err_set_errno(e, ERR_IO, -r, "keeping the backup %s", final) : 0;
}

static int migrate_apply(struct db *db, const struct embedded_file *files, int64_t from, int64_t to,
                         struct err *e)
{
    for (int64_t i = from; i < to; i++) {
        int r = db_exec(db, (const char *)files[i].begin, e);
        if (r < 0)
            return r;
    }
    int64_t violation;
    int r = db_query_int(db, "SELECT rowid FROM pragma_foreign_key_check LIMIT 1", &violation, e);
    if (r != -ENODATA)
        return r < 0 ? r
                     : err_set(e, ERR_INTERNAL, NULL, "the migration left rows without parents");
    char sql[96];
    snprintf(sql, sizeof sql, "PRAGMA user_version=%lld; PRAGMA application_id=%d", (long long)to,
             DB_APPLICATION_ID);
    r = db_exec(db, sql, e);
    return r < 0 ? r : db_exec(db, "COMMIT", e);
}

static int migrate_check(struct db *db, const char *path, int64_t newest, int64_t *ret_version,
                         struct err *e)
{
    int64_t version = 0, application = 0, tables = 0;
    int r = db_query_int(db, "PRAGMA user_version", &version, e);
    if (r == 0)
        r = db_query_int(db, "PRAGMA application_id", &application, e);
    if (r == 0)
        r = db_query_int(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
    if (r < 0)
        return r;
    bool empty = application == 0 && version == 0 && tables == 0;
    if (!empty && application != DB_APPLICATION_ID)
        return err_set(e, ERR_INCOMPATIBLE, NULL,
                       "%s is not a heapmark database; choose another state directory", path);
    if (version > newest || version < 0 || (!empty && version == 0))
        return err_set(e, ERR_INCOMPATIBLE, NULL,
                       "%s has schema version %lld, this program knows up to %lld; "
                       "run the newer heapmarkd, or restore a backup of the older schema",
                       path, (long long)version, (long long)newest);
    *ret_version = version;
    return 0;
}

int migrate_run(struct db *db, const char *path, const struct embedded_file *files, struct err *e)
{
    int64_t newest = migrations_count(files), version;
    int r = migrate_check(db, path, newest, &version, e);
    if (r < 0 || version == newest)
        return r;
    if (version > 0) {
        r = migrate_backup(db, path, version, e);
        if (r < 0)
            return r;
    }
    /* Rebuilding a table drops it for a moment; references are checked as a whole at the end. */
    r = db_exec(db, "PRAGMA foreign_keys=OFF", e);
    if (r == 0)
        r = db_exec(db, "BEGIN IMMEDIATE", e);
    if (r < 0)
        return r;
    r = migrate_apply(db, files, version, newest, e);
    if (r < 0) {
        if (!sqlite3_get_autocommit(db->handle))
            (void)db_exec(db, "ROLLBACK", NULL);
        return r;
    }
    return db_exec(db, "PRAGMA foreign_keys=ON", e);
}

static int metrics_insert(struct db *db, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO metric (name) VALUES (?) ON CONFLICT DO NOTHING");
    for (unsigned i = 0; i < METRIC_COUNT_; i++) {
        stmt_text(&st, metrics[i].name);
        int r = stmt_run(&st, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int metrics_read(struct db *db, struct store_metrics *ret, struct err *e)
{
    memset(ret->memory, 0xff, sizeof ret->memory);
    cleanup_(stmt_end) struct stmt st = stmt_begin(db, "SELECT id, name FROM metric");
    int r;
    while ((r = stmt_step(&st, e)) > 0) {
        int64_t id = stmt_col_int(&st, 0);
        int metric = metric_find(stmt_col_text(&st, 1));
        r = stmt_row_check(&st, e);
        if (r < 0)
            return r;
        if (id < 0 || id >= STORE_METRIC_IDS_MAX)
            return err_set(e, ERR_IO, NULL, "the database numbers a metric %lld, beyond %d",
                           (long long)id, STORE_METRIC_IDS_MAX);
        ret->memory[id] = (int16_t)(metric < 0 ? -1 : metric);
        if (metric >= 0)
            ret->disk[metric] = id;
    }
    return r;
}

int migrate_metrics(struct db *db, struct store_metrics *ret, struct err *e)
{
    int r = db_exec(db, "BEGIN IMMEDIATE", e);
    if (r < 0)
        return r;
    r = metrics_insert(db, e);
    if (r == 0)
        r = metrics_read(db, ret, e);
    if (r == 0)
        r = db_exec(db, "COMMIT", e);
    if (r < 0 && !sqlite3_get_autocommit(db->handle))
        (void)db_exec(db, "ROLLBACK", NULL);
    return r;
}
