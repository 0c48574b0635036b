/* submit, watch, show, list, cancel. */
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

#define LIST_LIMIT_DEFAULT 20
#define LIST_LIMIT_MAX     100000

enum cli_exit cmd_submit(struct cli *c)
{
    cleanup_(json_decref_p) json_t *job = NULL;
    enum cli_exit code = job_submit(c, &job);
    if (code != CLI_OK || !job)
        return code;
    if (c->json)
        return document_print(c, job);
    printf("%s\n", member_text(job, "id"));
    return CLI_OK;
}

enum cli_exit cmd_watch(struct cli *c)
{
    char id[JOB_ID_SIZE];
    cleanup_(json_decref_p) json_t *job = NULL;
    enum cli_exit code = job_find(c, c->operands[0], id);
    if (code == CLI_OK)
        code = job_follow(c, id, &job);
    if (code != CLI_OK)
        return code;
    if (c->json)
        code = document_print(c, job);
    else
        cli_note(c, "job %s %s", id, member_text(job, "state"));
    return code == CLI_OK ? job_verdict(c, job) : code;
}

enum cli_exit cmd_show(struct cli *c)
{
    char id[JOB_ID_SIZE];
    enum cli_exit code = job_find(c, c->operands[0], id);
    return code == CLI_OK ? show_job(c, id) : code;
}

enum cli_exit cmd_cancel(struct cli *c)
{
    char id[JOB_ID_SIZE], path[CLIENT_PATH_SIZE] = "/api/v1/jobs";
    cleanup_(json_decref_p) json_t *job = NULL;
    enum cli_exit code = job_find(c, c->operands[0], id);
    if (code == CLI_OK)
        code = client_path_segment(path, id, &c->err);
    if (code != CLI_OK)
        return code;
    text_copy(path + strlen(path), sizeof path - strlen(path), "/cancel");
    code = client_post(c->client, path, "", NULL, &job, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json)
        return document_print(c, job);
    if (job_is_final(job))
        cli_note(c, "job %s had ended: %s", id, member_text(job, "state"));
    else
        cli_note(c, "job %s is being cancelled", id);
    return CLI_OK;
}

static enum cli_exit limit_parse(struct cli *c, size_t *ret_limit)
{
    const char *text = cli_value(c, OPTION_LIMIT);
    uint64_t value = LIST_LIMIT_DEFAULT;
    if (text && (text_parse_u64(text, &value) < 0 || value == 0 || value > LIST_LIMIT_MAX))
        return cli_fail(c, CLI_USAGE, "--limit %s: not 1 to %d", text, LIST_LIMIT_MAX);
    *ret_limit = value;
    return CLI_OK;
}

static void list_row(struct table *table, const json_t *job)
{
    const json_t *progress = json_object_get(job, "progress");
    const json_t *labels = json_object_get(job, "labels");
    const char *state = member_text(job, "state"), *preset = member_text(job, "preset");
    bool bad = cli_choice_known("failed lost", state);
    double done = member_real(progress, "steps_done"), total = member_real(progress, "steps_total");
    table_row(table);
    table_cell(table, 0, STYLE_PLAIN, "%s", member_text(job, "id"));
    table_cell(table, 1, bad ? STYLE_BAD : STYLE_PLAIN, "%s", state);
    if (total > 0)
        table_cell(table, 2, STYLE_PLAIN, "%.0f/%.0f", done, total);
    table_cell(table, 3, STYLE_PLAIN, "%.19s", member_text(job, "created"));
    table_cell(table, 4, STYLE_PLAIN, "%s",
               member_text(job, "name")[0] ? member_text(job, "name") : preset);
    table_cell(table, 5, STYLE_PLAIN, "%s%s%.12s", member_text(labels, "project"),
               member_text(labels, "commit")[0] ? " " : "", member_text(labels, "commit"));
}

enum cli_exit cmd_list(struct cli *c)
{
    static const enum option_id filters[] = {OPTION_STATE, OPTION_PRESET, OPTION_PROJECT,
                                             OPTION_BRANCH, OPTION_COMMIT};
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs", page[8];
    cleanup_(json_decref_p) json_t *items = NULL;
    size_t limit = LIST_LIMIT_DEFAULT, i;
    const json_t *job;
    enum cli_exit code = limit_parse(c, &limit);
    for (size_t f = 0; code == CLI_OK && f < sizeof filters / sizeof filters[0]; f++)
        code = client_path_query(path, cli_options[filters[f]].name, cli_value(c, filters[f]),
                                 &c->err);
    snprintf(page, sizeof page, "%zu", limit < 200 ? limit : 200);
    if (code == CLI_OK)
        code = client_path_query(path, "limit", page, &c->err);
    if (code == CLI_OK)
        code = client_list(c->client, path, limit, &items, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json) {
        cleanup_(json_decref_p) json_t *document = json_pack("{s:O}", "items", items);
        return document_print(c, document);
    }
    cleanup_(table_free_p) struct table *table = table_new();
    static const char *const heads[] = {"job", "state", "steps", "created", "name", "labels"};
    for (i = 0; i < sizeof heads / sizeof heads[0]; i++)
        table_column(table, heads[i], "", i == 2);
    json_array_foreach(items, i, job) list_row(table, job);
    table_print(table, stdout, 0);
    return CLI_OK;
}
