/* The tables of commands, options and exit codes. */
#include "daemon/cli/cli.h"

#include <string.h>

const struct cli_exit_row cli_exits[] = {
    {CLI_OK, "Done; a job that was waited for succeeded."},
    {CLI_FAILED, "The job failed or was cancelled, or the server refused the request."},
    {CLI_USAGE, "Wrong options, or a job or a name that the server does not accept."},
    {CLI_AUTH, "No token, a wrong or expired one, or one without the scope needed."},
    {CLI_UNREACHABLE, "No server answered, or it went away and did not come back."},
    {CLI_LOST, "The job was lost: its host went down too often while it ran."},
    {CLI_TIMEOUT, "Not finished within --timeout, or a request took too long."},
    {CLI_NOTHING, "The job ended, but not one value was measured."},
    {CLI_INTERRUPTED, "Interrupted by Ctrl-C."},
    {CLI_OK, NULL},
};

const struct cli_option cli_options[OPTION_COUNT_] = {
    [OPTION_SERVER] = {"server", 's', "URL",
                       .help = "The server: http://HOST:PORT, "
                               "https://HOST or unix:/PATH. Default: $HEAPMARK_SERVER, else "
                               "http://127.0.0.1:8080."},
    [OPTION_TOKEN_FILE] = {"token-file", 0, "FILE", "FILE",
                           .help = "File that holds the token. "
                                   "Default: $HEAPMARK_TOKEN. A token is never an argument."},
    [OPTION_JSON] = {"json", 'j',
                     .help = "Write one JSON document, as the API gave it, to "
                             "standard output and nothing else."},
    [OPTION_QUIET] = {"quiet", 'q', .help = "No progress and no notes on standard error."},
    [OPTION_COLOR] = {"color", 0, "WHEN", "auto always never",
                      .help = "Whether to colour: auto "
                              "(on a terminal, unless $NO_COLOR is set), always or never."},
    [OPTION_HELP] = {"help", 'h', .help = "Say how to use the command, and stop."},
    [OPTION_VERSION] = {"version", 'V', .help = "Print the version, and stop."},
    [OPTION_PROFILE] = {"profile", 'p', "NAME", "demo quick full",
                        .help = "How much to repeat: "
                                "demo (minutes), quick or full."},
    [OPTION_SET] = {"set", 0, "PATH=VALUE", .repeatable = true,
                    .help =
                        "Replace a field of the "
                        "job, as repeat.rings=20 or workloads.0.params.live=1000. VALUE is JSON, "
                        "else text; commas outside JSON make a list."},
    [OPTION_ALLOCATORS] = {"allocators", 'a', "LIST",
                           .help = "Allocators to measure, apart by "
                                   "commas, options after +: glibc,jemalloc+thp-off."},
    [OPTION_NAME] = {"name", 'n', "TEXT", .help = "A name for the job."},
    [OPTION_LABEL] = {"label", 'l', "KEY=VALUE", .repeatable = true,
                      .help = "A label: project, "
                              "commit, parent, sequence, branch, tag or time."},
    [OPTION_KEY] = {"key", 0, "TEXT",
                    .help = "Idempotency key: the same key and job again give "
                            "the job made before. Default: a new random one."},
    [OPTION_DRY_RUN] = {"dry-run", 0,
                        .help = "Check the job and print its cells, time and memory; "
                                "submit nothing."},
    [OPTION_LOCAL] = {"local", 0,
                      .help = "Start a private heapmarkd on a Unix socket for this job "
                              "and stop it afterwards."},
    [OPTION_STATE_DIR] = {"state-dir", 0, "DIR", "DIR",
                          .help = "With --local: keep the database "
                                  "in DIR. Default: a temporary directory, removed afterwards."},
    [OPTION_TIMEOUT] = {"timeout", 0, "SECONDS",
                        .help = "Stop waiting after so long (exit code "
                                "7); the job goes on."},
    [OPTION_STATE] = {"state", 0, "STATE", "queued claimed running succeeded failed cancelled lost",
                      .help = "Only jobs in this state."},
    [OPTION_LIMIT] = {"limit", 0, "N", .help = "At most N rows. Default: 20."},
    [OPTION_PRESET] = {"preset", 0, "NAME", .help = "Only jobs made from this preset."},
    [OPTION_PROJECT] = {"project", 0, "TEXT", .help = "Only jobs with this project label."},
    [OPTION_BRANCH] = {"branch", 0, "TEXT", .help = "Only jobs with this branch label."},
    [OPTION_COMMIT] = {"commit", 0, "TEXT", .help = "Only jobs with this commit label."},
    [OPTION_WORKLOAD] = {"workload", 0, "NAME", .help = "Only results of this workload."},
    [OPTION_ALLOCATOR] = {"allocator", 0, "NAME", .help = "Only results of this allocator."},
    [OPTION_METRIC] = {"metric", 0, "NAME", .help = "Only results in this metric."},
    [OPTION_THREADS] = {"threads", 0, "N", .help = "Only results with this many threads."},
    [OPTION_PAGES] = {"pages", 0, "MODE", "4k thp hugetlb-2m hugetlb-1g",
                      .help = "Only results on these pages."},
    [OPTION_HOST_KEY] = {"host-key", 0, "KEY", .help = "Only results of this host."},
    [OPTION_JOB] = {"job", 0, "JOB", .help = "Only results of this job."},
    [OPTION_SINCE] = {"since", 0, "TIME", .help = "Only results from this time on (RFC 3339)."},
    [OPTION_UNTIL] = {"until", 0, "TIME", .help = "Only results before this time (RFC 3339)."},
    [OPTION_FORMAT] = {"format", 'f', "FORMAT", "ndjson csv", .help = "ndjson (default) or csv."},
    [OPTION_OUTPUT] = {"output", 'o', "FILE", "FILE",
                       .help = "Write to FILE, made anew, instead "
                               "of standard output."},
    [OPTION_SCOPES] = {"scopes", 0, "LIST",
                       .help = "What the token may do, apart by commas: read, "
                               "submit, upload, admin. Default: read,submit."},
    [OPTION_EXPIRES] = {"expires", 0, "TIME",
                        .help = "When the token ends (RFC 3339). Default: "
                                "never."},
};

