/* host: the machine that measures, its tree, and what it allows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/term.h"

#define TREE_DEPTH_MAX 24

static void print_pair(const char *label, const char *text)
{
    char clean[1024];
    term_clean(clean, sizeof clean, text);
    printf("%-22s %s\n", label, clean);
}

static void tree_print(const json_t *node, unsigned depth)
{
    char type[64], cpus[96], size[FORMAT_SIZE] = "";
    double bytes = member_real(node, "size_bytes");
    const json_t *number = json_object_get(node, "index");
    size_t i;
    const json_t *child;
    term_clean(type, sizeof type, member_text(node, "type"));
    term_clean(cpus, sizeof cpus, member_text(node, "cpus"));
    if (bytes > 0)
        format_value(bytes, "bytes", size);
    printf("%*s%s", (int)(2 * depth), "", type);
    if (json_is_integer(number) && json_integer_value(number) >= 0)
        printf(" %lld", (long long)json_integer_value(number));
    printf("%s%s%s%s\n", size[0] ? "  " : "", size, cpus[0] ? "  cpus " : "", cpus);
    if (depth < TREE_DEPTH_MAX)
        json_array_foreach(json_object_get(node, "children"), i, child)
            tree_print(child, depth + 1);
}

static void facts_print(const json_t *facts)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)facts, key, value)
    {
        char label[64];
        term_clean(label, sizeof label, key);
        if (json_is_string(value)) {
            print_pair(label, json_string_value(value));
            continue;
        }
        if (json_is_null(value)) {
            print_pair(label, "only told to who has a token");
            continue;
        }
        cleanup_(free_p) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        print_pair(label, text ? text : "");
    }
}

static void pages_print(const json_t *pages)
{
    const json_t *thp = json_object_get(pages, "thp"), *size;
    char line[256];
    size_t i;
    snprintf(line, sizeof line, "%s, defrag %s", member_text(thp, "enabled"),
             member_text(thp, "defrag"));
    print_pair("transparent huge pages", line);
    json_array_foreach(json_object_get(pages, "hugetlb"), i, size)
    {
        char bytes[FORMAT_SIZE], label[FORMAT_SIZE + 16];
        format_value(member_real(size, "size_bytes"), "bytes", bytes);
        snprintf(label, sizeof label, "hugetlb %s", bytes);
        snprintf(line, sizeof line, "%.0f in all, %.0f free, %.0f reserved",
                 member_real(size, "total"), member_real(size, "free"),
                 member_real(size, "reserved"));
        print_pair(label, line);
    }
}

static void cgroups_print(const json_t *cgroups)
{
    const char *controller;
    json_t *row;
    json_object_foreach((json_t *)cgroups, controller, row)
    {
        char label[64], line[256];
        double version = member_real(row, "version");
        snprintf(label, sizeof label, "cgroup %.40s", controller);
        if (version > 0)
            snprintf(line, sizeof line, "version %.0f", version);
        else
            snprintf(line, sizeof line, "none: %s", member_text(row, "reason"));
        print_pair(label, line);
    }
}

static void isolation_print(const json_t *isolation)
{
    char line[512];
    size_t i;
    const json_t *bit;
    snprintf(line, sizeof line, "%s", member_text(isolation, "level"));
    json_array_foreach(json_object_get(isolation, "bits"), i, bit)
    {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%s", i ? ", " : ": ",
                 json_string_value(bit) ? json_string_value(bit) : "");
    }
    print_pair("isolation", line);
}

static void housekeeping_print(const json_t *host)
{
    double threads = member_real(host, "housekeeping_threads");
    char text[96] = "none to spare: the daemon shares the trials' CPUs";
    if (json_is_true(json_object_get(host, "housekeeping")))
        snprintf(text, sizeof text, "yes");
    else if (threads > 0)
        snprintf(text, sizeof text, "beside trials of up to %.0f threads; wider ones share theirs",
                 threads);
    print_pair("housekeeping CPU", text);
}

/* "0,1,2" */
static void cpus_join(const json_t *cpus, char *buf, size_t size)
{
    size_t i, used = 0;
    const json_t *cpu;
    buf[0] = '\0';
    json_array_foreach(cpus, i, cpu)
    {
        int n = snprintf(buf + used, size - used, "%s%" JSON_INTEGER_FORMAT, used ? "," : "",
                         json_integer_value(cpu));
        if (n < 0 || (size_t)n >= size - used)
            break;
        used += (size_t)n;
    }
    buf[used] = '\0';
}

static void placements_print(const json_t *host)
{
    char line[1024], cpus[768], label[64];
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(host, "placements"), i, row)
    {
        snprintf(label, sizeof label, "%.20s T=%.0f", member_text(row, "policy"),
                 member_real(row, "threads"));
        cpus_join(json_object_get(row, "cpus"), cpus, sizeof cpus);
        snprintf(line, sizeof line, "%s%.768s", cpus[0] ? "CPU " : "",
                 cpus[0] ? cpus : member_text(row, "reason"));
        print_pair(label, line);
    }
}

enum cli_exit cmd_host(struct cli *c)
{
    cleanup_(json_decref_p) json_t *host = NULL;
    enum cli_exit code = client_get(c->client, "/api/v1/host", &host, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json)
        return document_print(c, host);
    print_pair("host", member_text(host, "name"));
    print_pair("key", member_text(host, "key"));
    facts_print(json_object_get(host, "facts"));
    pages_print(json_object_get(host, "pages"));
    cgroups_print(json_object_get(host, "cgroups"));
    isolation_print(json_object_get(host, "isolation"));
    housekeeping_print(host);
    placements_print(host);
    putchar('\n');
    tree_print(json_object_get(host, "topology"), 0);
    return CLI_OK;
}
