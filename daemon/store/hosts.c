/* The keys results hang on: hosts, protocols, builds and subjects, made when first seen. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/clock.h"

static const char *const role_names[] = {
    [ROLE_REFERENCE] = "reference",
    [ROLE_CONTROL] = "control",
    [ROLE_SUBJECT] = "subject",
};
#define ROLE_COUNT (sizeof role_names / sizeof role_names[0])

const char *store_role_name(enum exec_role role)
{
    return (unsigned)role < ROLE_COUNT ? role_names[role] : "unknown";
}

int store_role_parse(const char *name)
{
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        if (strcmp(role_names[i], name) == 0)
            return (int)i;
    return -ENOENT;
}

struct host_put {
    const char *key, *name, *facts;
};

static int host_put_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    (void)s;
    const struct host_put *host = arg;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "INSERT INTO host (key, name, facts, first_seen_us, last_seen_us)"
                       " VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (key) DO UPDATE"
                       " SET name = ?2, facts = ?3, last_seen_us = ?4");
    stmt_text(&st, host->key);
    stmt_text(&st, host->name);
    stmt_text(&st, host->facts);
    stmt_int(&st, clock_realtime_us());
    return stmt_run(&st, e);
}

int store_host_put(struct store *s, const char *host_key, const char *name, const char *facts_json,
                   struct err *e)
{
    struct host_put host = {.key = host_key, .name = name, .facts = facts_json};
    return store_write(s, host_put_task, &host, e);
}

/* `select` takes the key; `insert` the key and the time. */
static int key_id_get(struct stmt select, const char *key, int64_t *ret_id, struct err *e)
{
    stmt_text(&select, key);
    int r = stmt_step(&select, e);
    if (r > 0)
        *ret_id = stmt_col_int(&select, 0);
    stmt_end(&select);
    return r;
}

static int key_id_make(struct stmt insert, const char *key, int64_t *ret_id, struct err *e)
{
    stmt_text(&insert, key);
    stmt_int(&insert, clock_realtime_us());
    int r = stmt_insert(&insert, ret_id, e);
    stmt_end(&insert);
    return r;
}

int host_id_get(struct db *db, const char *key, int64_t *ret_id, struct err *e)
{
    int r = key_id_get(stmt_begin(db, "SELECT id FROM host WHERE key = ?"), key, ret_id, e);
    if (r != 0)
        return r < 0 ? r : 0;
    return key_id_make(stmt_begin(db, "INSERT INTO host (key, first_seen_us, last_seen_us)"
                                      " VALUES (?1, ?2, ?2)"),
                       key, ret_id, e);
}

int protocol_id_get(struct db *db, const char *key, int64_t *ret_id, struct err *e)
{
    int r = key_id_get(stmt_begin(db, "SELECT id FROM protocol WHERE key = ?"), key, ret_id, e);
    if (r != 0)
        return r < 0 ? r : 0;
    return key_id_make(stmt_begin(db, "INSERT INTO protocol (key, first_seen_us) VALUES (?, ?)"),
                       key, ret_id, e);
}

/* ---- builds and subjects ---- */

static int build_insert(struct db *db, const char *allocator,
                        const struct exec_runner_result *runner, int64_t now_us, int64_t *ret_id,
                        struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO build (allocator, sha256, version, path, first_seen_us, last_seen_us)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?5)");
    stmt_text(&st, allocator);
    stmt_text(&st, runner->sha256);
    stmt_text(&st, runner->version);
    stmt_text(&st, runner->library_path);
    stmt_int(&st, now_us);
    return stmt_insert(&st, ret_id, e);
}

/* The same bytes may come back under another path; the last one seen is shown. */
static int build_touch(struct db *db, int64_t id, const struct exec_runner_result *runner,
                       int64_t now_us, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "UPDATE build SET last_seen_us = ?, path = ?, version = iif(?3 = '', version, ?3)"
            " WHERE id = ?");
    stmt_int(&st, now_us);
    stmt_text(&st, runner->library_path);
    stmt_text(&st, runner->version);
    stmt_int(&st, id);
    return stmt_run(&st, e);
}

static int build_id_get(struct db *db, const char *allocator,
                        const struct exec_runner_result *runner, int64_t *ret_id, struct err *e)
{
    int64_t now_us = clock_realtime_us();
    cleanup_(stmt_end) struct stmt st = stmt_begin(db, "SELECT id, last_seen_us, path FROM build"
                                                       " WHERE allocator = ? AND sha256 = ?");
    stmt_text(&st, allocator);
    stmt_text(&st, runner->sha256);
    int r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r == 0)
        return build_insert(db, allocator, runner, now_us, ret_id, e);
    *ret_id = stmt_col_int(&st, 0);
    bool stale = now_us - stmt_col_int(&st, 1) > STORE_BUILD_SEEN_US ||
                 strcmp(stmt_col_text(&st, 2), runner->library_path) != 0;
    return stale ? build_touch(db, *ret_id, runner, now_us, e) : 0;
}

int subject_id_get(struct db *db, const char *allocator, const char *options_key,
                   const struct exec_runner_result *runner, int64_t *ret_id, struct err *e)
{
    int64_t build_id;
    int r = build_id_get(db, allocator, runner, &build_id, e);
    if (r < 0)
        return r;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT id FROM subject WHERE build_id = ? AND options_key = ?");
    stmt_int(&st, build_id);
    stmt_text(&st, options_key);
    r = stmt_step(&st, e);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_id = stmt_col_int(&st, 0);
        return 0;
    }
    cleanup_(stmt_end) struct stmt insert =
        stmt_begin(db, "INSERT INTO subject (build_id, options_key) VALUES (?, ?)");
    stmt_int(&insert, build_id);
    stmt_text(&insert, options_key);
    return stmt_insert(&insert, ret_id, e);
}
