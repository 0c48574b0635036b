/* The heapmark command: everything a person or a script does with a heapmarkd, over its HTTP API
 * and nothing else.
 *
 * cli_commands[] and cli_options[] are the one place where commands and options stand: parsing,
 * --help, the shell completions and the manual read them there. One file per command
 * (cmd_NAME.c). Single thread; the interrupt flag is the only thing a signal handler writes.
 *
 * What a command produces goes to standard output (with --json one JSON document and nothing
 * else); progress, notes and errors go to standard error. */
#ifndef HEAPMARK_DAEMON_CLI_CLI_H
#define HEAPMARK_DAEMON_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/base/err.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,       /* the job failed or was cancelled, or the request was refused */
    CLI_USAGE = 2,        /* wrong options, or a job or name the server does not accept */
    CLI_AUTH = 4,         /* no token, a wrong one, or one without the scope */
    CLI_UNREACHABLE = 5,  /* no server there, or it went away */
    CLI_LOST = 6,         /* the job was lost by the server's host */
    CLI_TIMEOUT = 7,      /* not finished in the time given */
    CLI_NOTHING = 8,      /* the job ended without one measured value */
    CLI_INTERRUPTED = 130 /* Ctrl-C */
};

struct cli_exit_row {
    enum cli_exit code;
    const char *meaning;
};
extern const struct cli_exit_row cli_exits[]; /* ended by meaning NULL */

enum option_id {
    OPTION_SERVER,
    OPTION_TOKEN_FILE,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_COLOR,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_PROFILE,
    OPTION_SET,
    OPTION_ALLOCATORS,
    OPTION_NAME,
    OPTION_LABEL,
    OPTION_KEY,
    OPTION_DRY_RUN,
    OPTION_LOCAL,
    OPTION_STATE_DIR,
    OPTION_TIMEOUT,
    OPTION_STATE,
    OPTION_LIMIT,
    OPTION_PRESET,
    OPTION_PROJECT,
    OPTION_BRANCH,
    OPTION_COMMIT,
    OPTION_WORKLOAD,
    OPTION_ALLOCATOR,
    OPTION_METRIC,
    OPTION_THREADS,
    OPTION_PAGES,
    OPTION_HOST_KEY,
    OPTION_JOB,
    OPTION_SINCE,
    OPTION_UNTIL,
    OPTION_FORMAT,
    OPTION_OUTPUT,
    OPTION_SCOPES,
    OPTION_EXPIRES,
    OPTION_COUNT_,
    OPTION_END = OPTION_COUNT_
};

#define CLI_GIVEN_MAX 128 /* options of one command line */

struct cli_option {
    const char *name; /* without its dashes */
    char letter;      /* '\0': none */
    const char *arg;  /* NULL: takes none */
    const char
        *choices; /* words apart by spaces, for completion and checking; "FILE", "DIR"; or NULL */
    bool repeatable;
    const char *help;
};
extern const struct cli_option cli_options[OPTION_COUNT_];
extern const enum option_id cli_global_options[]; /* ended by OPTION_END */

struct cli;

struct cli_command {
    const char *name;
    const char *operands; /* for the synopsis: "JOB", "[NAME]" */
    unsigned operands_min, operands_max;
    const char *operand_choices;   /* for completion: a list of words, "FILE", or NULL */
    const enum option_id *options; /* beside the global ones, ended by OPTION_END */
    const char *summary;           /* half a sentence */
    const char *description;       /* paragraphs for the manual, apart by newlines */
    enum cli_exit (*run)(struct cli *c);
};
extern const struct cli_command cli_commands[]; /* ended by name NULL */

struct client;

struct cli {
    const struct cli_command *command;
    const char *operands[4];
    unsigned operands_count;
    struct {
        enum option_id id;
        const char *value; /* "" for flags */
    } given[CLI_GIVEN_MAX];
    unsigned given_count;
    bool json, quiet;
    struct client *client; /* set before run(), except with --local */
    struct err err;        /* why the command failed; printed once, by main */
};

/* ---- options.c, parse.c, help.c ---- */

const struct cli_command *cli_command_find(const char *name);

/* Fill *c from the command line. CLI_OK to go on; else c->err says why not. --help and --version
 * are among c->given and checked by the caller. */
enum cli_exit cli_parse(struct cli *c, int argc, char **argv);

bool cli_has(const struct cli *c, enum option_id id);
const char *cli_value(const struct cli *c, enum option_id id); /* the last one given, or NULL */
bool cli_choice_known(const char *choices, const char *word);

void cli_help(const struct cli_command *command); /* NULL: of heapmark itself */

/* ---- reporting ---- */

/* Fill c->err and return `code`. */
enum cli_exit cli_fail(struct cli *c, enum cli_exit code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A line on standard error unless --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- Ctrl-C ---- */

void cli_interrupt_setup(void);
unsigned cli_interrupts(void); /* how often it was pressed */

/* ---- commands ---- */

enum cli_exit cmd_run(struct cli *c);
enum cli_exit cmd_submit(struct cli *c);
enum cli_exit cmd_watch(struct cli *c);
enum cli_exit cmd_show(struct cli *c);
enum cli_exit cmd_list(struct cli *c);
enum cli_exit cmd_cancel(struct cli *c);
enum cli_exit cmd_presets(struct cli *c);
enum cli_exit cmd_allocators(struct cli *c);
enum cli_exit cmd_workloads(struct cli *c);
enum cli_exit cmd_host(struct cli *c);
enum cli_exit cmd_export(struct cli *c);
enum cli_exit cmd_token(struct cli *c);

#endif
