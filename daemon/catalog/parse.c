/* Parser of one catalogue file on top of inih.
 *
 * Caller: catalog.c, main thread, before other threads exist. inih hands over neither line
 * numbers nor empty sections, so the file is fed to it line by line from here: `line` is then the
 * line being parsed, and section heads are read here, before inih sees them. */
#include "daemon/catalog/parse.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "workloads/workload.h"

#define LINES_MAX 1000

enum section { SECTION_NONE, SECTION_ALLOCATOR, SECTION_SYMBOLS, SECTION_OPTION };

struct parse {
    FILE *file;
    const char *path;
    struct catalog_entry *entry;
    struct catalog_option *option; /* in SECTION_OPTION */
    enum section section;
    unsigned seen_sections; /* bit per enum section */
    unsigned seen_keys;     /* bit per row of keys[]; option rows start anew in each option */
    unsigned line;
    bool failed; /* *e is filled; the first failure wins */
    struct err *e;
};

/* Returns 0, what inih calls failure. */
__attribute__((format(printf, 2, 3))) static int parse_fail(struct parse *p, const char *fmt, ...)
{
    if (p->failed)
        return 0;
    p->failed = true;
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    (void)err_set(p->e, ERR_INVALID, NULL, "%s:%u: %s", p->path, p->line, why);
    return 0;
}

static int set_text(struct parse *p, const char *key, char *dst, size_t dst_size, const char *value)
{
    if (!*value)
        return parse_fail(p, "%s is empty", key);
    for (const char *c = value; *c; c++)
        if (iscntrl((unsigned char)*c))
            return parse_fail(p, "%s holds a control character", key);
    if (!text_copy(dst, dst_size, value))
        return parse_fail(p, "%s is longer than %zu bytes", key, dst_size - 1);
    return 1;
}

/* Cut the next item of a comma-separated list out of *list, spaces around it removed; NULL at
 * the end. An empty item is returned as "". */
static char *next_item(char **list)
{
    char *item = strsep(list, ",");
    if (!item)
        return NULL;
    item += strspn(item, " \t");
    size_t n = strlen(item);
    while (n > 0 && isspace((unsigned char)item[n - 1]))
        item[--n] = '\0';
    return item;
}

static int set_summary(struct parse *p, const char *value)
{
    char *dst = p->section == SECTION_OPTION ? p->option->summary : p->entry->summary;
    return set_text(p, "summary", dst, CATALOG_SUMMARY_SIZE, value);
}

static int set_kind(struct parse *p, const char *value)
{
    int kind = catalog_kind_parse(value);
    if (kind < 0)
        return parse_fail(p, "unknown kind \"%s\" (allocator, baseline or classic)", value);
    p->entry->kind = (enum catalog_kind)kind;
    return 1;
}

static int set_order(struct parse *p, const char *value)
{
    uint64_t order;
    if (text_parse_u64(value, &order) < 0 || order > 9999)
        return parse_fail(p, "order is not a number from 0 to 9999: \"%s\"", value);
    p->entry->order = (uint32_t)order;
    return 1;
}

static int add_library(struct parse *p, const char *item)
{
    struct catalog_entry *entry = p->entry;
    if (!*item)
        return parse_fail(p, "library has an empty item");
    if (strchr(item, '/') && item[0] != '/')
        return parse_fail(p, "library is neither a file name nor an absolute path: \"%s\"", item);
    if (strcmp(item, ".") == 0 || strcmp(item, "..") == 0)
        return parse_fail(p, "library is not a file name: \"%s\"", item);
    if (entry->libraries_count == CATALOG_LIBRARIES_MAX)
        return parse_fail(p, "library lists more than %d files", CATALOG_LIBRARIES_MAX);
    char *dst = entry->libraries[entry->libraries_count++];
    return set_text(p, "library", dst, CATALOG_PATH_SIZE, item);
}

static int set_library(struct parse *p, const char *value)
{
    char buf[CATALOG_LINE_MAX + 1];
    if (!set_text(p, "library", buf, sizeof buf, value))
        return 0;
    if (strcmp(value, "libc") == 0) {
        p->entry->is_libc = true;
        return 1;
    }
    char *list = buf;
    for (char *item; (item = next_item(&list));)
        if (!add_library(p, item))
            return 0;
    const struct catalog_entry *entry = p->entry;
    for (uint32_t i = 0; i < entry->libraries_count; i++)
        if (entry->libraries[i][0] == '/' && entry->libraries_count > 1)
            return parse_fail(p, "an absolute path stands alone in library");
    return 1;
}

