#include "daemon/store/db.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"

#define PROGRESS_INSTRUCTIONS 1000 /* of SQLite's virtual machine: some 20 us between checks */
#define JOURNAL_SIZE_LIMIT    "67108864"

static const char writer_pragmas[] = "PRAGMA journal_mode=WAL;"
                                     "PRAGMA synchronous=FULL;"
                                     "PRAGMA wal_autocheckpoint=0;"
                                     "PRAGMA journal_size_limit=" JOURNAL_SIZE_LIMIT ";"
                                     "PRAGMA temp_store=MEMORY;"
                                     "PRAGMA trusted_schema=OFF;"
                                     "PRAGMA foreign_keys=ON;";
static const char reader_pragmas[] = "PRAGMA temp_store=MEMORY;"
                                     "PRAGMA trusted_schema=OFF;"
                                     "PRAGMA query_only=ON;";

/* Which of our codes an SQLite code is; the rest is ERR_IO. */
static const struct {
    int rc;
    enum err_code code;
    const char *advice;
} db_codes[] = {
    {SQLITE_FULL, ERR_NO_SPACE, "the disk is full; nothing was changed, free some space"},
    {SQLITE_INTERRUPT, ERR_LIMIT, "the query passed its deadline; ask for less"},
    {SQLITE_NOMEM, ERR_LIMIT, "out of memory; try later"},
    {SQLITE_CORRUPT, ERR_IO, "the database is damaged; stop the daemon and restore a backup"},
    {SQLITE_NOTADB, ERR_IO, "the file is not an SQLite database"},
    {SQLITE_READONLY, ERR_IO, "the database cannot be written; check its owner and mount"},
    {SQLITE_CANTOPEN, ERR_IO, "a file cannot be opened; check the state directory"},
    {SQLITE_BUSY, ERR_IO, "another program holds the database; only heapmarkd may open it"},
    {SQLITE_CONSTRAINT, ERR_INTERNAL, "a rule of the schema forbids this row"},
    {SQLITE_MISUSE, ERR_INTERNAL, "SQLite was called in the wrong order"},
    {SQLITE_RANGE, ERR_INTERNAL, "a parameter too many was bound"},
    {SQLITE_ERROR, ERR_INTERNAL, "the statement is wrong"},
};

/* A full disk reaches us as an I/O error where SQLite was not writing pages (fsync, the shared
 * memory file), so the system's own error decides. */
static bool db_is_full(struct db *db, int rc)
{
    if ((rc & 0xff) != SQLITE_IOERR && (rc & 0xff) != SQLITE_CANTOPEN)
        return false;
    int os = db->handle ? sqlite3_system_errno(db->handle) : 0;
    return os == ENOSPC || os == EDQUOT;
}

int db_error(struct db *db, int rc, const char *what, struct err *e)
{
    const char *text = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    if (db_is_full(db, rc))
        return err_set(e, ERR_NO_SPACE, NULL, "%s: %s (%s)", what, db_codes[0].advice, text);
    if (rc == SQLITE_IOERR_NOMEM)
        rc = SQLITE_NOMEM;
    for (size_t i = 0; i < sizeof db_codes / sizeof db_codes[0]; i++)
        if (db_codes[i].rc == (rc & 0xff))
            return err_set(e, db_codes[i].code, NULL, "%s: %s (%s)", what, db_codes[i].advice,
                           text);
    return err_set(e, ERR_IO, NULL, "%s: the database could not be read or written (%s, code %d)",
                   what, text, rc);
}

static int db_progress(void *ctx)
{
    const struct db *db = ctx;
    return db->deadline_ns != 0 && clock_monotonic_ns() >= db->deadline_ns;
}

static int db_configure(struct db *db, bool writer, struct err *e)
{
    sqlite3_extended_result_codes(db->handle, 1);
    int rc = sqlite3_busy_timeout(db->handle, DB_BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    if (rc != SQLITE_OK)
        return db_error(db, rc, "configuring the database connection", e);
    int r = db_exec(db, writer ? writer_pragmas : reader_pragmas, e);
    if (r < 0)
        return r;
    if (writer && sqlite3_db_readonly(db->handle, "main") == 1)
        return db_error(db, SQLITE_READONLY, "opening the database", e);
    sqlite3_progress_handler(db->handle, writer ? 0 : PROGRESS_INSTRUCTIONS, db_progress, db);
    return 0;
}

int db_open(struct db *db, const char *path, bool writer, struct err *e)
{
    memset(db, 0, sizeof *db);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    int r = rc == SQLITE_OK ? db_configure(db, writer, e) : db_error(db, rc, path, e);
    if (r < 0)
        db_close(db);
    return r;
}

void db_close(struct db *db)
{
    for (unsigned i = 0; i < db->cached_count; i++) {
        assert(!db->cached[i].busy);
        (void)sqlite3_finalize(db->cached[i].statement);
    }
    db->cached_count = 0;
    (void)sqlite3_close_v2(db->handle);
    db->handle = NULL;
}

int db_exec(struct db *db, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        char what[48];
        (void)text_copy(what, sizeof what, sql);
        what[strcspn(what, "\n(")] = '\0';
        return db_error(db, rc, what, e);
    }
    return 0;
}

int db_query_int(struct db *db, const char *sql, int64_t *ret, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin_once(db, sql);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r == 0)
        return -ENODATA;
    *ret = stmt_col_int(&st, 0);
    return 0;
}

/* ---- statements ---- */

