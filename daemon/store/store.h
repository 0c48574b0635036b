/* The store: everything heapmark knows, in one SQLite file. The only user of sqlite3.
 *
 * One connection, used by one thread at a time, does every write and every checkpoint; every
 * function below that changes something returns when its change is durable (group
 * commit: concurrent calls share one fsync). Readers take a view: a read-only connection with a
 * statement cache, a snapshot for as long as it is held, and a deadline enforced by SQLite's
 * progress handler. Rows are filled into plain structs; text pointers in rows given to callbacks
 * live only during the callback. A callback that returns non-zero ends the query with that value.
 *
 * Errors: 0 or -errno, with what a client must see in *e. ERR_NO_SPACE when the disk is full or
 * below the low-water mark (nothing was lost: the transaction is rolled back), ERR_INCOMPATIBLE
 * for a newer schema, ERR_CONFLICT when another daemon holds the state directory. */
#ifndef HEAPMARK_DAEMON_STORE_STORE_H
#define HEAPMARK_DAEMON_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"
#include "daemon/executor/executor.h"
#include "daemon/job/job.h"

struct store;
struct store_view;

struct store_config {
    const char *directory;    /* state directory; holds heapmark.db and the lock */
    unsigned readers_count;   /* 2-4 */
    uint64_t low_water_bytes; /* refuse new jobs below this much free disk */
};

/* Lock the directory, open or create the file, migrate, quick_check after an unclean end, start
 * the writer. */
int store_open(const struct store_config *config, struct store **ret, struct err *e);
void store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)

const char *store_sqlite_version(void);

/* "reference", "control", "subject": the names roles have in the database and the API. */
const char *store_role_name(enum exec_role role);

/* Writable and above the low-water mark, for /readyz. */
int store_ready(struct store *s, struct err *e);

struct store_stats {
    uint64_t database_bytes, wal_bytes, disk_free_bytes;
    uint64_t commits, transactions, rows_written, checkpoints;
    uint64_t jobs_by_state[JOB_STATE_COUNT_];
};
int store_stats(struct store *s, struct store_stats *ret, struct err *e);

/* ---- jobs ---- */

struct store_cell_new {
    uint32_t idx, group_idx;
    const char *workload, *params_key, *allocator, *options_key; /* options sorted, joined by "," */
    uint32_t threads, pages;
    enum exec_role role;
};

struct store_job_new {
    const char *uuid, *name, *preset, *profile, *spec_json;
    const struct job_labels *labels;
    const struct store_cell_new *cells;
    uint32_t cells_count;
    uint32_t steps_total;
    const char *principal; /* token name or "local" */
    /* Idempotency: NULL key for none. Same key and body: *ret_uuid is the first job's, and
     * *ret_replayed is true. Same key, other body: ERR_INVALID. Kept at least 24 h. */
    const char *idempotency_key, *body_sha256;
};
int store_job_add(struct store *s, const struct store_job_new *job, char ret_uuid[37],
                  bool *ret_replayed, struct err *e);

struct store_job {
    int64_t id;
    char uuid[37];
    enum job_state state;
    char name[JOB_NAME_MAX], preset[48], profile[16], principal[64];
    struct job_labels labels;
    char host_key[65];
    int64_t created_us, started_us, finished_us; /* 0: not yet */
    /* steps_done: settled and given up; a whole job has done them all. */
    uint32_t cells_count, steps_total, steps_done, steps_failed, steps_discarded, steps_given_up;
    uint32_t attempts; /* times claimed, without claims given back */
    /* Who measures it: the build of the claim after which its first step was settled. */
    char harness_build[RING_BUILD_ID_SIZE];
    bool cancel_requested;
    struct err error; /* why failed or lost */
    char *spec_json;  /* owned: store_job_done */
};
void store_job_done(struct store_job *job);

/* Oldest queued job → claimed. 1 and *ret, 0 when none, negative. */
int store_job_claim(struct store *s, const char *host_key, struct store_job *ret, struct err *e);
/* Whether a job may go from one state to the other: the state machine, as data. */
bool store_job_transition_legal(enum job_state from, enum job_state to);
/* Legal transitions only (else ERR_CONFLICT); `why` may be NULL. Sets started/finished times.
 * Back to queued (a drained daemon) gives the claim back, and means cancelled when that was asked
 * for meanwhile. */