static int set_package(struct parse *p, const char *value)
{
    for (const char *c = value; *c; c++)
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && !strchr("+-.", *c))
            return parse_fail(p, "not a Debian package name: \"%s\"", value);
    return set_text(p, "package", p->entry->package, sizeof p->entry->package, value);
}

/* The adapters the runner is built with, from the list it is built from. */
static const char *const adapter_names[] = {
#define ADAPTER(name) #name,
#include "allocators/adapters/adapters.def"
#undef ADAPTER
};

static int set_adapter(struct parse *p, const char *value)
{
    for (size_t i = 0; i < sizeof adapter_names / sizeof adapter_names[0]; i++)
        if (strcmp(adapter_names[i], value) == 0)
            return set_text(p, "adapter", p->entry->symbols.adapter,
                            sizeof p->entry->symbols.adapter, value);
    return parse_fail(p, "there is no adapter \"%s\"", value);
}

static int set_flags(struct parse *p, const char *value)
{
    char buf[CATALOG_LINE_MAX + 1];
    if (!set_text(p, "flags", buf, sizeof buf, value))
        return 0;
    char *list = buf;
    for (char *item; (item = next_item(&list));) {
        if (strcmp(item, "null") == 0)
            p->entry->flags |= RING_SUBJECT_NULL;
        else if (strcmp(item, "no-free") == 0)
            p->entry->flags |= RING_SUBJECT_NO_FREE;
        else
            return parse_fail(p, "unknown flag \"%s\" (null, no-free)", item);
    }
    return 1;
}

static int set_sha256(struct parse *p, const char *value)
{
    if (text_unhex(value, p->entry->sha256, SHA256_SIZE) < 0)
        return parse_fail(p, "sha256 is not %d hexadecimal digits", 2 * SHA256_SIZE);
    p->entry->has_sha256 = true;
    return 1;
}

static int set_symbol(struct parse *p, const char *key, char dst[48], const char *value)
{
    bool good = isalpha((unsigned char)value[0]) || value[0] == '_';
    for (const char *c = value; *c; c++)
        good = good && (isalnum((unsigned char)*c) || *c == '_');
    if (!good)
        return parse_fail(p, "%s is not a symbol name: \"%s\"", key, value);
    return set_text(p, key, dst, 48, value);
}

