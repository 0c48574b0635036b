/* The table of settings, and how each type reads and writes its text. */
#include "daemon/config/internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"

#define PORT_MAX       65535
#define UNIX_PATH_MAX_ 107 /* sun_path without its NUL */

static const char *reject_path(const char *value)
{
    if (value[0] && value[0] != '/')
        return "must be an absolute path";
    return NULL;
}

static const char *reject_port(const char *text)
{
    uint64_t port;
    if (text_parse_u64(text, &port) < 0 || port > PORT_MAX)
        return "the port must be 0 to 65535 (0: any free one)";
    return NULL;
}

static const char *reject_listen(const char *value)
{
    if (strncmp(value, "unix:", 5) == 0) {
        if (value[5] != '/')
            return "the path after unix: must be absolute";
        return strlen(value + 5) > UNIX_PATH_MAX_ ? "a Unix socket's path has at most 107 bytes"
                                                  : NULL;
    }
    if (value[0] == '[') {
        const char *end = strstr(value, "]:");
        if (!end || end == value + 1)
            return "must be [ADDRESS]:PORT";
        return reject_port(end + 2);
    }
    const char *colon = strrchr(value, ':');
    if (!colon || colon == value || strchr(value, ':') != colon)
        return "must be ADDRESS:PORT, [ADDRESS6]:PORT or unix:/PATH";
    return reject_port(colon + 1);
}

static const char *reject_host(const char *value)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]*";
    if (strchr(value, '*'))
        return "names are matched exactly; there are no wildcards";
    return value[strspn(value, allowed)] ? "must be a host name in lower case, with its port if it "
                                           "is not the listening one"
                                         : NULL;
}

static const char *reject_uids(const char *value)
{
    if (!value[0] || strcmp(value, "none") == 0)
        return NULL;
    char *end;
    errno = 0;
    unsigned long first = strtoul(value, &end, 10), last;
    if (value[0] == '-' || end == value || *end != '-')
        return "must be FIRST-LAST or none";
    const char *rest = end + 1;
    last = strtoul(rest, &end, 10);
    if (*rest < '0' || *rest > '9' || *end || errno)
        return "must be FIRST-LAST or none";
    if (first == 0 || last < first || last > INT32_MAX)
        return "FIRST must be at least 1 and not above LAST";
    return NULL;
}

static const char *reject_name(const char *value)
{
    return text_is_name(value, 64) ? NULL : "must be a name of [a-z0-9._-], at most 64 bytes";
}

static const char *reject_user(const char *value)
{
    return !value[0] || text_is_name(value, 32) ? NULL : "must be a user name of [a-z0-9._-]";
}

static const char *const executor_choices[] = {"local", NULL};
static const char *const level_choices[] = {"error", "warning", "info", "debug", NULL};
static const char *const format_choices[] = {"text", "priority", "json", NULL};

#define AT(member) offsetof(struct config, member)