int store_job_set_state(struct store *s, const char *uuid, enum job_state state,
                        const struct err *why, struct err *e);
/* How many steps the job has by now, and how many this run of it passed over so far (a claim begins
 * at none). */
int store_job_steps(struct store *s, int64_t job_id, uint32_t steps_total, uint32_t given_up,
                    struct err *e);
/* Idempotent. Queued → cancelled at once; claimed or running → cancel_requested. *ret_state is the
 * state after. ERR_NOT_FOUND. A job already final keeps its state (no error). */
int store_job_cancel(struct store *s, const char *uuid, enum job_state *ret_state, struct err *e);

/* ---- rings and trials ---- */

/* A step of a job: a ring, or one trial of a block. (job, group, repetition, position) names it. */
struct store_ring_new {
    int64_t job_id;
    uint32_t group_idx, repetition, position;
    bool oneshot;
    uint64_t seed, tape_seed;
    uint32_t cells_count;
    uint32_t cells[RING_RUNNERS_MAX]; /* cell idx of each runner */
    enum exec_role roles[RING_RUNNERS_MAX];
};
/* Insert the ring if it is new and a running attempt of it, durable before anything is started.
 * ERR_CONFLICT if one of its attempts is running, accepted or failed for good, if its runners were
 * others before, or if the job is neither claimed nor running. */
int store_attempt_begin(struct store *s, const struct store_ring_new *ring, const char *executor,
                        char ret_attempt_uuid[37], int64_t *ret_attempt_id, struct err *e);
/* Everything of an attempt in one transaction: trials with outcome, identity (build and subject
 * rows made as needed), slices blob, values, vectors, logs; the attempt becomes accepted (or
 * discarded, with the reason: the step may then be attempted again) and the job's counters move:
 * steps_done counts settled steps, steps_failed those of them with a runner that failed,
 * steps_discarded discarded attempts; a settled step is progress, so claims without progress count
 * from none again. A second finish: ERR_CONFLICT. Values that are NaN or infinite are not stored.
 */
int store_attempt_finish(struct store *s, int64_t attempt_id, const struct exec_request *request,
                         const struct exec_result *result, struct err *e);
/* The attempt brought nothing: lost (retry) or failed (final: the step counts as done and failed).
 * Its runners get trials with outcome "lost" or "not_run", failure the error's name, message. */
int store_attempt_abandon(struct store *s, int64_t attempt_id, bool lost, const struct err *why,
                          struct err *e);

/* At start: running attempts → lost, claimed and running jobs → queued, or lost when claimed
 * `attempts_max` times without a step settled since, or cancelled when that was asked for. Returns
 * how many attempts were lost. */
int store_recover(struct store *s, uint32_t attempts_max, struct err *e);

/* ---- summaries and series ---- */

/* How the trials behind a summary ran; SOLO: apart from the rings that were planned, because the
 * cell uses CPU outside its turns. */
enum store_measured { MEASURED_UNKNOWN, MEASURED_RING, MEASURED_TRIAL, MEASURED_SOLO };
const char *store_measured_name(enum store_measured measured); /* "", "ring", "trial", "solo" */

struct store_summary {
    uint32_t cell_idx;
    enum metric_id metric;
    uint32_t count; /* rings or trials behind it */
    double value, low, high, confidence;
    double ratio, ratio_low, ratio_high; /* to the control, paired; NaN: none */
    double noise;      /* A/A: farthest end of the ln(control/control) interval from 0; NaN: none */
    double null_share; /* the harness's share of this value, 0..1; NaN: unknown */
    bool harness_bound;
    bool unsteady;      /* measured before its workload's own warm-up was over */
    const char *reason; /* why it is unsteady, not to be trusted, or has no value (NaN, count 0);
                           "", NULL */
    enum store_measured measured;
    const char *protocol_key; /* of how it was measured; "" in rows read back by job */
};
/* Replace a job's summaries and write its series points (series made as needed, keyed by host,
 * protocol and subject-without-build; the subject is the x axis). */
