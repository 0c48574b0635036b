/* What the files of daemon/store share: the store's parts, the writer's task, the maps of names to
 * numbers on disk. Nobody outside daemon/store and its tests includes this. */
#ifndef HEAPMARK_DAEMON_STORE_INTERNAL_H
#define HEAPMARK_DAEMON_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/embed.h"
#include "daemon/store/db.h"
#include "daemon/store/store.h"

#define STORE_FILE               "heapmark.db"
#define STORE_LOCK_FILE          "heapmark.lock"
#define STORE_THREAD_NAME        "hm-store"
#define STORE_READERS_MAX        16
#define STORE_PATH_MAX           4096
#define STORE_TASKS_PER_COMMIT   64         /* bound of one group commit */
#define STORE_WAL_TRUNCATE_BYTES (64 << 20) /* checkpoint and cut the log above this */
#define STORE_WAL_STEP_BYTES     (4 << 20)  /* checkpoint whenever it grew by this */
#define STORE_IDLE_MS            1000       /* quiet for so long: checkpoint what is left */
#define STORE_IDEMPOTENCY_US     (25 * INT64_C(3600000000)) /* promised: 24 h */
#define STORE_PURGE_ROWS_MAX     1000                       /* deletions per transaction */
#define STORE_METRIC_IDS_MAX     4096                       /* numbers of metrics on disk */
#define STORE_BUILD_SEEN_US      INT64_C(3600000000) /* how stale build.last_seen_us may be */

struct store_metrics {
    int64_t disk[METRIC_COUNT_];          /* by enum metric_id */
    int16_t memory[STORE_METRIC_IDS_MAX]; /* by number on disk; -1: a name this program has not */
};

/* ---- migrate.c ---- */
extern const struct embedded_file store_migrations[];
/* Bring the open writer connection's schema to the last file of `files` in one transaction, after
 * a backup beside the database when there was one of an older version. */
int migrate_run(struct db *db, const char *path, const struct embedded_file *files, struct err *e);
/* Number the metric names that have none yet and fill the maps. */
int migrate_metrics(struct db *db, struct store_metrics *ret, struct err *e);

/* ---- writer.c ---- */

/* One change, run on the writer's connection inside a transaction that it may share with others,
 * by whichever thread has its turn. `run` must leave nothing behind that a second call would trip
 * over: it is run again, alone, when the shared transaction failed. Outputs go into *arg and count
 * only when store_write returned >= 0. */
typedef int (*store_task_fn)(struct store *s, struct db *db, void *arg, struct err *e);

struct store_task {
    store_task_fn run;
    void *arg;
    struct err *e;
    int result;
    bool done; /* writer.mutex */
    pthread_cond_t finished;
    struct store_task *next;
};

struct writer {
    pthread_t thread; /* checkpoints */
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;              /* of the thread */
    struct store_task *first, **last; /* mutex */
    bool stop;                        /* mutex */
    bool busy;                        /* mutex: somebody has the connection, db and wal_* below */
    bool checkpoint_due;              /* mutex: the thread takes the connection next */
    bool armed;                       /* mutex: written since the last checkpoint */
    uint64_t last_group_ns;           /* mutex */
    struct db db;
    uint64_t wal_bytes;      /* size of the log after the last commit */
    uint64_t wal_next_bytes; /* checkpoint from this size on */
    bool wal_dirty;          /* committed since the last checkpoint */
    _Atomic uint64_t commits, transactions, rows_written, checkpoints; /* relaxed: statistics */
};

int writer_start(struct store *s, struct err *e);
/* Run what is queued, checkpoint, close the connection. All readers must be closed. */
void writer_stop(struct store *s);
/* Have a change made; returns when it is durable (or failed). Any thread. */
int store_write(struct store *s, store_task_fn run, void *arg, struct err *e);

/* ---- view.c ---- */

struct store_view {
    struct db db;
    struct store *store;
    bool taken; /* readers.mutex */
};

struct readers {
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    struct store_view views[STORE_READERS_MAX];
    unsigned count;
    bool ready; /* mutex and condition exist */
};

int readers_open(struct store *s, unsigned count, struct err *e);
void readers_close(struct store *s);

/* ---- store_open.c ---- */

struct store {
    char directory[STORE_PATH_MAX], path[STORE_PATH_MAX + sizeof STORE_FILE];
    uint64_t low_water_bytes;
    int lock_fd;
    struct store_metrics metrics;
    struct writer writer;
    struct readers readers;
};

/* ERR_NO_SPACE when less is free than the low-water mark and the log together. */
int store_space_check(struct store *s, struct err *e);

/* ---- small things shared by the queries ---- */

/* The enum metric_id of a number on disk, or -1 for a metric this program no longer has. */
static inline int store_metric_of(const struct store *s, int64_t disk_id)
{
    return disk_id >= 0 && disk_id < STORE_METRIC_IDS_MAX ? s->metrics.memory[disk_id] : -1;
}

enum store_measured store_measured_parse(const char *name); /* or UNKNOWN */
int store_role_parse(const char *name);                     /* enum exec_role; -ENOENT */

/* jobs.c: the columns of a job and their reader, for jobs.c and view_jobs.c. */
#define JOB_COLUMNS                                                                            \
    "job.id, job.uuid, job.state, job.name, job.preset, job.profile, job.principal,"           \
    " label_project, label_commit, label_parent, label_sequence, label_branch, label_tag,"     \
    " label_time_us, coalesce((SELECT key FROM host WHERE host.id = job.host_id), ''),"        \
    " created_us, started_us, finished_us, cells_count, steps_total,"                          \
    " steps_done + steps_given_up, steps_failed, steps_discarded, attempts, cancel_requested," \
    " error_code, error_field, error_message, steps_given_up, harness_build"
#define JOB_COLUMNS_COUNT 30
int job_from_row(struct stmt *st, struct store_job *ret, struct err *e);
/* As job_from_row with the spec as one more column. */
int job_from_row_full(struct stmt *st, struct store_job *ret, struct err *e);

/* hosts.c: ids of keys, made when new. */
int host_id_get(struct db *db, const char *key, int64_t *ret_id, struct err *e);
int protocol_id_get(struct db *db, const char *key, int64_t *ret_id, struct err *e);
int subject_id_get(struct db *db, const char *allocator, const char *options_key,
                   const struct exec_runner_result *runner, int64_t *ret_id, struct err *e);

/* trials.c */
struct trial_row {
    int64_t job_id, attempt_id, cell_id;
    uint32_t runner_idx;
    char role[16], allocator[48], options_key[RING_OPTIONS_MAX * 33];
};
/* Everything one runner brought: identity, outcome, slices, values, vectors; the cell's counters
 * (as discarded when `discard`). */
int trial_put(struct store *s, struct db *db, const struct trial_row *row,
              const struct exec_runner_result *runner, bool discard, struct err *e);
/* A runner that brought nothing: outcome "lost" or "not_run" with the reason. */
int trial_put_nothing(struct db *db, const struct trial_row *row, bool lost, const struct err *why,
                      struct err *e);
/* The runners planned for an attempt's ring; returns their number. */
int trial_rows(struct db *db, int64_t attempt_id, struct trial_row rows[RING_RUNNERS_MAX],
               struct err *e);

/* attempts.c: set a running attempt lost or failed, with rows for its runners and the job's
 * counters. For store_attempt_abandon and store_recover. */
int attempt_end_without_result(struct db *db, int64_t attempt_id, bool lost, const struct err *why,
                               struct err *e);

#endif
