#include "daemon/config/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "daemon/config/internal.h"

void config_init(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (const struct config_setting *row = config_settings; row->section; row++) {
        struct err e;
        int r = config_value_set(c, row, row->def, &e);
        assert(r == 0 && "a default must pass its own check");
        (void)r;
    }
}

/* inih reads through config_reader, which knows the line and sees what inih would accept in
 * silence: unknown empty sections, continuation lines, "key: value", cut lines, NUL bytes. */
struct load {
    FILE *file;
    const char *path;
    uint32_t line;
    char section[64];
    struct config next; /* becomes the configuration when all of it was right */
    struct err *e;
    int result;
};

static void load_fail(struct load *l, enum err_code code, const char *key, const char *why)
{
    char field[160];
    if (l->result < 0)
        return; /* the first fault is the one to mend */
    snprintf(field, sizeof field, "%s%s%s", l->section, key[0] ? "." : "", key);
    l->result = err_set(l->e, code, field, "%s:%u: %s", l->path, l->line, why);
}

static bool section_known(const char *section)
{
    for (const struct config_setting *row = config_settings; row->section; row++)
        if (strcmp(row->section, section) == 0)
            return true;
    return false;
}

static void section_enter(struct load *l, const char *text)
{
    char why[160];
    size_t length = strcspn(text, "]");
    if (text[length] != ']' || length >= sizeof l->section) {
        load_fail(l, ERR_MALFORMED, "", "a section is [name]");
        return;
    }
    memcpy(l->section, text, length);
    l->section[length] = '\0';
    if (!section_known(l->section)) {
        snprintf(why, sizeof why, "there is no section [%s]", l->section);
        load_fail(l, ERR_UNKNOWN_NAME, "", why);
    }
}

static void line_check(struct load *l, const char *line)
{
    const char *text = line + strspn(line, " \t\r\n");
    if (!*text || *text == '#' || *text == ';')
        return;
    if (text != line)
        load_fail(l, ERR_MALFORMED, "", "a line that starts with a space continues nothing here");
    else if (*text == '[')
        section_enter(l, text + 1);
    else if (text[strcspn(text, "=:")] != '=')
        load_fail(l, ERR_MALFORMED, "", "neither [section] nor key = value");
    else if (!l->section[0])
        load_fail(l, ERR_MALFORMED, "", "a key before the first [section]");
}

/* fgets for inih: a whole line or the end. A fault ends the reading. */
static char *config_reader(char *buf, int buf_size, void *ctx)
{
    struct load *l = ctx;
    char line[CONFIG_LINE_MAX + 2];
    if (l->result < 0)
        return NULL;
    size_t length = 0;
    int c = 0;
    while (length < CONFIG_LINE_MAX && (c = fgetc(l->file)) != EOF && c != '\n')
        line[length++] = (char)c;
    if (length == 0 && c == EOF)
        return NULL;
    l->line++;
    line[length] = '\0';
    if (memchr(line, '\0', length))
        load_fail(l, ERR_MALFORMED, "", "a NUL byte");
    else if (length == CONFIG_LINE_MAX || (int)length + 3 > buf_size)
        load_fail(l, ERR_TOO_LARGE, "", "the line is too long");
    else if (l->line > CONFIG_LINES_MAX)
        load_fail(l, ERR_TOO_LARGE, "", "the file has too many lines");
    else
        line_check(l, line);
    if (l->result < 0)
        return NULL;
    memcpy(buf, line, length);
    memcpy(buf + length, "\n", 2);
    return buf;
}

static int config_handler(void *ctx, const char *section, const char *key, const char *value)
{
    struct load *l = ctx;
    char why[CONFIG_LINE_MAX + sizeof l->e->message];
    const struct config_setting *row = config_setting_find(section, key);
    if (!row) {
        snprintf(why, sizeof why, "there is no key \"%s\" in [%s]", key, section);
        load_fail(l, ERR_UNKNOWN_NAME, key, why);
        return 0;
    }
    uint32_t *origin = &l->next.origin[row - config_settings];
    if (*origin) {
        snprintf(why, sizeof why, "%s is given twice, first in line %u", key, *origin);
        load_fail(l, ERR_CONFLICT, key, why);
        return 0;
    }
    struct err cause;
    if (config_value_set(&l->next, row, value, &cause) < 0) {
        snprintf(why, sizeof why, "%s: %s", key, cause.message);
        load_fail(l, cause.code, key, why);
        return 0;
    }
    *origin = l->line;
    return 1;
}

int config_load(struct config *c, const char *path, struct err *e)
{
    cleanup_(fclose_p) FILE *file = fopen(path, "re");
    if (!file)
        return err_set_errno(e, ERR_IO, errno, "cannot read the configuration %s", path);
    struct load l = {.file = file, .path = path, .next = *c, .e = e};
    memset(l.next.origin, 0, sizeof l.next.origin);
    if (!text_copy(l.next.file, sizeof l.next.file, path))
        return err_set(e, ERR_TOO_LARGE, NULL, "the configuration's path is too long");
    int line = ini_parse_stream(config_reader, &l, config_handler, &l);
    if (l.result < 0)
        return l.result;
    if (ferror(file))
        return err_set_errno(e, ERR_IO, EIO, "cannot read the configuration %s", path);
    if (line != 0)
        return err_set(e, ERR_MALFORMED, NULL, "%s:%d: not understood", path, line);
    *c = l.next;
    return 0;
}

int config_set(struct config *c, const char *assignment, struct err *e)
{
    char name[160];
    const char *equals = strchr(assignment, '=');
    const char *dot = strchr(assignment, '.');
    if (!equals || !dot || dot > equals || (size_t)(equals - assignment) >= sizeof name)
        return err_set(e, ERR_MALFORMED, NULL, "\"%.100s\" is not section.key=value", assignment);
    snprintf(name, sizeof name, "%.*s", (int)(equals - assignment), assignment);
    name[dot - assignment] = '\0';
    const struct config_setting *row = config_setting_find(name, name + (dot - assignment) + 1);
    name[dot - assignment] = '.';
    if (!row)
        return err_set(e, ERR_UNKNOWN_NAME, name, "there is no setting %s", name);
    struct err cause;
    if (config_value_set(c, row, equals + 1, &cause) < 0)
        return err_set(e, cause.code, name, "%s: %s", name, cause.message);
    c->origin[row - config_settings] = CONFIG_FROM_COMMAND;
    return 0;
}
