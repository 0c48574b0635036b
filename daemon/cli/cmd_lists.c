/* presets, allocators, workloads: what the server has. */
#include <stdio.h>
#include <string.h>

#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/table.h"

static void print_clean(const char *label, const char *text)
{
    char clean[1024];
    term_clean(clean, sizeof clean, text);
    if (clean[0])
        printf("%-10s %s\n", label, clean);
}

/* One document by name, or all items; with --json printed here, *ret NULL then. */
static enum cli_exit fetch(struct cli *c, const char *collection, json_t **ret)
{
    char path[CLIENT_PATH_SIZE];
    cleanup_(json_decref_p) json_t *found = NULL;
    enum cli_exit code = CLI_OK;
    snprintf(path, sizeof path, "%s", collection);
    if (c->operands_count) {
        code = client_path_segment(path, c->operands[0], &c->err);
        if (code == CLI_OK)
            code = client_get(c->client, path, &found, &c->err);
    } else {
        code = client_list(c->client, path, 0, &found, &c->err);
    }
    if (code != CLI_OK)
        return code;
    if (c->json) {
        cleanup_(json_decref_p) json_t *document =
            c->operands_count ? json_incref(found) : json_pack("{s:O}", "items", found);
        *ret = NULL;
        return document_print(c, document);
    }
    *ret = take_ptr(found);
    return CLI_OK;
}

static void print_rows(const json_t *items, const char *const *heads, const char *const *keys,
                       unsigned count)
{
    cleanup_(table_free_p) struct table *table = table_new();
    size_t i;
    const json_t *item;
    for (unsigned k = 0; k < count; k++)
        table_column(table, heads[k], "", false);
    json_array_foreach(items, i, item)
    {
        table_row(table);
        for (unsigned k = 0; k < count; k++)
            table_cell(table, k, STYLE_PLAIN, "%s", member_text(item, keys[k]));
    }
    table_print(table, stdout, 0);
}

enum cli_exit cmd_presets(struct cli *c)
{
    static const char *const keys[] = {"name", "title", "summary"};
    cleanup_(json_decref_p) json_t *items = NULL;
    enum cli_exit code = fetch(c, "/api/v1/presets", &items);
    if (code == CLI_OK && items)
        print_rows(items, keys, keys, 3);
    return code;
}

/* ---- allocators ---- */

static const char *build_version(const json_t *allocator)
{
    const json_t *builds = json_object_get(allocator, "builds");
    return member_text(json_array_get(builds, 0), "version");
}

static void allocators_print(const json_t *items)
{
    cleanup_(table_free_p) struct table *table = table_new();
    static const char *const heads[] = {"allocator", "kind", "version", "library"};
    size_t i;
    const json_t *item;
    for (i = 0; i < sizeof heads / sizeof heads[0]; i++)
        table_column(table, heads[i], "", false);
    json_array_foreach(items, i, item)
    {
        bool there = json_is_true(json_object_get(item, "available"));
        table_row(table);
        table_cell(table, 0, STYLE_PLAIN, "%s", member_text(item, "name"));
        table_cell(table, 1, STYLE_PLAIN, "%s", member_text(item, "kind"));
        table_cell(table, 2, STYLE_PLAIN, "%s", build_version(item));
        table_cell(table, 3, there ? STYLE_PLAIN : STYLE_BAD, "%s%s",
                   there ? "" : "unavailable: ", member_text(item, there ? "path" : "reason"));
    }
    table_print(table, stdout, 0);
}

static void allocator_print(const json_t *item)
{
    static const char *const keys[] = {"name",   "summary", "kind",  "path",
                                       "sha256", "package", "reason"};
    static const char *const build_keys[] = {"version", "sha256", "first_seen", "last_seen"};
    static const char *const option_keys[] = {"name", "help"};
    const json_t *options = json_object_get(item, "options");
    const json_t *builds = json_object_get(item, "builds");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        print_clean(keys[i], member_text(item, keys[i]));
    if (json_array_size(options)) {
        printf("\noptions\n");
        print_rows(options, option_keys, option_keys, 2);
    }
    if (json_array_size(builds)) {
        printf("\nbuilds measured here\n");
        print_rows(builds, build_keys, build_keys, 4);
    }
}

enum cli_exit cmd_allocators(struct cli *c)
{
    cleanup_(json_decref_p) json_t *found = NULL;
    enum cli_exit code = fetch(c, "/api/v1/allocators", &found);
    if (code == CLI_OK && json_is_array(found))
        allocators_print(found);
    else if (code == CLI_OK && found)
        allocator_print(found);
    return code;
}

/* ---- workloads ---- */

/* A default or bound as people write it. */
static void param_text(const json_t *param, const char *key, char buf[FORMAT_SIZE])
{
    const json_t *value = json_object_get(param, key);
    bool is_size = strcmp(member_text(param, "type"), "size") == 0;
    if (json_is_string(value))
        snprintf(buf, FORMAT_SIZE, "%.40s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(buf, FORMAT_SIZE, "%s", json_is_true(value) ? "true" : "false");
    else if (json_is_number(value) && is_size)
        format_value(json_number_value(value), "bytes", buf);
    else if (json_is_number(value))
        snprintf(buf, FORMAT_SIZE, "%.15g", json_number_value(value));
    else
        buf[0] = '\0';
}

static void params_print(const json_t *params)
{
    cleanup_(table_free_p) struct table *table = table_new();
    static const char *const heads[] = {"parameter", "default", "from", "to", "unit", "meaning"};
    static const char *const keys[] = {"default", "min", "max"};
    size_t i, k;
    const json_t *param, *choice;
    for (i = 0; i < sizeof heads / sizeof heads[0]; i++)
        table_column(table, heads[i], "", i >= 1 && i <= 3);
    json_array_foreach(params, i, param)
    {
        char choices[TABLE_CELL_SIZE] = "";
        table_row(table);
        table_cell(table, 0, STYLE_PLAIN, "%s", member_text(param, "name"));
        for (k = 0; k < 3; k++) {
            char text[FORMAT_SIZE];
            param_text(param, keys[k], text);
            table_cell(table, (unsigned)k + 1, STYLE_PLAIN, "%s", text);
        }
        json_array_foreach(json_object_get(param, "choices"), k, choice)
        {
            size_t used = strlen(choices);
            snprintf(choices + used, sizeof choices - used, "%s%s", k ? "|" : "",
                     json_string_value(choice) ? json_string_value(choice) : "");
        }
        table_cell(table, 4, STYLE_PLAIN, "%s", choices[0] ? choices : member_text(param, "unit"));
        table_cell(table, 5, STYLE_PLAIN, "%s", member_text(param, "help"));
    }
    table_print(table, stdout, 0);
}

static void workload_print(const json_t *item)
{
    static const char *const keys[] = {"name", "family", "kind", "axis", "summary"};
    static const char *const metric_keys[] = {"name", "unit", "direction", "help"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        print_clean(keys[i], member_text(item, keys[i]));
    putchar('\n');
    params_print(json_object_get(item, "params"));
    putchar('\n');
    print_rows(json_object_get(item, "metrics"), metric_keys, metric_keys, 4);
}

enum cli_exit cmd_workloads(struct cli *c)
{
    static const char *const keys[] = {"name", "family", "kind", "summary"};
    cleanup_(json_decref_p) json_t *found = NULL;
    enum cli_exit code = fetch(c, "/api/v1/workloads", &found);
    if (code == CLI_OK && json_is_array(found))
        print_rows(found, keys, keys, 4);
    else if (code == CLI_OK && found)
        workload_print(found);
    return code;
}
