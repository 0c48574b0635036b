/* export: stored results, streamed as NDJSON or CSV. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli/client.h"
#include "daemon/cli/jobs.h"

static const struct {
    enum option_id option;
    const char *query;
} filters[] = {
    {OPTION_WORKLOAD, "workload"}, {OPTION_ALLOCATOR, "allocator"}, {OPTION_METRIC, "metric"},
    {OPTION_THREADS, "threads"},   {OPTION_PAGES, "pages"},         {OPTION_PROJECT, "project"},
    {OPTION_BRANCH, "branch"},     {OPTION_COMMIT, "commit"},       {OPTION_HOST_KEY, "host_key"},
    {OPTION_SINCE, "since"},       {OPTION_UNTIL, "until"},
};

static enum cli_exit export_path(struct cli *c, const char *format, char path[CLIENT_PATH_SIZE])
{
    enum cli_exit code = client_path_query(path, "format", format, &c->err);
    for (size_t i = 0; code == CLI_OK && i < sizeof filters / sizeof filters[0]; i++)
        code = client_path_query(path, filters[i].query, cli_value(c, filters[i].option), &c->err);
    if (code != CLI_OK || !cli_has(c, OPTION_JOB))
        return code;
    char id[JOB_ID_SIZE];
    code = job_find(c, cli_value(c, OPTION_JOB), id);
    return code == CLI_OK ? client_path_query(path, "job", id, &c->err) : code;
}

enum cli_exit cmd_export(struct cli *c)
{
    const char *format = cli_value(c, OPTION_FORMAT), *output = cli_value(c, OPTION_OUTPUT);
    char path[CLIENT_PATH_SIZE] = "/api/v1/results";
    cleanup_(fclose_p) FILE *opened = NULL;
    if (!format)
        format = "ndjson";
    if (c->json && strcmp(format, "csv") == 0)
        return cli_fail(c, CLI_USAGE, "--json and --format csv exclude each other");
    enum cli_exit code = export_path(c, format, path);
    if (code != CLI_OK)
        return code;
    if (output && !(opened = fopen(output, "wxe")))
        return cli_fail(c, CLI_USAGE, "cannot make %s: %s", output, strerror(errno));
    FILE *out = opened ? opened : stdout;
    code = client_download(c->client, path,
                           strcmp(format, "csv") == 0 ? "text/csv" : "application/x-ndjson", out,
                           &c->err);
    if (fflush(out) != 0 && code == CLI_OK)
        code = cli_fail(c, CLI_FAILED, "cannot write the output: %s", strerror(errno));
    if (code != CLI_OK && output)
        (void)remove(output); /* half an export must not look like a whole one */
    return code;
}
