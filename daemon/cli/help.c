/* --help, from the tables. */
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"

#define HELP_WIDTH  96
#define HELP_COLUMN 28

/* Print text in lines of HELP_WIDTH, continued at `indent`, where the cursor already is. */
static void print_wrapped(const char *text, unsigned indent)
{
    size_t width = HELP_WIDTH - indent;
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length > width) {
            length = width;
            while (length > 1 && text[length] != ' ')
                length--;
        }
        printf("%.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " \n");
        if (*text)
            printf("%*s", (int)indent, "");
    }
}

static void print_options(const enum option_id *ids)
{
    for (; *ids != OPTION_END; ids++) {
        const struct cli_option *o = &cli_options[*ids];
        char left[64];
        int n = o->letter ? snprintf(left, sizeof left, "  -%c, --%s", o->letter, o->name)
                          : snprintf(left, sizeof left, "      --%s", o->name);
        if (o->arg)
            snprintf(left + n, sizeof left - (size_t)n, " %s", o->arg);
        if (strlen(left) + 2 <= HELP_COLUMN)
            printf("%-*s", HELP_COLUMN, left);
        else
            printf("%s\n%*s", left, HELP_COLUMN, "");
        print_wrapped(o->help, HELP_COLUMN);
    }
}

static void print_exits(void)
{
    printf("\nExit codes:\n");
    for (const struct cli_exit_row *row = cli_exits; row->meaning; row++) {
        printf("  %-4d ", row->code);
        print_wrapped(row->meaning, 7);
    }
}

static void help_all(void)
{
    printf("usage: heapmark [options] COMMAND ...\n\nMeasure memory allocators with a heapmarkd, "
           "over its HTTP API.\n\nCommands:\n");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        printf("  %-11s %s\n", command->name, command->summary);
    printf("\nOptions of every command:\n");
    print_options(cli_global_options);
    print_exits();
    printf("\nheapmark COMMAND --help says more.\n");
}

void cli_help(const struct cli_command *command)
{
    if (!command) {
        help_all();
        return;
    }
    printf("usage: heapmark %s [options]%s%s\n\n%s.\n", command->name,
           command->operands[0] ? " " : "", command->operands, command->summary);
    if (command->description[0])
        print_wrapped(command->description, 0);
    if (command->options[0] != OPTION_END) {
        printf("\nOptions:\n");
        print_options(command->options);
    }
    printf("\nOptions of every command:\n");
    print_options(cli_global_options);
}