#define DEFINE_SYMBOL(field)                                                 \
    static int set_##field(struct parse *p, const char *value)               \
    {                                                                        \
        return set_symbol(p, #field, p->entry->symbols.field##_name, value); \
    }
DEFINE_SYMBOL(malloc)
DEFINE_SYMBOL(free)
DEFINE_SYMBOL(calloc)
DEFINE_SYMBOL(realloc)
DEFINE_SYMBOL(aligned_alloc)
DEFINE_SYMBOL(usable_size)

/* What an option must not reach: the loader (another library would run) and our own variables. */
static bool env_is_forbidden(const char *name)
{
    return strncmp(name, "LD_", 3) == 0 || strncmp(name, "HEAPMARK_", 9) == 0;
}

static int add_env(struct parse *p, const char *value)
{
    struct catalog_option *option = p->option;
    const char *equals = strchr(value, '=');
    bool good = equals && equals > value && !isdigit((unsigned char)value[0]);
    for (const char *c = value; good && c < equals; c++)
        good = isalnum((unsigned char)*c) || *c == '_';
    if (!good)
        return parse_fail(p, "env is not NAME=value: \"%s\"", value);
    if (env_is_forbidden(value))
        return parse_fail(p, "env must not set LD_* or HEAPMARK_*: \"%s\"", value);
    if (option->env_count == CATALOG_OPTION_ENV_MAX)
        return parse_fail(p, "an option sets at most %d variables", CATALOG_OPTION_ENV_MAX);
    size_t name_length = (size_t)(equals - value) + 1;
    for (uint32_t i = 0; i < option->env_count; i++)
        if (strncmp(option->env[i], value, name_length) == 0)
            return parse_fail(p, "env sets %.*s twice", (int)name_length - 1, value);
    return set_text(p, "env", option->env[option->env_count++], CATALOG_ENV_SIZE, value);
}

static int set_pages(struct parse *p, const char *value)
{
    char buf[CATALOG_LINE_MAX + 1];
    if (!set_text(p, "pages", buf, sizeof buf, value))
        return 0;
    char *list = buf;
    for (char *item; (item = next_item(&list));) {
        int mode = page_mode_parse(item);
        if (mode < 0 || mode == PAGES_4K || mode == PAGES_THP)
            return parse_fail(p, "not a page mode an option can enable: \"%s\"", item);
        for (uint32_t i = 0; i < p->entry->options_count; i++)
            if (p->entry->options[i].pages_mask & PAGES_BIT(mode))
                return parse_fail(p, "page mode %s is already enabled by option %s", item,
                                  p->entry->options[i].name);
        p->option->pages_mask |= PAGES_BIT(mode);
    }
    return 1;
}

static const struct key {
    enum section section;
    const char *name;
    bool required, repeats;
    int (*set)(struct parse *p, const char *value);
} keys[] = {
    {SECTION_ALLOCATOR, "summary", true, false, set_summary},
    {SECTION_ALLOCATOR, "kind", false, false, set_kind},
    {SECTION_ALLOCATOR, "order", false, false, set_order},
    {SECTION_ALLOCATOR, "library", true, false, set_library},
    {SECTION_ALLOCATOR, "package", false, false, set_package},
    {SECTION_ALLOCATOR, "adapter", false, false, set_adapter},
    {SECTION_ALLOCATOR, "flags", false, false, set_flags},
    {SECTION_ALLOCATOR, "sha256", false, false, set_sha256},
    {SECTION_SYMBOLS, "malloc", true, false, set_malloc},
    {SECTION_SYMBOLS, "free", true, false, set_free},
    {SECTION_SYMBOLS, "calloc", false, false, set_calloc},
    {SECTION_SYMBOLS, "realloc", false, false, set_realloc},
    {SECTION_SYMBOLS, "aligned_alloc", false, false, set_aligned_alloc},
    {SECTION_SYMBOLS, "usable_size", false, false, set_usable_size},
    {SECTION_OPTION, "summary", true, false, set_summary},
    {SECTION_OPTION, "env", true, true, add_env},
    {SECTION_OPTION, "pages", false, false, set_pages},
};
#define KEYS_COUNT (sizeof keys / sizeof keys[0])

static const char *section_name(enum section section)
{
    static const char *const names[] = {"", "allocator", "symbols", "option"};
    return names[section];
}

/* Every required key of a section that ends must have been seen. */
static int check_required(struct parse *p, enum section section)
{
    for (size_t i = 0; i < KEYS_COUNT; i++)
        if (keys[i].section == section && keys[i].required && !(p->seen_keys & (1u << i)))
            return parse_fail(p, "%s is missing in [%s%s%s]", keys[i].name, section_name(section),
                              section == SECTION_OPTION ? " " : "",
                              section == SECTION_OPTION ? p->option->name : "");
    return 1;
}

static int begin_option(struct parse *p, const char *name)
{
    struct catalog_entry *entry = p->entry;
    if (!text_is_name(name, CATALOG_OPTION_SIZE - 1))
        return parse_fail(p, "bad option name \"%s\"", name);
    if (catalog_option_find(entry, name))
        return parse_fail(p, "option %s stands here twice", name);
    if (entry->options_count == CATALOG_OPTIONS_MAX)
        return parse_fail(p, "more than %d options", CATALOG_OPTIONS_MAX);
    p->option = &entry->options[entry->options_count++];
    (void)text_copy(p->option->name, sizeof p->option->name, name);
    p->option->line = p->line;
    for (size_t i = 0; i < KEYS_COUNT; i++)
        if (keys[i].section == SECTION_OPTION)
            p->seen_keys &= ~(1u << i);
    return 1;
}

static int begin_section(struct parse *p, const char *name)
{
    if (p->section == SECTION_OPTION && !check_required(p, SECTION_OPTION))
        return 0;
    if (strncmp(name, "option ", 7) == 0) {
        p->section = SECTION_OPTION;
        return begin_option(p, name + 7 + strspn(name + 7, " "));
    }
    p->section = strcmp(name, "allocator") == 0 ? SECTION_ALLOCATOR
                 : strcmp(name, "symbols") == 0 ? SECTION_SYMBOLS
                                                : SECTION_NONE;
    if (p->section == SECTION_NONE)
        return parse_fail(p, "unknown section [%s]", name);
    if (p->seen_sections & (1u << p->section))
        return parse_fail(p, "section [%s] stands here twice", name);
    p->seen_sections |= 1u << p->section;
    return 1;
}

/* A line as inih will see it: if it opens a section, enter it. No "]" is inih's error to find. */
static void look_for_section(struct parse *p, const char *line)
{
    line += strspn(line, " \t");
    const char *end = strchr(line, ']');
    if (line[0] != '[' || !end)
        return;
    char name[CATALOG_LINE_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)(end - line - 1), line + 1);
    (void)begin_section(p, name);
}

