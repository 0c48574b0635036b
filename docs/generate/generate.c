/* heapmark-docgen: the manual pages, shell completions and docs/configuration.md, from the tables
 * that the programs themselves read. Run by the build and by nobody else.
 *
 *   heapmark-docgen heapmark.1|heapmark.conf.5|configuration.md|bash|zsh    to standard output */
#include <stdio.h>
#include <string.h>

#include "docs/generate/generate.h"

static const struct {
    const char *name;
    void (*write)(void);
} outputs[] = {
    {"heapmark.1", generate_man_command},
    {"heapmark.conf.5", generate_man_config},
    {"configuration.md", generate_config_page},
    {"bash", generate_bash},
    {"zsh", generate_zsh},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof outputs / sizeof outputs[0]; i++)
        if (strcmp(outputs[i].name, argv[1]) == 0) {
            outputs[i].write();
            return ferror(stdout) || fflush(stdout) != 0;
        }
    fputs("usage: heapmark-docgen OUTPUT\n", stderr);
    return 2;
}
