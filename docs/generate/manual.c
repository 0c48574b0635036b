/* Manual pages in man(7), and the page of settings in Markdown. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"
#include "daemon/config/config.h"
#include "docs/generate/generate.h"

/* Text for a paragraph: backslashes, dashes and leading dots mean something to roff. */
static void roff(const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\n')
            fputs("\n.PP\n", stdout);
        else
            putchar(*text);
        start = *text == '\n';
    }
}

static void roff_line(const char *text)
{
    roff(text);
    putchar('\n');
}

static void header(const char *name, const char *section, const char *summary)
{
    printf(".\\\" Generated from the tables of the source.\n.TH %s %s \"\" "
           "\"heapmark " HEAPMARK_VERSION "\"\n.SH NAME\n%s \\- %s\n",
           name, section, name, summary);
}

static void man_options(const enum option_id *ids)
{
    for (; *ids != OPTION_END; ids++) {
        const struct cli_option *o = &cli_options[*ids];
        printf(".TP\n.B ");
        if (o->letter)
            printf("\\-%c, ", o->letter);
        printf("\\-\\-");
        roff(o->name);
        if (o->arg)
            printf(" \\fI%s\\fR", o->arg);
        putchar('\n');
        roff(o->help);
        if (o->repeatable)
            printf(" May be given more than once.");
        putchar('\n');
    }
}

static void man_command(const struct cli_command *command)
{
    printf(".SS heapmark %s\n.B heapmark %s\n[options]", command->name, command->name);
    if (command->operands[0]) {
        printf(" \\fI");
        roff(command->operands);
        printf("\\fR");
    }
    printf("\n.PP\n%c", toupper((unsigned char)command->summary[0]));
    roff(command->summary + 1);
    puts(".");
    if (command->description[0])
        roff_line(command->description);
    man_options(command->options);
}

void generate_man_command(void)
{
    header("heapmark", "1", "measure memory allocators with a heapmarkd");
    puts(".SH SYNOPSIS\n.B heapmark\n[options] \\fICOMMAND\\fR ...");
    puts(".SH DESCRIPTION\nSubmits benchmark jobs to a heapmarkd over its HTTP API, waits for "
         "them and shows what was measured. Results go to standard output, progress and notes to "
         "standard error.");
    puts(".SH OPTIONS\nThese may stand before or after the command.");
    man_options(cli_global_options);
    puts(".SH COMMANDS");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        man_command(command);
    puts(".SH EXIT STATUS");
    for (const struct cli_exit_row *row = cli_exits; row->meaning; row++) {
        printf(".TP\n.B %d\n", row->code);
        roff_line(row->meaning);
    }
    puts(".SH ENVIRONMENT\n.TP\n.B HEAPMARK_SERVER\nThe server, unless \\-\\-server is given.\n"
         ".TP\n.B HEAPMARK_TOKEN\nThe token, unless \\-\\-token\\-file is given.\n.TP\n.B "
         "NO_COLOR\nWhen set and not empty: no colour.\n.TP\n.B COLUMNS\nWidth of the tables, "
         "instead of the terminal's.");
    puts(".SH SEE ALSO\n.BR heapmarkd (8),\n.BR heapmark.conf (5)");
}

static void bounds(const struct config_setting *row)
{
    if (row->type == CONFIG_ENUM)
        for (const char *const *choice = row->choices; *choice; choice++)
            printf("%s%s", choice == row->choices ? "" : ", ", *choice);
    else if (row->max > row->min)
        printf("%s, %.15g to %.15g", config_type_name(row->type), row->min, row->max);
    else
        printf("%s", config_type_name(row->type));
}

void generate_man_config(void)
{
    const char *section = "";
    header("heapmark.conf", "5", "configuration of heapmarkd");
    puts(".SH DESCRIPTION\nSections and keys as in unit files of systemd: "
         "\\fB[section]\\fR, then lines \\fBkey = value\\fR. Lines that begin with # or ; are "
         "comments, so is what follows \" ;\" in a line. Unknown sections and keys, keys given "
         "twice, continued lines and values out of bounds are errors that name file and line. "
         "Lists have their items apart by commas or spaces. Sizes may be written as 64KiB or "
         "1GiB.\n.PP\nheapmarkd reads /etc/heapmark/heapmark.conf when it is there, or the file "
         "of \\-\\-config; \\-\\-set section.key=value overrides it. \\-\\-check\\-config checks "
         "and stops, \\-\\-print\\-config prints what is in effect.");
    for (const struct config_setting *row = config_settings; row->section; row++) {
        if (strcmp(section, row->section) != 0)
            printf(".SH [%s]\n", row->section);
        section = row->section;
        printf(".TP\n.B ");
        roff_line(row->key);
        roff_line(row->help);
        printf("(");
        bounds(row);
        if (row->def[0]) {
            printf("; default ");
            roff(row->def);
        }
        puts(")");
    }
    puts(".SH SEE ALSO\n.BR heapmarkd (8),\n.BR heapmark (1)");
}

/* A bar would end a cell of a Markdown table. */
static void cell(const char *text)
{
    for (; *text; text++)
        printf(*text == '|' ? "\\|" : "%c", *text);
}

void generate_config_page(void)
{
    const char *section = "";
    puts("# Configuration of heapmarkd\n\n"
         "Generated from `daemon/config/settings.c`; a test compares the two. The file is\n"
         "`/etc/heapmark/heapmark.conf` or what `--config` names; `--set section.key=value`\n"
         "overrides it, `--check-config` checks it, `--print-config` prints what is in effect.\n"
         "Unknown sections and keys, keys given twice and values out of bounds are errors that\n"
         "name file and line. Items of a list stand apart by commas or spaces; sizes may be\n"
         "written as `64KiB` or `1GiB`.");
    for (const struct config_setting *row = config_settings; row->section; row++) {
        if (strcmp(section, row->section) != 0)
            printf("\n## [%s]\n\n| key | default | values | meaning |\n|---|---|---|---|\n",
                   row->section);
        section = row->section;
        printf("| `%s` | %s%s%s | ", row->key, row->def[0] ? "`" : "", row->def,
               row->def[0] ? "`" : "");
        bounds(row);
        printf(" | ");
        cell(row->help);
        puts(" |");
    }
}
