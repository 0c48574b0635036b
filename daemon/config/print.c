/* --print-config: what is in effect, as a file with its own manual. */
#include <string.h>

#include "daemon/config/internal.h"

#define COMMENT_WIDTH 96

static void print_wrapped(FILE *out, const char *text)
{
    while (*text) {
        size_t length = strlen(text);
        if (length > COMMENT_WIDTH) {
            length = COMMENT_WIDTH;
            while (length > 1 && text[length] != ' ')
                length--;
        }
        fprintf(out, "# %.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void print_bounds(FILE *out, const struct config_setting *row)
{
    if (row->type == CONFIG_ENUM) {
        fprintf(out, "# One of");
        for (const char *const *choice = row->choices; *choice; choice++)
            fprintf(out, " %s", *choice);
        fprintf(out, ".");
    } else if (row->max > 0) {
        fprintf(out, "# From %.15g to %.15g.", row->min, row->max);
    } else {
        fprintf(out, "# A %s.", config_type_name(row->type));
    }
    fprintf(out, " Default: %s\n", row->def[0] ? row->def : "(empty)");
}

static void print_origin(FILE *out, const struct config *c, uint32_t origin)
{
    if (origin == CONFIG_FROM_COMMAND)
        fprintf(out, "# Set on the command line.\n");
    else if (origin)
        fprintf(out, "# Set in %s, line %u.\n", c->file, origin);
}

void config_print(const struct config *c, FILE *out)
{
    const char *section = "";
    for (const struct config_setting *row = config_settings; row->section; row++) {
        char value[CONFIG_LIST_MAX * (CONFIG_TEXT_SIZE + 2)];
        if (strcmp(section, row->section) != 0)
            fprintf(out, "%s[%s]\n", section[0] ? "\n" : "", row->section);
        section = row->section;
        print_wrapped(out, row->help);
        print_bounds(out, row);
        print_origin(out, c, c->origin[row - config_settings]);
        config_value_format(c, row, value, sizeof value);
        fprintf(out, "%s = %s\n", row->key, value);
    }
}