#define JOB_MAKING_OPTIONS                                                                \
    OPTION_PROFILE, OPTION_SET, OPTION_ALLOCATORS, OPTION_NAME, OPTION_LABEL, OPTION_KEY, \
        OPTION_DRY_RUN

const enum option_id cli_global_options[] = {OPTION_SERVER,  OPTION_TOKEN_FILE, OPTION_JSON,
                                             OPTION_QUIET,   OPTION_COLOR,      OPTION_HELP,
                                             OPTION_VERSION, OPTION_END};
static const enum option_id no_options[] = {OPTION_END};
static const enum option_id run_options[] = {JOB_MAKING_OPTIONS, OPTION_LOCAL, OPTION_STATE_DIR,
                                             OPTION_TIMEOUT, OPTION_END};
static const enum option_id submit_options[] = {JOB_MAKING_OPTIONS, OPTION_END};
static const enum option_id watch_options[] = {OPTION_TIMEOUT, OPTION_END};
static const enum option_id list_options[] = {OPTION_STATE,  OPTION_PRESET, OPTION_PROJECT,
                                              OPTION_BRANCH, OPTION_COMMIT, OPTION_LIMIT,
                                              OPTION_END};
static const enum option_id export_options[] = {
    OPTION_FORMAT,   OPTION_OUTPUT, OPTION_WORKLOAD, OPTION_ALLOCATOR, OPTION_METRIC,
    OPTION_THREADS,  OPTION_PAGES,  OPTION_PROJECT,  OPTION_BRANCH,    OPTION_COMMIT,
    OPTION_HOST_KEY, OPTION_JOB,    OPTION_SINCE,    OPTION_UNTIL,     OPTION_END};
static const enum option_id token_options[] = {OPTION_SCOPES, OPTION_EXPIRES, OPTION_END};

const struct cli_command cli_commands[] = {
    {"run", "PRESET|FILE", 1, 1, "FILE", run_options, "submit a job, wait for it, show its results",
     "PRESET is the name of one of the server's presets (heapmark presets lists them). FILE is a "
     "job in JSON: a name with a slash or ending in .json, or - for standard input.\n"
     "Ctrl-C stops the waiting, not the job, and says how to go on. With --local it cancels the "
     "job; pressed again, it stops at once.",
     cmd_run},
    {"submit", "PRESET|FILE", 1, 1, "FILE", submit_options, "submit a job and print its id",
     "The job is durable once its id is printed. PRESET and FILE are as for run.", cmd_submit},
    {"watch", "JOB", 1, 1, NULL, watch_options, "wait for a job, with its progress",
     "JOB is a job's id, the first digits of one (at least four) or the word last. A broken "
     "connection is taken up again where it broke.",
     cmd_watch},
    {"show", "JOB", 1, 1, NULL, no_options, "show a job's results as tables",
     "JOB is as for watch. A reference job is shown as one table with a row per allocator, then "
     "huge pages, then fork and copy on write; any other job as one table per group.\n"
     "Values stand with their 95% interval, or with their count (n=3) where they are too few. In a "
     "column \xe2\x96\xb2 marks the best, where the interval of its ratio to the reference meets "
     "no other's; = marks those that cannot be told apart from the best; "
     "\xe2\x80\xa0 marks values of which the harness itself is more than half.",
     cmd_show},
    {"list", "", 0, 0, NULL, list_options, "list jobs, the newest first", "", cmd_list},
    {"cancel", "JOB", 1, 1, NULL, no_options, "cancel a job",
     "JOB is as for watch. What was measured so far is kept.", cmd_cancel},
    {"presets", "", 0, 0, NULL, no_options, "list the server's presets", "", cmd_presets},
    {"allocators", "[NAME]", 0, 1, NULL, no_options, "list allocators, or say all about one",
     "An allocator that is not installed is listed with the package to install.", cmd_allocators},
    {"workloads", "[NAME]", 0, 1, NULL, no_options, "list workloads, or say all about one",
     "With NAME: its parameters with defaults and bounds, and the metrics it yields.",
     cmd_workloads},
    {"host", "", 0, 0, NULL, no_options, "show the machine that measures",
     "Topology, pages, control groups and the isolation that is possible there.", cmd_host},
    {"export", "", 0, 0, NULL, export_options, "write stored results as NDJSON or CSV",
     "Everything that matches the filters, streamed.", cmd_export},
    {"token", "create NAME | list | revoke NAME", 1, 2, "create list revoke", token_options,
     "make, list and revoke access tokens",
     "Needs a token of scope admin, or the server's Unix socket and its user or root: heapmark "
     "--server unix:/var/lib/heapmark/socket token create NAME. A new token is printed once and "
     "stored nowhere.",
     cmd_token},
    {.name = NULL},
};

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}