int store_summaries_put(struct store *s, int64_t job_id, const char *host_key,
                        const struct store_summary *rows, uint32_t rows_count, struct err *e);

/* ---- hosts, tokens ---- */

int store_host_put(struct store *s, const char *host_key, const char *name, const char *facts_json,
                   struct err *e);

enum token_scope { SCOPE_READ = 1, SCOPE_SUBMIT = 2, SCOPE_UPLOAD = 4, SCOPE_ADMIN = 8 };
struct store_token {
    int64_t id;
    char name[64];
    unsigned scopes;
    int64_t created_us, expires_us /* 0 never */, last_used_us, revoked_us;
};
int store_token_add(struct store *s, const char *name, const char *secret_sha256, unsigned scopes,
                    int64_t expires_us, struct err *e); /* ERR_CONFLICT: name taken */
int store_token_revoke(struct store *s, const char *name, struct err *e);
/* Note that a token was used now. Costs a commit: call it when last_used_us is old (a minute). */
int store_token_used(struct store *s, int64_t token_id, struct err *e);

/* ---- reading ---- */

/* Take a read-only snapshot; waits at most deadline_ms for one, and queries on it are interrupted
 * (ERR_LIMIT) when the deadline passes. One thread at a time per view; a callback may ask its own
 * view further questions. All views must be released before store_close. */
int store_view_acquire(struct store *s, uint32_t deadline_ms, struct store_view **ret,
                       struct err *e);
void store_view_release(struct store_view *v);
DEFINE_CLEANUP(struct store_view *, store_view_release)

int store_view_token(struct store_view *v, const char *secret_sha256, struct store_token *ret,
                     struct err *e); /* ERR_UNAUTHORIZED: unknown, expired or revoked */
int store_view_tokens(struct store_view *v, int (*each)(void *ctx, const struct store_token *t),
                      void *ctx, struct err *e);

int store_view_job(struct store_view *v, const char *uuid, struct store_job *ret, struct err *e);

/* Jobs of a list come newest first and without spec_json (NULL). */
struct store_job_filter {
    int state;                                      /* enum job_state or -1 */
    const char *project, *branch, *commit, *preset; /* NULL: any */
    int64_t before_id;                              /* cursor: ids below; 0: newest */
    uint32_t limit;
};
int store_view_jobs(struct store_view *v, const struct store_job_filter *filter,
                    int (*each)(void *ctx, const struct store_job *job), void *ctx, struct err *e);

/* Steps that were ever attempted: for continuing a job. */
struct store_step {
    uint32_t group_idx, repetition, position;
    bool accepted; /* has an accepted attempt: settled */
    bool failed;   /* has an attempt that failed for good: settled as well */
    uint32_t attempts, discards;
};
int store_view_steps(struct store_view *v, int64_t job_id,
                     int (*each)(void *ctx, const struct store_step *step), void *ctx,
                     struct err *e);

struct store_cell {
    int64_t id;
    uint32_t idx, group_idx, threads, pages;
    const char *workload, *params_key, *allocator, *options_key;
    enum exec_role role;
    uint32_t trials_ok, trials_failed, trials_discarded;
    uint32_t trials_crowded;  /* ran with no CPU left for the daemon */
    const char *last_failure; /* "crashed: signal 11 after 40 of 410 turns: …", "" */
};
int store_view_cells(struct store_view *v, int64_t job_id,
                     int (*each)(void *ctx, const struct store_cell *cell), void *ctx,
                     struct err *e);

struct store_trial {
    int64_t id, ring_id;
    uint32_t cell_idx, repetition, position, runner_idx, attempt;
    enum exec_role role;
    const char *attempt_state; /* accepted discarded lost failed */
    const char *outcome;       /* wire_outcome_name(), or "lost", "not_run" */
    const char *failure, *message, *log, *sha256, *version, *discard_reason;
    int exit_status, signal;
    uint32_t turns_done, turns_total, isolation;
    int64_t started_us, finished_us;
    double steal_ratio, psi_cpu_ratio;
    bool housekeeping;
    const struct ring_slice *slices; /* NULL unless asked for */
    uint32_t slices_count;
};
struct store_trial_filter {
    int64_t job_id;
    int cell_idx; /* -1: all */
    bool with_slices;
    int64_t after_id; /* cursor */
    uint32_t limit;   /* 0: all */
};
int store_view_trials(struct store_view *v, const struct store_trial_filter *filter,
                      int (*each)(void *ctx, const struct store_trial *trial), void *ctx,
                      struct err *e);

