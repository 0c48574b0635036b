/* run: submit, wait, show; on a server that is there, or on a private one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/local.h"
#include "daemon/cli/show.h"

/* The private daemon goes away with us: Ctrl-C means the job. Results so far are shown. */
static enum cli_exit local_cancel(struct cli *c, const char *id, json_t **ret_job)
{
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs";
    cleanup_(json_decref_p) json_t *reply = NULL;
    cli_note(c, "cancelling the job; Ctrl-C again stops at once");
    client_interrupts_accept(c->client);
    enum cli_exit code = client_path_segment(path, id, &c->err);
    text_copy(path + strlen(path), sizeof path - strlen(path), "/cancel");
    if (code == CLI_OK)
        code = client_post(c->client, path, "", NULL, &reply, &c->err);
    return code == CLI_OK ? job_follow(c, id, ret_job) : code;
}

static enum cli_exit run_job(struct cli *c, bool is_local)
{
    cleanup_(json_decref_p) json_t *job = NULL, *final = NULL;
    char id[JOB_ID_SIZE];
    bool cancelled = false;
    enum cli_exit code = job_submit(c, &job);
    if (code != CLI_OK || !job)
        return code;
    text_copy(id, sizeof id, member_text(job, "id"));
    if (!is_local)
        cli_note(c, "job %s%s%s", id, client_page(c->client)[0] ? ", page: " : "",
                 client_page(c->client));
    code = job_follow(c, id, &final);
    if (code == CLI_INTERRUPTED && is_local) {
        cancelled = true;
        code = local_cancel(c, id, &final);
    }
    if (code != CLI_OK)
        return code;
    code = show_job(c, id);
    if (code != CLI_OK)
        return code;
    if (cancelled)
        return cli_fail(c, CLI_INTERRUPTED, "interrupted; these are the results so far");
    return job_verdict(c, final);
}

static enum cli_exit run_local(struct cli *c)
{
    struct local local;
    enum cli_exit code = local_start(c, cli_value(c, OPTION_STATE_DIR), &local);
    if (code == CLI_OK)
        code = client_new(local.server, NULL, &c->client, &c->err);
    if (code == CLI_OK)
        code = run_job(c, true);
    if (code == CLI_UNREACHABLE && c->client)
        code = local_lost(c, &local);
    client_free(take_ptr(c->client));
    local_stop(&local);
    return code;
}

enum cli_exit cmd_run(struct cli *c)
{
    bool is_local = cli_has(c, OPTION_LOCAL);
    if (cli_has(c, OPTION_STATE_DIR) && !is_local)
        return cli_fail(c, CLI_USAGE, "--state-dir is for --local: a server has its own");
    if (is_local && cli_has(c, OPTION_SERVER))
        return cli_fail(c, CLI_USAGE, "--local starts its own server: leave --server out");
    return is_local ? run_local(c) : run_job(c, false);
}
