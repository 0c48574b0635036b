/* Completions for bash and zsh. One shell function serves both: zsh loads it through
 * bashcompinit, so the two can never differ. */
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"
#include "docs/generate/generate.h"

static void option_words(const enum option_id *ids)
{
    for (; *ids != OPTION_END; ids++)
        printf(" --%s", cli_options[*ids].name);
}

/* case "$previous" in: what may follow an option that takes a value. */
static void value_cases(void)
{
    for (int id = 0; id < OPTION_COUNT_; id++) {
        const struct cli_option *o = &cli_options[id];
        if (!o->arg)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf(" | -%c", o->letter);
        printf(") ");
        if (!o->choices)
            puts("return ;;");
        else if (strcmp(o->choices, "FILE") == 0)
            puts("COMPREPLY=($(compgen -f -- \"$word\")); return ;;");
        else if (strcmp(o->choices, "DIR") == 0)
            puts("COMPREPLY=($(compgen -d -- \"$word\")); return ;;");
        else
            printf("COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", o->choices);
    }
}

/* Options whose value is the next word, to skip when looking for the command. */
static void valued_options(void)
{
    for (const enum option_id *id = cli_global_options; *id != OPTION_END; id++) {
        const struct cli_option *o = &cli_options[*id];
        if (!o->arg)
            continue;
        printf("%s--%s", id == cli_global_options ? "" : " | ", o->name);
        if (o->letter)
            printf(" | -%c", o->letter);
    }
}

static void command_cases(void)
{
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        printf("        %s) options='", command->name);
        option_words(command->options);
        printf("'");
        if (command->operand_choices && strcmp(command->operand_choices, "FILE") == 0)
            printf(" files=1");
        else if (command->operand_choices)
            printf(" operands='%s'", command->operand_choices);
        puts(" ;;");
    }
}

static void shell_function(void)
{
    puts("_heapmark()\n{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} previous= command= i\n"
         "    local options= operands= files=\n"
         "    [ \"$COMP_CWORD\" -gt 0 ] && previous=${COMP_WORDS[COMP_CWORD-1]}\n"
         "    COMPREPLY=()");
    puts("    case $previous in");
    value_cases();
    puts("    esac\n    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in");
    printf("        ");
    valued_options();
    puts(") i=$((i + 1)) ;;\n        -*) ;;\n"
         "        *) command=${COMP_WORDS[i]}; break ;;\n        esac\n    done");
    puts("    case $command in");
    printf("        '') operands='");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        printf("%s%s", command == cli_commands ? "" : " ", command->name);
    puts("' ;;");
    command_cases();
    printf("    esac\n    options=\"$options");
    option_words(cli_global_options);
    puts("\"\n    case $word in\n"
         "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;\n"
         "        *)\n"
         "            COMPREPLY=($(compgen -W \"$operands\" -- \"$word\"))\n"
         "            [ -z \"$files\" ] || COMPREPLY+=($(compgen -f -- \"$word\"))\n"
         "            ;;\n"
         "    esac\n}");
}

void generate_bash(void)
{
    puts("# bash completion of heapmark; generated from its option table.");
    shell_function();
    puts("complete -F _heapmark heapmark");
}

void generate_zsh(void)
{
    puts("#compdef heapmark\n"
         "# zsh completion of heapmark; generated from its option table.\n"
         "autoload -U +X bashcompinit && bashcompinit");
    shell_function();
    puts("complete -F _heapmark heapmark\n"
         "# This file is read at the first completion, which is still to be answered.\n"
         "(( ${+compstate} )) && _bash_complete -F _heapmark");
}