/* Values of accepted attempts: of one trial, or of a whole job (trial_id 0), in cell order; job_id
 * 0 with a trial_id: whatever its job. */
struct store_value {
    int64_t trial_id;
    uint32_t cell_idx, group_idx, repetition, position, runner_idx;
    enum exec_role role;
    enum metric_id metric;
    double value;
};
int store_view_values(struct store_view *v, int64_t job_id, int64_t trial_id,
                      int (*each)(void *ctx, const struct store_value *value), void *ctx,
                      struct err *e);
/* Metrics that trials of accepted attempts listed and had no value of, and why: selected as values
 * are. */
struct store_absence {
    int64_t trial_id;
    uint32_t cell_idx;
    enum metric_id metric;
    const char *reason;
};
int store_view_absences(struct store_view *v, int64_t job_id, int64_t trial_id,
                        int (*each)(void *ctx, const struct store_absence *absence), void *ctx,
                        struct err *e);
/* One call of `each`, or ERR_NOT_FOUND. */
int store_view_vector(struct store_view *v, int64_t trial_id, enum metric_id metric,
                      int (*each)(void *ctx, const double *values, uint32_t count), void *ctx,
                      struct err *e);

int store_view_summaries(struct store_view *v, int64_t job_id,
                         int (*each)(void *ctx, const struct store_summary *row), void *ctx,
                         struct err *e);

/* One row per (job, cell, metric): the results query and the NDJSON and CSV export. */
struct store_result {
    const char *job_uuid, *workload, *params_key, *allocator, *options_key, *sha256, *version,
        *host_key, *protocol_key, *project, *branch, *commit;
    uint32_t threads, pages;
    int64_t finished_us, job_id;
    struct store_summary summary;
};
struct store_result_filter {
    const char *job_uuid, *workload, *params_key, *allocator, *metric, *host_key, *project, *branch,
        *commit;                /* NULL: any */
    int threads, pages;         /* -1: any */
    int64_t since_us, until_us; /* from, below; 0: open */
    int64_t before_rowid;       /* cursor; 0: newest */
    uint32_t limit;             /* 0: all, streamed */
};
/* Newest first. finished_us is when the summary was made. */
int store_view_results(struct store_view *v, const struct store_result_filter *filter,
                       int (*each)(void *ctx, const struct store_result *row, int64_t rowid),
                       void *ctx, struct err *e);

/* Series and their points (clustered by series and time). before_rowid is the cursor over series
 * ids; project, branch, commit, job and times select series with at least one such point. */
struct store_series {
    int64_t id;
    const char *key, *workload, *params_key, *allocator, *options_key, *host_key, *protocol_key;
    enum metric_id metric;
    uint32_t threads, pages, points_count;
    int64_t last_us;
};
int store_view_series(struct store_view *v, const struct store_result_filter *filter,
                      int (*each)(void *ctx, const struct store_series *series), void *ctx,
                      struct err *e);
/* Oldest first, from since_us to below until_us (0: open), at most `limit` (0: all). time_us is the
 * commit's time when the job's labels have one, else when the job started. ERR_NOT_FOUND: no such
 * series. */
struct store_point {
    int64_t time_us, job_id;
    double value, low, high, ratio, ratio_low, ratio_high;
    const char *job_uuid, *sha256, *commit; /* of the subject's build; label */
};
int store_view_points(struct store_view *v, int64_t series_id, int64_t since_us, int64_t until_us,
                      uint32_t limit, int (*each)(void *ctx, const struct store_point *point),
                      void *ctx, struct err *e);

/* Builds seen by proof. allocator NULL: all. */
struct store_build {
    const char *allocator, *sha256, *version, *path;
    int64_t first_seen_us, last_seen_us;
};
int store_view_builds(struct store_view *v, const char *allocator,
                      int (*each)(void *ctx, const struct store_build *build), void *ctx,
                      struct err *e);

#endif
