/* Summaries of a job, and the points they add to the history. */
#include "daemon/store/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/clock.h"

#define SERIES_KEY_MAX 2048

struct summaries_put {
    int64_t job_id;
    const char *host_key;
    const struct store_summary *rows;
    uint32_t rows_count;
};

/* What all rows of one put have in common, and the cell of the last row seen. */
struct put_state {
    const struct summaries_put *put;
    int64_t host_id, time_us;
    int64_t protocol_id;
    const char *protocol_key;  /* whose id that is; NULL: none yet */
    int64_t cell_id, build_id; /* build 0: none proved */
    uint32_t cell_idx;
    char workload[64], params_key[512], pages[16], allocator[48];
    char options_key[RING_OPTIONS_MAX * 33];
    uint32_t threads;
};

/* The x of a job's points: the commit's time when given, so that a history filled in later stands
 * in its order; else when it was measured. Never the time of this call: putting the same job
 * again must replace its points. */
static int job_time_get(struct db *db, int64_t job_id, int64_t *ret_us, struct err *e)
{
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT iif(label_time_us > 0, label_time_us,"
                       " iif(started_us > 0, started_us, created_us)) FROM job WHERE id = ?");
    stmt_int(&st, job_id);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_NOT_FOUND, NULL, "there is no job number %" PRId64, job_id);
    if (r < 0)
        return r;
    *ret_us = stmt_col_int(&st, 0);
    return 0;
}

static int delete_of_job(struct stmt st, int64_t job_id, struct err *e)
{
    stmt_int(&st, job_id);
    int r = stmt_run(&st, e);
    stmt_end(&st);
    return r;
}

static int cell_build_get(struct db *db, struct put_state *p, struct err *e)
{
    p->build_id = 0;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT subject.build_id FROM trial"
                       " JOIN attempt ON attempt.id = trial.attempt_id"
                       " JOIN subject ON subject.id = trial.subject_id"
                       " WHERE trial.cell_id = ? AND attempt.state = 'accepted'"
                       " ORDER BY trial.id DESC LIMIT 1");
    stmt_int(&st, p->cell_id);
    int r = stmt_step(&st, e);
    if (r > 0)
        p->build_id = stmt_col_int(&st, 0);
    return r < 0 ? r : 0;
}

static int cell_get(struct db *db, struct put_state *p, uint32_t cell_idx, struct err *e)
{
    if (p->cell_id != 0 && p->cell_idx == cell_idx)
        return 0;
    cleanup_(stmt_end) struct stmt st =
        stmt_begin(db, "SELECT id, workload, params_key, threads, pages, allocator, options_key"
                       " FROM cell WHERE job_id = ? AND idx = ?");
    stmt_int(&st, p->put->job_id);
    stmt_int(&st, cell_idx);
    int r = stmt_step(&st, e);
    if (r == 0)
        return err_set(e, ERR_INVALID, NULL, "job number %" PRId64 " has no cell %u",
                       p->put->job_id, cell_idx);
    if (r < 0)
        return r;
    p->cell_id = stmt_col_int(&st, 0);
    p->cell_idx = cell_idx;
    stmt_col_copy(&st, 1, p->workload, sizeof p->workload);
    stmt_col_copy(&st, 2, p->params_key, sizeof p->params_key);
    p->threads = stmt_col_u32(&st, 3);
    stmt_col_copy(&st, 4, p->pages, sizeof p->pages);
    stmt_col_copy(&st, 5, p->allocator, sizeof p->allocator);
    stmt_col_copy(&st, 6, p->options_key, sizeof p->options_key);
    r = stmt_row_check(&st, e);
    return r < 0 ? r : cell_build_get(db, p, e);
}

static int protocol_get(struct db *db, struct put_state *p, const char *key, struct err *e)
{
    if (p->protocol_key && strcmp(p->protocol_key, key) == 0)
        return 0;
    p->protocol_key = key;
    return protocol_id_get(db, key, &p->protocol_id, e);
}

static const char *const measured_names[] = {
    [MEASURED_UNKNOWN] = "",
    [MEASURED_RING] = "ring",
    [MEASURED_TRIAL] = "trial",
    [MEASURED_SOLO] = "solo",
};

const char *store_measured_name(enum store_measured measured)
{
    return (unsigned)measured <= MEASURED_SOLO ? measured_names[measured] : "";
}

enum store_measured store_measured_parse(const char *name)
{
    enum store_measured m = MEASURED_SOLO;
    while (m != MEASURED_UNKNOWN && strcmp(measured_names[m], name) != 0)
        m--;
    return m;
}