/* inih's fgets: one line, counted; NULL at the end and once something is wrong. */
static char *read_line(char *buf, int buf_size, void *stream)
{
    struct parse *p = stream;
    size_t used = 0;
    int c = EOF;
    if (p->failed)
        return NULL;
    p->line++;
    while (used < (size_t)buf_size - 2 && used <= CATALOG_LINE_MAX && (c = getc(p->file)) != EOF) {
        if (c == '\0')
            return parse_fail(p, "a NUL byte"), NULL;
        buf[used++] = (char)c;
        if (c == '\n')
            break;
    }
    if (used == 0)
        return p->line--, NULL;
    if (c != '\n' && c != EOF)
        return parse_fail(p, "line is longer than %d bytes", CATALOG_LINE_MAX), NULL;
    if (p->line > LINES_MAX)
        return parse_fail(p, "more than %d lines", LINES_MAX), NULL;
    buf[used] = '\0';
    look_for_section(p, buf);
    return p->failed ? NULL : buf;
}

static int on_key(void *user, const char *section, const char *name, const char *value)
{
    struct parse *p = user;
    (void)section; /* cut at 50 bytes by inih; p->section is the whole truth */
    if (p->failed)
        return 0;
    if (p->section == SECTION_NONE)
        return parse_fail(p, "%s stands outside of any section", name);
    for (size_t i = 0; i < KEYS_COUNT; i++) {
        if (keys[i].section != p->section || strcmp(keys[i].name, name) != 0)
            continue;
        if ((p->seen_keys & (1u << i)) && !keys[i].repeats)
            return parse_fail(p, "%s stands here twice", name);
        p->seen_keys |= 1u << i;
        return keys[i].set(p, value);
    }
    return parse_fail(p, "unknown key \"%s\" in [%s]", name, section_name(p->section));
}

static int open_file(struct parse *p)
{
    /* O_NONBLOCK: a FIFO somebody left there must not hang the daemon's start. */
    cleanup_(close_p) int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(p->e, ERR_IO, errno, "cannot read %s", p->path);
    if (!S_ISREG(st.st_mode))
        return err_set(p->e, ERR_INVALID, NULL, "%s is not a regular file", p->path);
    p->file = fdopen(fd, "re");
    if (!p->file)
        return err_set_errno(p->e, ERR_IO, errno, "cannot read %s", p->path);
    (void)take_fd(&fd);
    return 0;
}

int catalog_parse_file(const char *path, const char *name, struct catalog_entry *ret, struct err *e)
{
    struct parse p = {.path = path, .entry = ret, .e = e};
    *ret = (struct catalog_entry){.order = 5000};
    (void)text_copy(ret->name, sizeof ret->name, name);
    (void)text_copy(ret->file, sizeof ret->file, path);
    int r = open_file(&p);
    if (r < 0)
        return r;
    int bad_line = ini_parse_stream(read_line, &p, on_key, &p);
    bool read_error = ferror(p.file);
    fclose(p.file);
    if (read_error)
        return err_set_errno(e, ERR_IO, EIO, "cannot read %s", path);
    if (bad_line > 0 && !p.failed) {
        p.line = (unsigned)bad_line;
        (void)parse_fail(&p, "neither a section, a key = value nor a comment");
    }
    if (!p.failed && check_required(&p, SECTION_ALLOCATOR) && check_required(&p, SECTION_SYMBOLS) &&
        p.section == SECTION_OPTION)
        (void)check_required(&p, SECTION_OPTION);
    return p.failed ? err_code_errno(ERR_INVALID) : 0;
}
