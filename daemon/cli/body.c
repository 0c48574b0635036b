/* A job's body from the command line: a preset or a file, then --profile, --allocators, --name,
 * --label and --set over it. What the fields mean is the server's business. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli/client.h"
#include "daemon/cli/jobs.h"

#define PATH_DEPTH_MAX 8

static bool is_file(const char *operand)
{
    size_t length = strlen(operand);
    return strcmp(operand, "-") == 0 || strchr(operand, '/') ||
           (length > 5 && strcmp(operand + length - 5, ".json") == 0);
}

static enum cli_exit file_read(struct cli *c, const char *path, json_t **ret_body)
{
    bool is_stdin = strcmp(path, "-") == 0;
    cleanup_(fclose_p) FILE *opened = is_stdin ? NULL : fopen(path, "re");
    FILE *file = is_stdin ? stdin : opened;
    if (!file)
        return cli_fail(c, CLI_USAGE, "cannot read %s: %s", path, strerror(errno));
    cleanup_(free_p) char *text = malloc(JOB_FILE_MAX + 1);
    size_t size = text ? fread(text, 1, JOB_FILE_MAX + 1, file) : 0;
    if (!text || ferror(file))
        return cli_fail(c, CLI_USAGE, "cannot read %s", path);
    if (size > JOB_FILE_MAX)
        return cli_fail(c, CLI_USAGE, "%s is larger than %zu KiB", path, JOB_FILE_MAX >> 10);
    json_error_t where;
    json_t *body = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!body)
        return cli_fail(c, CLI_USAGE, "%s:%d:%d: %s", path, where.line, where.column, where.text);
    if (!json_is_object(body)) {
        json_decref(body);
        return cli_fail(c, CLI_USAGE, "%s is not a JSON object", path);
    }
    *ret_body = body;
    return CLI_OK;
}

static json_t *scalar_parse(const char *text, size_t length)
{
    json_t *value = json_loadb(text, length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    return value ? value : json_stringn(text, length);
}

/* JSON, else text; a comma outside JSON makes a list. */
static json_t *value_parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (value || !strchr(text, ','))
        return value ? value : json_string(text);
    json_t *list = json_array();
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        json_array_append_new(list, scalar_parse(at, length));
        at += length;
        if (!*at)
            return list;
    }
}

static bool index_parse(const char *step, size_t *ret_index)
{
    char *end;
    unsigned long value = strtoul(step, &end, 10);
    if (!isdigit((unsigned char)step[0]) || *end)
        return false;
    *ret_index = value;
    return true;
}

/* The container one step down, made if an object lacks it. NULL when there is no such place. */
static json_t *step_down(json_t *at, const char *step)
{
    size_t index;
    if (json_is_array(at))
        return index_parse(step, &index) ? json_array_get(at, index) : NULL;
    if (!json_is_object(at))
        return NULL;
    if (!json_object_get(at, step))
        json_object_set_new(at, step, json_object());
    return json_object_get(at, step);
}

static int step_set(json_t *at, const char *step, json_t *value)
{
    size_t index;
    if (json_is_object(at))
        return json_object_set(at, step, value);
    if (!json_is_array(at) || !index_parse(step, &index))
        return -1;
    return index == json_array_size(at) ? json_array_append(at, value)
                                        : json_array_set(at, index, value);
}

enum cli_exit job_body_set(struct cli *c, json_t *body, const char *assignment)
{
    char path[256];
    const char *equals = strchr(assignment, '=');
    size_t length = equals ? (size_t)(equals - assignment) : 0;
    if (!equals || length == 0 || length >= sizeof path)
        return cli_fail(c, CLI_USAGE, "--set %.100s: not PATH=VALUE", assignment);
    memcpy(path, assignment, length);
    path[length] = '\0';
    cleanup_(json_decref_p) json_t *value = value_parse(equals + 1);
    if (!value)
        return cli_fail(c, CLI_USAGE, "--set %s: the value is not UTF-8", path);
    char *step = path, *dot;
    json_t *at = body;
    for (unsigned depth = 0; at && (dot = strchr(step, '.')); depth++) {
        *dot = '\0';
        at = depth < PATH_DEPTH_MAX ? step_down(at, step) : NULL;
        *dot = '.';
        step = dot + 1;
    }
    if (!at || !step[0] || step_set(at, step, value) < 0)
        return cli_fail(c, CLI_USAGE, "--set %s: the job has no such place", path);
    return CLI_OK;
}