struct stmt stmt_begin_once(struct db *db, const char *sql)
{
    struct stmt st = {.db = db};
    st.rc = sqlite3_prepare_v2(db->handle, sql, -1, &st.statement, NULL);
    return st;
}

static struct stmt stmt_begin_new(struct db *db, const char *sql)
{
    if (db->cached_count == DB_STATEMENTS_MAX)
        return stmt_begin_once(db, sql);
    struct stmt st = {.db = db};
    st.rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &st.statement, NULL);
    if (st.rc == SQLITE_OK) {
        st.slot = &db->cached[db->cached_count++];
        *st.slot = (struct db_cached){.sql = sql, .statement = st.statement, .busy = true};
    }
    return st;
}

struct stmt stmt_begin(struct db *db, const char *sql)
{
    for (unsigned i = 0; i < db->cached_count; i++) {
        struct db_cached *slot = &db->cached[i];
        if (slot->sql != sql)
            continue;
        /* In use by a query whose callback asks the same: a second statement for the while. */
        if (slot->busy)
            return stmt_begin_once(db, sql);
        slot->busy = true;
        return (struct stmt){.db = db, .statement = slot->statement, .slot = slot};
    }
    return stmt_begin_new(db, sql);
}

void stmt_end(struct stmt *st)
{
    if (!st->statement)
        return;
    if (st->slot) {
        (void)sqlite3_reset(st->statement);
        (void)sqlite3_clear_bindings(st->statement);
        st->slot->busy = false;
    } else {
        (void)sqlite3_finalize(st->statement);
    }
    st->statement = NULL;
}

static void stmt_stick(struct stmt *st, int rc)
{
    if (st->rc == SQLITE_OK && rc != SQLITE_OK)
        st->rc = rc;
}

void stmt_int(struct stmt *st, int64_t value)
{
    if (st->rc == SQLITE_OK)
        stmt_stick(st, sqlite3_bind_int64(st->statement, ++st->bound, value));
}

void stmt_u64(struct stmt *st, uint64_t value)
{
    stmt_int(st, (int64_t)value);
}

void stmt_real(struct stmt *st, double value)
{
    if (st->rc == SQLITE_OK)
        stmt_stick(st, isnan(value) ? sqlite3_bind_null(st->statement, ++st->bound)
                                    : sqlite3_bind_double(st->statement, ++st->bound, value));
}

void stmt_text(struct stmt *st, const char *value)
{
    if (st->rc == SQLITE_OK)
        stmt_stick(st, sqlite3_bind_text(st->statement, ++st->bound, value, -1, SQLITE_STATIC));
}

void stmt_blob(struct stmt *st, const void *data, size_t size)
{
    if (st->rc == SQLITE_OK)
        stmt_stick(st, sqlite3_bind_blob64(st->statement, ++st->bound, data, size, SQLITE_STATIC));
}

static int stmt_error(struct stmt *st, int rc, struct err *e)
{
    char what[64] = "preparing a statement";
    const char *sql = st->statement ? sqlite3_sql(st->statement) : NULL;
    if (sql)
        (void)text_copy(what, sizeof what, sql);
    return db_error(st->db, rc, what, e);
}

int stmt_step(struct stmt *st, struct err *e)
{
    int rc = st->rc == SQLITE_OK ? sqlite3_step(st->statement) : st->rc;
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return stmt_error(st, rc, e);
}

int stmt_run(struct stmt *st, struct err *e)
{
    int r = stmt_step(st, e);
    assert(r <= 0);
    if (st->statement)
        (void)sqlite3_reset(st->statement);
    st->bound = 0;
    return r;
}

int stmt_insert(struct stmt *st, int64_t *ret_id, struct err *e)
{
    int r = stmt_run(st, e);
    if (r == 0)
        *ret_id = sqlite3_last_insert_rowid(st->db->handle);
    return r;
}

int64_t stmt_col_int(struct stmt *st, int column)
{
    return sqlite3_column_int64(st->statement, column);
}

uint32_t stmt_col_u32(struct stmt *st, int column)
{
    return (uint32_t)sqlite3_column_int64(st->statement, column);
}

uint64_t stmt_col_u64(struct stmt *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st->statement, column);
}

double stmt_col_real(struct stmt *st, int column)
{
    if (sqlite3_column_type(st->statement, column) == SQLITE_NULL)
        return NAN;
    return sqlite3_column_double(st->statement, column);
}

const char *stmt_col_text(struct stmt *st, int column)
{
    if (sqlite3_column_type(st->statement, column) == SQLITE_NULL)
        return "";
    const char *text = (const char *)sqlite3_column_text(st->statement, column);
    if (text)
        return text;
    stmt_stick(st, SQLITE_NOMEM);
    return "";
}

const void *stmt_col_blob(struct stmt *st, int column, size_t *ret_size)
{
    const void *data = sqlite3_column_blob(st->statement, column);
    *ret_size = (size_t)sqlite3_column_bytes(st->statement, column);
    if (!data && sqlite3_errcode(st->db->handle) == SQLITE_NOMEM)
        stmt_stick(st, SQLITE_NOMEM);
    return data;
}

void stmt_col_copy(struct stmt *st, int column, char *dst, size_t dst_size)
{
    (void)text_copy(dst, dst_size, stmt_col_text(st, column));
}

int stmt_row_check(struct stmt *st, struct err *e)
{
    return st->rc == SQLITE_OK ? 0 : stmt_error(st, st->rc, e);
}