const struct config_setting config_settings[] = {
    {"server", "listen", CONFIG_LIST, AT(listen), "127.0.0.1:8080", .reject = reject_listen,
     .help = "Where to listen: ADDRESS:PORT, [ADDRESS6]:PORT or unix:/PATH. Port 0 takes any free "
             "one. Anything but loopback and Unix sockets needs a token to exist first."},
    {"server", "user", CONFIG_TEXT, AT(user), "", .reject = reject_user,
     .help = "User to become for good once the supervisor runs, before any socket is opened. "
             "Empty: stay."},
    {"server", "allowed_hosts", CONFIG_LIST, AT(allowed_hosts), "", .reject = reject_host,
     .help = "Host names a request may carry beside the addresses listened on; others get 421."},
    {"server", "public_read", CONFIG_BOOL, AT(public_read), "no",
     .help = "Whether reading needs no token on addresses other than loopback."},
    {"server", "connections_max", CONFIG_COUNT, AT(connections_max), "256", 8, 4096,
     .help = "Connections at one time; more are closed at once."},
    {"server", "connections_per_address_max", CONFIG_COUNT, AT(connections_per_address_max), "32",
     1, 4096, .help = "Connections of one peer address at one time; loopback is exempt."},
    {"server", "event_streams_max", CONFIG_COUNT, AT(event_streams_max), "64", 1, 2048,
     .help = "Progress streams and long polls at one time; more get 503."},
    {"server", "idle_s", CONFIG_COUNT, AT(idle_s), "30", 1, 3600,
     .help = "Seconds after which a silent connection is closed."},
    {"server", "request_s", CONFIG_COUNT, AT(request_s), "10", 1, 600,
     .help = "Seconds a client has to send a whole request, however steadily it sends."},
    {"server", "body_bytes_max", CONFIG_SIZE, AT(body_bytes_max), "64KiB", 1024, 1048576,
     .help = "Largest request body; more gets 413. A mebibyte of JSON costs 50 times that."},

    {"store", "directory", CONFIG_TEXT, AT(directory), "/var/lib/heapmark", .reject = reject_path,
     .help = "Where the database is. One daemon per directory."},
    {"store", "low_water", CONFIG_SIZE, AT(low_water_bytes), "256MiB", 1048576, 1e15,
     .help = "Free disk space below which new jobs are refused, so that running ones can end."},

    {"supervisor", "path", CONFIG_TEXT, AT(supervisor_path), "", .reject = reject_path,
     .help = "heapmark-supervisor. Empty: the one that belongs to this heapmarkd."},
    {"supervisor", "runner", CONFIG_TEXT, AT(runner_path), "", .reject = reject_path,
     .help = "heapmark-runner. Empty: the one that belongs to this heapmarkd."},
    {"supervisor", "directory", CONFIG_TEXT, AT(supervisor_directory), "", .reject = reject_path,
     .help = "Where the host's own settings are kept while a job has changed them. Empty: "
             "/run/heapmark as root, else supervisor/ in the store's directory."},
    {"supervisor", "catalog_dirs", CONFIG_LIST, AT(catalog_dirs), "", .reject = reject_path,
     .help = "Directories of allocator catalogue files; a later one overrides an earlier one file "
             "by file. Empty: those that belong to this heapmarkd, then /etc/heapmark/catalog if "
             "it exists."},
    {"supervisor", "library_dirs", CONFIG_LIST, AT(library_dirs), "", .reject = reject_path,
     .help = "Where allocator libraries are looked up before the system's directories. Empty: "
             "heapmark's own allocators."},
    {"supervisor", "uids", CONFIG_TEXT, AT(uids), "", .reject = reject_uids,
     .help = "User ids for runners, FIRST-LAST, used by nobody else; none: runners keep the "
             "supervisor's. Empty: 61000-61007 as root, else none."},
    {"supervisor", "cgroup_name", CONFIG_TEXT, AT(cgroup_name), "heapmark", .reject = reject_name,
     .help = "Name of the cgroup above all trials, made below the daemon's own."},
    {"supervisor", "allow_thp", CONFIG_BOOL, AT(allow_thp), "yes",
     .help = "Whether jobs may change the transparent huge page mode while they run."},
    {"supervisor", "allow_hugetlb", CONFIG_BOOL, AT(allow_hugetlb), "yes",
     .help = "Whether jobs may reserve huge pages while they run."},

    {"scheduler", "attempts_max", CONFIG_COUNT, AT(attempts_max), "3", 1, 20,
     .help = "How often a ring is tried when it is lost, and a job is claimed."},
    {"scheduler", "jobs_queued_max", CONFIG_COUNT, AT(jobs_queued_max), "1000", 1, 100000,
     .help = "Jobs that may wait; more get 429."},
    {"scheduler", "steal_ratio_max", CONFIG_RATIO, AT(steal_ratio_max), "0.05", 0, 1,
     .help = "Share of a ring's time the hypervisor may steal before the ring is discarded."},

    {"executor", "kind", CONFIG_ENUM, AT(executor_kind), "local", .choices = executor_choices,
     .help = "Where trials run."},

    {"log", "level", CONFIG_ENUM, AT(log_level), "info", .choices = level_choices,
     .help = "What is logged on standard error."},
    {"log", "format", CONFIG_ENUM, AT(log_format), "text", .choices = format_choices,
     .help = "text for people, priority for a service manager, json for collectors."},
    {.section = NULL},
};

_Static_assert(sizeof config_settings / sizeof config_settings[0] - 1 <= CONFIG_SETTINGS_MAX,
               "origin[] has a place for each setting");

const char *config_type_name(enum config_type type)
{
    static const char *const names[CONFIG_TYPE_COUNT_] = {
        [CONFIG_BOOL] = "yes or no", [CONFIG_COUNT] = "number", [CONFIG_SIZE] = "size",
        [CONFIG_RATIO] = "ratio",    [CONFIG_TEXT] = "text",    [CONFIG_ENUM] = "choice",
        [CONFIG_LIST] = "list",
    };
    return (unsigned)type < CONFIG_TYPE_COUNT_ ? names[type] : "unknown";
}

const struct config_setting *config_setting_find(const char *section, const char *key)
{
    for (const struct config_setting *row = config_settings; row->section; row++)
        if (strcmp(row->section, section) == 0 && strcmp(row->key, key) == 0)
            return row;
    return NULL;
}

static int bool_set(bool *ret, const char *text, struct err *e)
{
    static const struct {
        const char *name;
        bool value;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].name, text) == 0) {
            *ret = words[i].value;
            return 0;
        }
    return err_set(e, ERR_INVALID, NULL, "\"%s\" is not yes or no", text);
}

static int enum_set(uint64_t *ret, const char *const *choices, const char *text, struct err *e)
{
    char list[128] = "";
    for (uint64_t i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            *ret = i;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", choices[i]);
    }
    return err_set(e, ERR_INVALID, NULL, "\"%s\" is not one of %s", text, list);
}

