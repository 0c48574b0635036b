/* What several commands do with jobs: build a body, submit it, find a job, wait for it. */
#ifndef HEAPMARK_DAEMON_CLI_JOBS_H
#define HEAPMARK_DAEMON_CLI_JOBS_H

#include <jansson.h>

#include "daemon/cli/cli.h"

#define JOB_FILE_MAX ((size_t)1 << 20)
#define JOB_ID_SIZE  40

/* The body that the operand and the options of run and submit describe. */
enum cli_exit job_body_make(struct cli *c, json_t **ret_body);
/* Apply one --set. */
enum cli_exit job_body_set(struct cli *c, json_t *body, const char *assignment);

/* Submit (or, with --dry-run, have it checked and print the answer and set *ret_job to NULL). */
enum cli_exit job_submit(struct cli *c, json_t **ret_job);

/* A JOB operand: id, first digits of one, or "last". */
enum cli_exit job_find(struct cli *c, const char *text, char ret_id[JOB_ID_SIZE]);
enum cli_exit job_get(struct cli *c, const char *id, json_t **ret_job);

/* Wait until the job is final, with progress on standard error. CLI_INTERRUPTED and CLI_TIMEOUT
 * leave the job running; c->err says how to go on. */
enum cli_exit job_follow(struct cli *c, const char *id, json_t **ret_job);

/* The exit code a final job stands for; c->err says why it is not CLI_OK. */
enum cli_exit job_verdict(struct cli *c, const json_t *job);
bool job_is_final(const json_t *job);

/* Member text, or "". */
const char *member_text(const json_t *object, const char *key);
/* Member number, or NaN. */
double member_real(const json_t *object, const char *key);
/* Write a document to standard output, indented, with a newline. */
enum cli_exit document_print(struct cli *c, const json_t *json);

#endif