static int summary_insert(struct store *s, struct db *db, const struct put_state *p,
                          const struct store_summary *row, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO summary (job_id, cell_id, metric_id, host_id, protocol_id, build_id,"
            " count, value, low, high, confidence, ratio, ratio_low, ratio_high, noise,"
            " null_share, harness_bound, created_us, unsteady, reason, measured)"
            " VALUES (?, ?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    stmt_int(&st, p->put->job_id);
    stmt_int(&st, p->cell_id);
    stmt_int(&st, s->metrics.disk[row->metric]);
    stmt_int(&st, p->host_id);
    stmt_int(&st, p->protocol_id);
    stmt_int(&st, p->build_id);
    stmt_int(&st, row->count);
    stmt_real(&st, row->value);
    stmt_real(&st, row->low);
    stmt_real(&st, row->high);
    stmt_real(&st, row->confidence);
    stmt_real(&st, row->ratio);
    stmt_real(&st, row->ratio_low);
    stmt_real(&st, row->ratio_high);
    stmt_real(&st, row->noise);
    stmt_real(&st, row->null_share);
    stmt_int(&st, row->harness_bound);
    stmt_int(&st, clock_realtime_us());
    stmt_int(&st, row->unsteady);
    stmt_text(&st, row->reason ? row->reason : "");
    stmt_text(&st, store_measured_name(row->measured));
    return stmt_run(&st, e);
}

/* ---- series ---- */

/* Appends " name=value" unless value is the default. Returns false when the key is full. */
static bool key_add(char *buf, size_t size, const char *name, const char *value,
                    const char *default_value)
{
    if (strcmp(value, default_value) == 0)
        return true;
    size_t used = strlen(buf);
    int n = snprintf(buf + used, size - used, "%s%s=%s", used ? " " : "", name, value);
    return n > 0 && (size_t)n < size - used;
}

/* Canonical: one order, defaults omitted, so that a default given explicitly, or a field that a
 * later version adds, does not start another series. */
static bool series_key(const struct put_state *p, enum metric_id metric, char *buf, size_t size)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%u", p->threads);
    buf[0] = '\0';
    return key_add(buf, size, "metric", metrics[metric].name, "") &&
           key_add(buf, size, "workload", p->workload, "") &&
           key_add(buf, size, "params", p->params_key, "") &&
           key_add(buf, size, "threads", threads, "1") &&
           key_add(buf, size, "pages", p->pages, page_mode_name(PAGES_4K)) &&
           key_add(buf, size, "allocator", p->allocator, "") &&
           key_add(buf, size, "options", p->options_key, "") &&
           key_add(buf, size, "host", p->put->host_key, "") &&
           key_add(buf, size, "protocol", p->protocol_key, "");
}

static int series_insert(struct store *s, struct db *db, const struct put_state *p,
                         enum metric_id metric, const char *key, int64_t *ret_id, struct err *e)
{
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT INTO series (key, host_id, protocol_id, workload, params_key, threads, pages,"
            " allocator, options_key, metric_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    stmt_text(&st, key);
    stmt_int(&st, p->host_id);
    stmt_int(&st, p->protocol_id);
    stmt_text(&st, p->workload);
    stmt_text(&st, p->params_key);
    stmt_int(&st, p->threads);
    stmt_text(&st, p->pages);
    stmt_text(&st, p->allocator);
    stmt_text(&st, p->options_key);
    stmt_int(&st, s->metrics.disk[metric]);
    return stmt_insert(&st, ret_id, e);
}

static int series_id_get(struct store *s, struct db *db, const struct put_state *p,
                         enum metric_id metric, int64_t *ret_id, struct err *e)
{
    char key[SERIES_KEY_MAX];
    if (!series_key(p, metric, key, sizeof key))
        return err_set(e, ERR_TOO_LARGE, NULL, "the key of a series is longer than %d bytes",
                       SERIES_KEY_MAX - 1);
    cleanup_(stmt_end) struct stmt st = stmt_begin(db, "SELECT id FROM series WHERE key = ?");
    stmt_text(&st, key);
    int r = stmt_step(&st, e);
    if (r == 0)
        return series_insert(s, db, p, metric, key, ret_id, e);
    if (r > 0)
        *ret_id = stmt_col_int(&st, 0);
    return r < 0 ? r : 0;
}

static int point_insert(struct store *s, struct db *db, const struct put_state *p,
                        const struct store_summary *row, struct err *e)
{
    if (!isfinite(row->value))
        return 0;
    int64_t series_id;
    int r = series_id_get(s, db, p, row->metric, &series_id, e);
    if (r < 0)
        return r;
    /* Two cells of one job that differ in nothing a series knows: one point, the later cell's. */
    cleanup_(stmt_end) struct stmt st = stmt_begin(
        db, "INSERT OR REPLACE INTO point (series_id, time_us, job_id, build_id, value, low, high,"
            " ratio, ratio_low, ratio_high) VALUES (?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?)");
    stmt_int(&st, series_id);
    stmt_int(&st, p->time_us);
    stmt_int(&st, p->put->job_id);
    stmt_int(&st, p->build_id);
    stmt_real(&st, row->value);
    stmt_real(&st, row->low);
    stmt_real(&st, row->high);
    stmt_real(&st, row->ratio);
    stmt_real(&st, row->ratio_low);
    stmt_real(&st, row->ratio_high);
    return stmt_run(&st, e);
}

static int summaries_put_task(struct store *s, struct db *db, void *arg, struct err *e)
{
    const struct summaries_put *put = arg;
    struct put_state p = {.put = put};
    int r = job_time_get(db, put->job_id, &p.time_us, e);
    if (r == 0)
        r = host_id_get(db, put->host_key, &p.host_id, e);
    if (r == 0)
        r = delete_of_job(stmt_begin(db, "DELETE FROM point WHERE job_id = ?"), put->job_id, e);
    if (r == 0)
        r = delete_of_job(stmt_begin(db, "DELETE FROM summary WHERE job_id = ?"), put->job_id, e);
    for (uint32_t i = 0; r == 0 && i < put->rows_count; i++) {
        const struct store_summary *row = &put->rows[i];
        if ((unsigned)row->metric >= METRIC_COUNT_)
            return err_set(e, ERR_INTERNAL, NULL, "a summary has metric %d", (int)row->metric);
        r = cell_get(db, &p, row->cell_idx, e);
        if (r == 0)
            r = protocol_get(db, &p, row->protocol_key, e);
        if (r == 0)
            r = summary_insert(s, db, &p, row, e);
        if (r == 0)
            r = point_insert(s, db, &p, row, e);
    }
    return r;
}

int store_summaries_put(struct store *s, int64_t job_id, const char *host_key,
                        const struct store_summary *rows, uint32_t rows_count, struct err *e)
{
    struct summaries_put put = {
        .job_id = job_id, .host_key = host_key, .rows = rows, .rows_count = rows_count};
    return store_write(s, summaries_put_task, &put, e);
}
