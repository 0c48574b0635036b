/* The environment of a runner: static TLS room and the options of its subject.
 *
 * Callers: heapmark-supervisor before exec; heapmarkd to refuse impossible option sets at
 * submission. Pure; any thread. */
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/catalog/catalog.h"

/* Room for the TLS block of an allocator loaded by dlopen. glibc 2.36 reserves 512 bytes, less
 * than jemalloc's and scudo's initial-exec variables take ("cannot allocate memory in static TLS
 * block"), and reads the tunable only at exec. */
#define STATIC_TLS "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384"

/* Variables that hold a list of settings: several options can each add theirs. `assign` ends the
 * name within one setting. */
static const struct list_variable {
    const char *name;
    char separator, assign;
} list_variables[] = {
    {"GLIBC_TUNABLES", ':', '='},
    {"MALLOC_CONF", ',', ':'},
    {"SCUDO_OPTIONS", ':', '='},
};

static size_t name_length(const char *setting)
{
    return strcspn(setting, "=");
}

static const struct list_variable *find_list(const char *setting)
{
    for (size_t i = 0; i < sizeof list_variables / sizeof list_variables[0]; i++)
        if (strlen(list_variables[i].name) == name_length(setting) &&
            strncmp(list_variables[i].name, setting, name_length(setting)) == 0)
            return &list_variables[i];
    return NULL;
}

static char *find_variable(struct catalog_environment *env, const char *setting)
{
    size_t n = name_length(setting) + 1;
    for (uint32_t i = 0; i < env->count; i++)
        if (strncmp(env->values[i], setting, n) == 0)
            return env->values[i];
    return NULL;
}

/* Whether `list` (its items split by separator) has an item of the name `item` starts with. */
static bool list_sets(const char *list, const char *item, const struct list_variable *v)
{
    const char assign[] = {v->assign, v->separator, '\0'};
    size_t n = strcspn(item, assign);
    for (const char *at = list; at; at = strchr(at, v->separator), at = at ? at + 1 : NULL)
        if (strcspn(at, assign) == n && strncmp(at, item, n) == 0)
            return true;
    return false;
}

static int join(char *variable, const char *setting, const struct list_variable *v, uint32_t index,
                const char *option, struct err *e)
{
    char field[32];
    snprintf(field, sizeof field, "/options/%u", index);
    const char *items = setting + name_length(setting) + 1;
    const char *list = variable + name_length(variable) + 1;
    for (const char *at = items; at; at = strchr(at, v->separator), at = at ? at + 1 : NULL)
        if (list_sets(list, at, v))
            return err_set(e, ERR_CONFLICT, field,
                           "option %s sets in %s what is already set by another", option, v->name);
    size_t used = strlen(variable);
    size_t room = 2 * CATALOG_ENV_SIZE - used;
    if ((size_t)snprintf(variable + used, room, "%c%s", v->separator, items) >= room)
        return err_set(e, ERR_TOO_LARGE, field, "option %s makes %s too long", option, v->name);
    return 0;
}

static int add(struct catalog_environment *env, const char *setting, uint32_t index,
               const char *option, struct err *e)
{
    char field[32];
    snprintf(field, sizeof field, "/options/%u", index);
    char *variable = find_variable(env, setting);
    const struct list_variable *v = find_list(setting);
    if (variable && v)
        return join(variable, setting, v, index, option, e);
    if (variable)
        return err_set(e, ERR_CONFLICT, field, "option %s sets %.*s, which another one sets too",
                       option, (int)name_length(setting), setting);
    if (env->count == CATALOG_ENVIRONMENT_MAX)
        return err_set(e, ERR_TOO_LARGE, field, "options set more than %d variables",
                       CATALOG_ENVIRONMENT_MAX - 1);
    (void)text_copy(env->values[env->count++], sizeof env->values[0], setting);
    return 0;
}

static int add_option(struct catalog_environment *env, const struct catalog_entry *entry,
                      const char *const *options, uint32_t index, struct err *e)
{
    char field[32];
    snprintf(field, sizeof field, "/options/%u", index);
    const struct catalog_option *option = catalog_option_find(entry, options[index]);
    if (!option)
        return err_set(e, ERR_UNKNOWN_NAME, field, "%s has no option \"%s\"", entry->name,
                       options[index]);
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(options[i], options[index]) == 0)
            return err_set(e, ERR_INVALID, field, "option %s is given twice", option->name);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < option->env_count; i++)
        r = add(env, option->env[i], index, option->name, e);
    return r;
}

int catalog_environment(const struct catalog_entry *entry, const char *const *options,
                        uint32_t options_count, struct catalog_environment *ret, struct err *e)
{
    struct catalog_environment env = {.count = 1};
    (void)text_copy(env.values[0], sizeof env.values[0], STATIC_TLS);
    for (uint32_t i = 0; i < options_count; i++) {
        int r = add_option(&env, entry, options, i, e);
        if (r < 0)
            return r;
    }
    *ret = env;
    return 0;
}