static int number_set(uint64_t *ret, const struct config_setting *row, const char *text,
                      struct err *e)
{
    uint64_t value;
    int r = row->type == CONFIG_SIZE ? text_parse_size(text, &value) : text_parse_u64(text, &value);
    if (r == -EINVAL)
        return err_set(e, ERR_INVALID, NULL, "\"%s\" is not a %s", text,
                       row->type == CONFIG_SIZE ? "size (as 64KiB or 1GiB)" : "whole number");
    if (r < 0 || (double)value < row->min || (double)value > row->max)
        return err_set(e, ERR_OUT_OF_RANGE, NULL, "%s is not between %.0f and %.0f", text, row->min,
                       row->max);
    *ret = value;
    return 0;
}

static int ratio_set(double *ret, const struct config_setting *row, const char *text, struct err *e)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value))
        return err_set(e, ERR_INVALID, NULL, "\"%s\" is not a number", text);
    if (value < row->min || value > row->max)
        return err_set(e, ERR_OUT_OF_RANGE, NULL, "%s is not between %g and %g", text, row->min,
                       row->max);
    *ret = value;
    return 0;
}

static int text_set(char *ret, const struct config_setting *row, const char *text, struct err *e)
{
    if (strlen(text) >= CONFIG_TEXT_SIZE)
        return err_set(e, ERR_TOO_LARGE, NULL, "longer than %d bytes", CONFIG_TEXT_SIZE - 1);
    const char *why = row->reject ? row->reject(text) : NULL;
    if (why)
        return err_set(e, ERR_INVALID, NULL, "\"%s\": %s", text, why);
    snprintf(ret, CONFIG_TEXT_SIZE, "%s", text);
    return 0;
}

static int list_set(struct config_list *ret, const struct config_setting *row, const char *text,
                    struct err *e)
{
    static const char separators[] = ", \t";
    struct config_list list = {0};
    for (const char *at = text + strspn(text, separators); *at; at += strspn(at, separators)) {
        size_t length = strcspn(at, separators);
        char item[CONFIG_TEXT_SIZE];
        if (list.count == CONFIG_LIST_MAX)
            return err_set(e, ERR_TOO_LARGE, NULL, "more than %d items", CONFIG_LIST_MAX);
        if (length >= sizeof item)
            return err_set(e, ERR_TOO_LARGE, NULL, "an item longer than %zu bytes",
                           sizeof item - 1);
        memcpy(item, at, length);
        item[length] = '\0';
        int r = text_set(list.items[list.count], row, item, e);
        if (r < 0)
            return r;
        list.count++;
        at += length;
    }
    *ret = list;
    return 0;
}

int config_value_set(struct config *c, const struct config_setting *row, const char *text,
                     struct err *e)
{
    void *slot = config_slot(c, row);
    switch (row->type) {
    case CONFIG_BOOL:
        return bool_set(slot, text, e);
    case CONFIG_COUNT:
    case CONFIG_SIZE:
        return number_set(slot, row, text, e);
    case CONFIG_RATIO:
        return ratio_set(slot, row, text, e);
    case CONFIG_TEXT:
        return text_set(slot, row, text, e);
    case CONFIG_ENUM:
        return enum_set(slot, row->choices, text, e);
    case CONFIG_LIST:
        return list_set(slot, row, text, e);
    case CONFIG_TYPE_COUNT_:
        break;
    }
    return err_set(e, ERR_INTERNAL, NULL, "%s.%s has no type", row->section, row->key);
}

static void size_format(uint64_t bytes, char *buf, size_t buf_size)
{
    static const struct {
        unsigned shift;
        const char *suffix;
    } units[] = {{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (bytes && bytes % (UINT64_C(1) << units[i].shift) == 0) {
            snprintf(buf, buf_size, "%llu%s", (unsigned long long)(bytes >> units[i].shift),
                     units[i].suffix);
            return;
        }
    snprintf(buf, buf_size, "%llu", (unsigned long long)bytes);
}

static void list_format(const struct config_list *list, char *buf, size_t buf_size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < list->count && used < buf_size; i++)
        used +=
            (size_t)snprintf(buf + used, buf_size - used, "%s%s", i ? ", " : "", list->items[i]);
}

void config_value_format(const struct config *c, const struct config_setting *row, char *buf,
                         size_t buf_size)
{
    const void *slot = config_slot_const(c, row);
    switch (row->type) {
    case CONFIG_BOOL:
        snprintf(buf, buf_size, "%s", *(const bool *)slot ? "yes" : "no");
        break;
    case CONFIG_COUNT:
        snprintf(buf, buf_size, "%llu", (unsigned long long)*(const uint64_t *)slot);
        break;
    case CONFIG_SIZE:
        size_format(*(const uint64_t *)slot, buf, buf_size);
        break;
    case CONFIG_RATIO:
        snprintf(buf, buf_size, "%.15g", *(const double *)slot);
        break;
    case CONFIG_TEXT:
        snprintf(buf, buf_size, "%s", (const char *)slot);
        break;
    case CONFIG_ENUM:
        snprintf(buf, buf_size, "%s", row->choices[*(const uint64_t *)slot]);
        break;
    case CONFIG_LIST:
        list_format(slot, buf, buf_size);
        break;
    case CONFIG_TYPE_COUNT_:
        buf[0] = '\0';
        break;
    }
}
