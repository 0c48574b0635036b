#include "daemon/cli/jobs.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/table.h"

#define PREFIX_MIN  4
#define PREFIX_JOBS 200 /* newest jobs a prefix is looked up among */

const char *member_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

double member_real(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

enum cli_exit document_print(struct cli *c, const json_t *json)
{
    if (json_dumpf(json, stdout, JSON_INDENT(2)) < 0 || putchar('\n') == EOF || fflush(stdout) != 0)
        return cli_fail(c, CLI_FAILED, "cannot write to standard output");
    return CLI_OK;
}

/* ---- the job found ---- */

enum cli_exit job_get(struct cli *c, const char *id, json_t **ret_job)
{
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs";
    enum cli_exit code = client_path_segment(path, id, &c->err);
    return code == CLI_OK ? client_get(c->client, path, ret_job, &c->err) : code;
}

static enum cli_exit prefix_find(struct cli *c, const json_t *jobs, const char *text,
                                 char ret_id[JOB_ID_SIZE])
{
    size_t i;
    const json_t *job;
    const char *found = NULL;
    bool last = strcmp(text, "last") == 0;
    json_array_foreach(jobs, i, job)
    {
        const char *id = member_text(job, "id");
        if (!last && strncmp(id, text, strlen(text)) != 0)
            continue;
        if (found)
            return cli_fail(c, CLI_USAGE, "more than one job begins with %s", text);
        found = id;
        if (last)
            break;
    }
    if (!found || !text_copy(ret_id, JOB_ID_SIZE, found))
        return last ? cli_fail(c, CLI_USAGE, "there is no job yet")
                    : cli_fail(c, CLI_USAGE, "none of the newest %d jobs begins with %s",
                               PREFIX_JOBS, text);
    return CLI_OK;
}

enum cli_exit job_find(struct cli *c, const char *text, char ret_id[JOB_ID_SIZE])
{
    cleanup_(json_decref_p) json_t *jobs = NULL;
    bool last = strcmp(text, "last") == 0;
    size_t length = strlen(text);
    if (length == 36) {
        text_copy(ret_id, JOB_ID_SIZE, text);
        return CLI_OK;
    }
    if (!last &&
        (length < PREFIX_MIN || length > 36 || strspn(text, "0123456789abcdef-") != length))
        return cli_fail(c, CLI_USAGE,
                        "\"%.64s\" is not a job: its id, at least %d digits of it, or last", text,
                        PREFIX_MIN);
    enum cli_exit code =
        client_list(c->client, last ? "/api/v1/jobs?limit=1" : "/api/v1/jobs?limit=200",
                    last ? 1 : PREFIX_JOBS, &jobs, &c->err);
    return code == CLI_OK ? prefix_find(c, jobs, text, ret_id) : code;
}

/* ---- the job judged ---- */

bool job_is_final(const json_t *job)
{
    return cli_choice_known("succeeded failed cancelled lost", member_text(job, "state"));
}

/* Cells without one good trial, of all. False when the server's answer cannot say. */
static bool cells_measured(struct cli *c, const char *id, size_t *ret_measured)
{
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs";
    cleanup_(json_decref_p) json_t *cells = NULL;
    size_t i, measured = 0;
    const json_t *cell;
    if (client_path_segment(path, id, &c->err) != CLI_OK ||
        !text_copy(path + strlen(path), sizeof path - strlen(path), "/cells?limit=200") ||
        client_list(c->client, path, 0, &cells, &c->err) != CLI_OK)
        return false;
    json_array_foreach(cells, i, cell)
    {
        const json_t *trials = json_object_get(cell, "trials");
        measured += json_integer_value(json_object_get(trials, "ok")) > 0;
    }
    *ret_measured = measured;
    return true;
}

enum cli_exit job_verdict(struct cli *c, const json_t *job)
{
    const char *state = member_text(job, "state"), *id = member_text(job, "id");
    const json_t *error = json_object_get(job, "error");
    char why[400];
    term_clean(why, sizeof why, member_text(error, "message"));
    const char *colon = why[0] ? ": " : "";
    if (strcmp(state, "succeeded") == 0) {
        size_t measured;
        if (!cells_measured(c, id, &measured))
            return CLI_FAILED;
        return measured ? CLI_OK
                        : cli_fail(c, CLI_NOTHING, "job %s ended, but nothing was measured", id);
    }
    if (strcmp(state, "lost") == 0)
        return cli_fail(c, CLI_LOST, "job %s was lost%s%s", id, colon, why);
    if (strcmp(state, "cancelled") == 0)
        return cli_fail(c, CLI_FAILED, "job %s was cancelled%s%s", id, colon, why);
    return cli_fail(c, CLI_FAILED, "job %s failed%s%s", id, colon, why);
}

/* ---- the job submitted ---- */

static enum cli_exit key_make(struct cli *c, char key[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return cli_fail(c, CLI_FAILED, "the system has no random numbers");
    text_hex(bytes, sizeof bytes, key);
    return CLI_OK;
}

static enum cli_exit dry_run_print(struct cli *c, const json_t *reply)
{
    if (c->json)
        return document_print(c, reply);
    char duration[FORMAT_SIZE], memory[FORMAT_SIZE];
    format_duration(member_real(reply, "seconds_estimate"), duration);
    format_value(member_real(reply, "memory_bytes_estimate"), "bytes", memory);
    printf("%.0f cells in %.0f steps, about %s, %s of memory at most\n",
           member_real(reply, "cells_count"), member_real(reply, "steps"), duration, memory);
    cleanup_(table_free_p) struct table *table = table_new();
    static const char *const heads[] = {"workload", "parameters", "threads", "pages", "allocator"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        table_column(table, heads[i], "", i == 2);
    size_t i;
    const json_t *cell;
    json_array_foreach(json_object_get(reply, "cells"), i, cell)
    {
        table_row(table);
        table_cell(table, 0, STYLE_PLAIN, "%s", member_text(cell, "workload"));
        table_cell(table, 1, STYLE_PLAIN, "%s", member_text(cell, "params_key"));
        table_cell(table, 2, STYLE_PLAIN, "%.0f", member_real(cell, "threads"));
        table_cell(table, 3, STYLE_PLAIN, "%s", member_text(cell, "pages"));
        table_cell(table, 4, STYLE_PLAIN, "%s", member_text(cell, "subject"));
    }
    table_print(table, stdout, 0);
    return CLI_OK;
}

enum cli_exit job_submit(struct cli *c, json_t **ret_job)
{
    cleanup_(json_decref_p) json_t *body = NULL, *reply = NULL;
    bool dry = cli_has(c, OPTION_DRY_RUN);
    const char *key = cli_value(c, OPTION_KEY);
    char random_key[33];
    enum cli_exit code = job_body_make(c, &body);
    if (code == CLI_OK && !key) {
        code = key_make(c, random_key);
        key = random_key;
    }
    if (code != CLI_OK)
        return code;
    cleanup_(free_p) char *text = json_dumps(body, JSON_COMPACT);
    if (!text)
        return cli_fail(c, CLI_FAILED, "out of memory");
    code = client_post(c->client, dry ? "/api/v1/jobs?dry_run=1" : "/api/v1/jobs", text,
                       dry ? NULL : key, &reply, &c->err);
    if (code != CLI_OK)
        return code;
    if (dry) {
        *ret_job = NULL;
        return dry_run_print(c, reply);
    }
    json_t *job = json_object_get(reply, "job");
    if (!member_text(job, "id")[0])
        return cli_fail(c, CLI_FAILED, "the server took the job but gave it no id");
    *ret_job = json_incref(job);
    return CLI_OK;
}
