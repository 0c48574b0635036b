/* The command line, by getopt_long over the option table. Global options may stand before or
 * after the command's name. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"

#define LONG_VALUE 1000 /* getopt's value of an option is this plus its id */

enum cli_exit cli_fail(struct cli *c, enum cli_exit code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    c->err.code = ERR_INVALID;
    vsnprintf(c->err.message, sizeof c->err.message, fmt, ap);
    va_end(ap);
    return code;
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
    if (c->quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

bool cli_has(const struct cli *c, enum option_id id)
{
    return cli_value(c, id) != NULL;
}

const char *cli_value(const struct cli *c, enum option_id id)
{
    for (unsigned i = c->given_count; i-- > 0;)
        if (c->given[i].id == id)
            return c->given[i].value;
    return NULL;
}

bool cli_choice_known(const char *choices, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = choices; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == length && memcmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

/* getopt's two forms of a set of options. */
struct getopt_tables {
    struct option longs[OPTION_COUNT_ + 1];
    char shorts[4 + 2 * OPTION_COUNT_];
    size_t longs_count, shorts_length;
};

static void tables_add(struct getopt_tables *t, const enum option_id *ids)
{
    for (; *ids != OPTION_END; ids++) {
        const struct cli_option *o = &cli_options[*ids];
        t->longs[t->longs_count++] = (struct option){
            .name = o->name,
            .has_arg = o->arg ? required_argument : no_argument,
            .val = LONG_VALUE + (int)*ids,
        };
        if (!o->letter)
            continue;
        t->shorts[t->shorts_length++] = o->letter;
        if (o->arg)
            t->shorts[t->shorts_length++] = ':';
    }
}

static int option_by_letter(int letter)
{
    for (int id = 0; id < OPTION_COUNT_; id++)
        if (cli_options[id].letter == letter)
            return id;
    return -1;
}

static enum cli_exit given_add(struct cli *c, int id, const char *value)
{
    const struct cli_option *o = &cli_options[id];
    const char *choices = o->choices;
    if (c->given_count == CLI_GIVEN_MAX)
        return cli_fail(c, CLI_USAGE, "more than %d options", CLI_GIVEN_MAX);
    bool words = choices && strcmp(choices, "FILE") != 0 && strcmp(choices, "DIR") != 0;
    if (words && !cli_choice_known(choices, value))
        return cli_fail(c, CLI_USAGE, "--%s: \"%s\" is not one of: %s", o->name, value, choices);
    if (o->arg && !value[0])
        return cli_fail(c, CLI_USAGE, "--%s needs a value", o->name);
    c->given[c->given_count].id = (enum option_id)id;
    c->given[c->given_count++].value = value;
    return CLI_OK;
}

static enum cli_exit option_wrong(struct cli *c, int result, char **argv)
{
    const char *text = argv[optind - 1];
    if (result == ':')
        return cli_fail(c, CLI_USAGE, "%s needs a value", text);
    if (optopt >= LONG_VALUE)
        return cli_fail(c, CLI_USAGE, "--%s takes no value", cli_options[optopt - LONG_VALUE].name);
    if (optopt)
        return cli_fail(c, CLI_USAGE, "there is no option -%c%s%s", optopt,
                        c->command ? " for " : "", c->command ? c->command->name : "");
    return cli_fail(c, CLI_USAGE, "there is no option %s%s%s, or it is ambiguous", text,
                    c->command ? " for " : "", c->command ? c->command->name : "");
}

/* One round of getopt from argv[optind]. */
static enum cli_exit options_read(struct cli *c, const struct getopt_tables *t, int argc,
                                  char **argv)
{
    int result;
    opterr = 0;
    while ((result = getopt_long(argc, argv, t->shorts, t->longs, NULL)) != -1) {
        if (result == '?' || result == ':')
            return option_wrong(c, result, argv);
        int id = result >= LONG_VALUE ? result - LONG_VALUE : option_by_letter(result);
        enum cli_exit code = given_add(c, id, optarg ? optarg : "");
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

static enum cli_exit operands_take(struct cli *c, int argc, char **argv)
{
    const struct cli_command *command = c->command;
    unsigned count = (unsigned)(argc - optind);
    if (cli_has(c, OPTION_HELP))
        return CLI_OK;
    if (count < command->operands_min || count > command->operands_max)
        return cli_fail(c, CLI_USAGE, "usage: heapmark %s [options]%s%s", command->name,
                        command->operands[0] ? " " : "", command->operands);
    for (unsigned i = 0; i < count; i++)
        c->operands[c->operands_count++] = argv[optind + (int)i];
    return CLI_OK;
}

static void flags_take(struct cli *c)
{
    c->json = cli_has(c, OPTION_JSON);
    c->quiet = cli_has(c, OPTION_QUIET);
}

enum cli_exit cli_parse(struct cli *c, int argc, char **argv)
{
    struct getopt_tables global = {.shorts = "+:", .shorts_length = 2};
    tables_add(&global, cli_global_options);
    optind = 0; /* glibc: start anew */
    enum cli_exit code = options_read(c, &global, argc, argv);
    flags_take(c);
    if (code != CLI_OK || cli_has(c, OPTION_HELP) || cli_has(c, OPTION_VERSION))
        return code;
    if (optind >= argc)
        return cli_fail(c, CLI_USAGE, "which command? heapmark --help lists them");
    c->command = cli_command_find(argv[optind]);
    if (!c->command)
        return cli_fail(c, CLI_USAGE, "there is no command \"%.64s\": heapmark --help lists them",
                        argv[optind]);
    argc -= optind; /* the command's name becomes argv[0] */
    argv += optind;
    struct getopt_tables own = {.shorts = ":", .shorts_length = 1};
    tables_add(&own, cli_global_options);
    tables_add(&own, c->command->options);
    optind = 0;
    code = options_read(c, &own, argc, argv);
    flags_take(c);
    return code == CLI_OK ? operands_take(c, argc, argv) : code;
}
