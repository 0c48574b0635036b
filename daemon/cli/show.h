/* A job's results as tables on standard output (cmd_show, the end of cmd_run). */
#ifndef HEAPMARK_DAEMON_CLI_SHOW_H
#define HEAPMARK_DAEMON_CLI_SHOW_H

#include <jansson.h>
#include <math.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/format.h"
#include "daemon/cli/table.h"

/* Fetch /jobs/ID/results (and what else the tables need) and print it: tables, or with --json the
 * document itself. */
enum cli_exit show_job(struct cli *c, const char *id);

/* ---- shared by the show_*.c files ---- */

#define SHOW_UNSTEADY     "\xe2\x80\xa1" /* double dagger */
#define SHOW_SUBJECTS_MAX 64
#define SHOW_NOTES_MAX    24
#define SHOW_TRIALS_MAX   2000 /* looked at, for isolation and discards */

struct show {
    struct cli *c;
    const json_t *job, *groups;
    const json_t *allocators; /* items of /allocators; NULL when the server did not say */
    const json_t *trials;     /* items of /jobs/ID/trials; may be NULL */
    const json_t *workloads;  /* items of /workloads; NULL where no view needs them */
    unsigned columns;         /* of the terminal, 0 no limit */
    /* What the tables printed that needs an explanation. */
    bool used_best, used_same, used_bound, used_unsteady, used_interval, used_count, used_scaling;
};

struct summary {
    bool there;
    double value, low, high, ratio, ratio_low, ratio_high, confidence, count, noise, null_share;
    bool harness_bound, unsteady;
    const char *unit;
};

bool show_is_harness(const struct show *s, const json_t *cell);
struct summary show_summary(const json_t *cell, const char *metric);
/* The metric a workload is about, or "" when the server did not say. */
const char *show_headline(const struct show *s, const char *workload);
/* The cell of a subject in a group, or NULL. */
const json_t *show_cell(const json_t *group, const char *subject);
/* Subjects of groups whose workload begins with `prefix`, in order, harness rows last. */
unsigned show_subjects(const struct show *s, const char *prefix,
                       const char *ret[SHOW_SUBJECTS_MAX]);
bool show_subject_is_harness(const struct show *s, const char *subject);
/* "failed", "discarded" or "–" for a cell without a value. */
const char *show_absence(const json_t *cell, enum term_style *ret_style);

enum show_mark { MARK_NONE, MARK_BEST, MARK_SAME };
/* Whether the server says that the cell is the best of its group in a metric, or one of those that
 * cannot be told from the best. */
enum show_mark show_mark_of(const json_t *cell, const char *metric);
/* Value, interval and marks of one cell into the table. */
void show_value(struct show *s, struct table *table, unsigned column, const json_t *group,
                const char *subject, const char *metric, double divisor, enum format_form form);
/* Repetitions too few for an interval of 95%: none may look like one. */
bool show_is_few(double count, double confidence);
/* A value with its interval, or with its count ("n=3") where those are too few; marked where it is
 * not of the steady state. */
void show_estimate(struct show *s, const struct summary *x, double divisor, enum format_form form,
                   char buf[FORMAT_SIZE]);
/* The same for its ratio to the reference. */
void show_ratio(struct show *s, const struct summary *x, char buf[FORMAT_SIZE]);
/* Parameters beside the defaults, "live=10,000 touch=all"; without the one named `but`, or NULL. */
void show_params(const json_t *group, const char *but, char *buf, size_t size);

void show_reference(struct show *s);
void show_pages(struct show *s);
void show_fork(struct show *s);
void show_generic(struct show *s, const json_t *group);
void show_notes(struct show *s);
void show_title(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
