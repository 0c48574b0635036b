/* One SQLite connection and its statements: typed binding and reading with errors that stick to
 * the statement until it is stepped, so a query reads as one paragraph and no failure is lost.
 * Internal to daemon/store. A connection and its statements belong to one thread at a time. */
#ifndef HEAPMARK_DAEMON_STORE_DB_H
#define HEAPMARK_DAEMON_STORE_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"

#define DB_STATEMENTS_MAX 96         /* cached per connection; more are prepared each time */
#define DB_APPLICATION_ID 0x486d6b31 /* "Hmk1" */
#define DB_BUSY_MS        5000
#define DB_PAGE_BYTES     4096

struct db_cached {
    const char *sql; /* a literal: found again by its address */
    sqlite3_stmt *statement;
    bool busy;
};

struct db {
    sqlite3 *handle;
    struct db_cached cached[DB_STATEMENTS_MAX];
    unsigned cached_count;
    uint64_t deadline_ns; /* monotonic; 0 none. Checked by the progress handler. */
};

/* Open `path` with everything service.md asks of a connection. The writer creates the file and
 * turns WAL on; a reader gets a read-only handle. */
int db_open(struct db *db, const char *path, bool writer, struct err *e);
void db_close(struct db *db);

/* An SQLite result code as *e and -errno, `what` saying what was being done. */
int db_error(struct db *db, int rc, const char *what, struct err *e);

/* Run SQL text that returns nothing (migrations, BEGIN, COMMIT). */
int db_exec(struct db *db, const char *sql, struct err *e);
/* First column of the first row of a pragma or query as an integer; -ENODATA when no row. */
int db_query_int(struct db *db, const char *sql, int64_t *ret, struct err *e);

struct stmt {
    struct db *db;
    sqlite3_stmt *statement;
    struct db_cached *slot; /* NULL: not cached, finalised at the end */
    int bound;              /* parameters bound so far */
    int rc;                 /* first failure, reported by the next step */
};

/* `sql` must be a string literal (cached by address). Parameters are bound in order. */
struct stmt stmt_begin(struct db *db, const char *sql);
/* Text built at run time: prepared anew, never cached. */
struct stmt stmt_begin_once(struct db *db, const char *sql);
void stmt_end(struct stmt *st); /* for cleanup_() too; ending twice is harmless */

void stmt_int(struct stmt *st, int64_t value);
void stmt_u64(struct stmt *st, uint64_t value);     /* same bits */
void stmt_real(struct stmt *st, double value);      /* NaN is NULL */
void stmt_text(struct stmt *st, const char *value); /* NULL is NULL; must outlive the step */
void stmt_blob(struct stmt *st, const void *data, size_t size); /* likewise; NULL data is NULL */

/* 1: a row, 0: no more, -errno. */
int stmt_step(struct stmt *st, struct err *e);
/* Run to the end, expecting no row. The statement can be bound again from the first parameter. */
int stmt_run(struct stmt *st, struct err *e);
/* As stmt_run for an INSERT, giving the row's id. */
int stmt_insert(struct stmt *st, int64_t *ret_id, struct err *e);

int64_t stmt_col_int(struct stmt *st, int column);
uint32_t stmt_col_u32(struct stmt *st, int column);
uint64_t stmt_col_u64(struct stmt *st, int column);
double stmt_col_real(struct stmt *st, int column);      /* NULL is NaN */
const char *stmt_col_text(struct stmt *st, int column); /* "" for NULL; until the next step */
const void *stmt_col_blob(struct stmt *st, int column, size_t *ret_size);
void stmt_col_copy(struct stmt *st, int column, char *dst, size_t dst_size);
/* After the columns of a row were read: 0, or out of memory while reading one. */
int stmt_row_check(struct stmt *st, struct err *e);

#endif