/* "jemalloc+thp-off+x": a name, or an object with its options. */
static json_t *subject_parse(const char *text, size_t length)
{
    const char *plus = memchr(text, '+', length);
    if (!plus)
        return json_stringn(text, length);
    json_t *options = json_array();
    const char *end = text + length;
    for (const char *at = plus; at < end;) {
        const char *from = at + 1;
        at = memchr(from, '+', (size_t)(end - from));
        at = at ? at : end;
        json_array_append_new(options, json_stringn(from, (size_t)(at - from)));
    }
    return json_pack("{s:o, s:o}", "name", json_stringn(text, (size_t)(plus - text)), "options",
                     options);
}

static enum cli_exit allocators_set(struct cli *c, json_t *body, const char *text)
{
    json_t *list = json_array();
    json_object_set_new(body, "allocators", list);
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        json_t *subject = length ? subject_parse(at, length) : NULL;
        if (!subject)
            return cli_fail(c, CLI_USAGE, "--allocators %.100s: an empty name", text);
        json_array_append_new(list, subject);
        at += length;
        if (!*at)
            return CLI_OK;
    }
}

static enum cli_exit label_set(struct cli *c, json_t *body, const char *text)
{
    const char *equals = strchr(text, '=');
    char key[32];
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= sizeof key)
        return cli_fail(c, CLI_USAGE, "--label %.100s: not KEY=VALUE", text);
    memcpy(key, text, length);
    key[length] = '\0';
    json_t *labels = json_object_get(body, "labels");
    if (!json_is_object(labels)) {
        labels = json_object();
        json_object_set_new(body, "labels", labels);
    }
    bool is_number = strcmp(key, "sequence") == 0;
    json_t *value =
        is_number ? scalar_parse(equals + 1, strlen(equals + 1)) : json_string(equals + 1);
    if (json_object_set_new(labels, key, value) < 0)
        return cli_fail(c, CLI_USAGE, "--label %s: the value is not UTF-8", key);
    return CLI_OK;
}

static enum cli_exit given_apply(struct cli *c, json_t *body, enum option_id id, const char *value)
{
    switch (id) {
    case OPTION_PROFILE:
    case OPTION_NAME:
        if (json_object_set_new(body, cli_options[id].name, json_string(value)) < 0)
            return cli_fail(c, CLI_USAGE, "--%s: the value is not UTF-8", cli_options[id].name);
        return CLI_OK;
    case OPTION_ALLOCATORS:
        return allocators_set(c, body, value);
    case OPTION_LABEL:
        return label_set(c, body, value);
    case OPTION_SET:
        return job_body_set(c, body, value);
    default:
        return CLI_OK;
    }
}

enum cli_exit job_body_make(struct cli *c, json_t **ret_body)
{
    cleanup_(json_decref_p) json_t *body = NULL;
    const char *operand = c->operands[0];
    enum cli_exit code = CLI_OK;
    if (is_file(operand))
        code = file_read(c, operand, &body);
    else
        body = json_pack("{s:s}", "preset", operand);
    if (code == CLI_OK && !body)
        return cli_fail(c, CLI_USAGE, "the preset's name is not UTF-8");
    for (unsigned i = 0; code == CLI_OK && i < c->given_count; i++)
        code = given_apply(c, body, c->given[i].id, c->given[i].value);
    if (code == CLI_OK)
        *ret_body = take_ptr(body);
    return code;
}
