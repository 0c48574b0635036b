/* The supervisor's command line (supervisor.h). Called once by main, before anything runs. */
#include "daemon/supervisor/supervisor.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "workloads/ring/ring.h"

enum option_id {
    OPTION_RUNNER = 256,
    OPTION_STATE_DIR,
    OPTION_CATALOG_DIR,
    OPTION_LIBRARY_DIR,
    OPTION_UIDS,
    OPTION_CGROUP_NAME,
    OPTION_DAEMON_PID,
    OPTION_DENY,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"runner", required_argument, NULL, OPTION_RUNNER},
    {"state-dir", required_argument, NULL, OPTION_STATE_DIR},
    {"catalog-dir", required_argument, NULL, OPTION_CATALOG_DIR},
    {"library-dir", required_argument, NULL, OPTION_LIBRARY_DIR},
    {"uids", required_argument, NULL, OPTION_UIDS},
    {"cgroup-name", required_argument, NULL, OPTION_CGROUP_NAME},
    {"daemon-pid", required_argument, NULL, OPTION_DAEMON_PID},
    {"deny", required_argument, NULL, OPTION_DENY},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static int dir_add(const char **dirs, const char *option, const char *dir, struct err *e)
{
    if (dir[0] != '/')
        return err_set(e, ERR_INVALID, option, "\"%s\" is not an absolute path", dir);
    for (unsigned i = 0; i < SUPERVISOR_DIRS_MAX; i++)
        if (!dirs[i]) {
            dirs[i] = dir;
            return 0;
        }
    return err_set(e, ERR_TOO_LARGE, option, "at most %d directories", SUPERVISOR_DIRS_MAX);
}

static int uids_parse(const char *text, bool is_root, struct supervisor_options *o, struct err *e)
{
    if (strcmp(text, "none") == 0) {
        o->uids_count = 0;
        return 0;
    }
    char first_text[16];
    uint64_t first, last;
    const char *dash = strchr(text, '-');
    if (!dash || (size_t)(dash - text) >= sizeof first_text)
        return err_set(e, ERR_INVALID, "uids", "\"%s\" is not FIRST-LAST", text);
    snprintf(first_text, sizeof first_text, "%.*s", (int)(dash - text), text);
    if (text_parse_u64(first_text, &first) < 0 || text_parse_u64(dash + 1, &last) < 0)
        return err_set(e, ERR_INVALID, "uids", "\"%s\" is not FIRST-LAST", text);
    if (first < 1 || last > INT_MAX || last < first || last - first + 1 < RING_RUNNERS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "uids",
                       "%s: at least %d ids, the first at least 1, the last at most %d", text,
                       RING_RUNNERS_MAX, INT_MAX);
    if (!is_root)
        return err_set(e, ERR_FORBIDDEN, "uids", "only root can give runners their own ids");
    o->uid_first = (uid_t)first;
    o->uids_count = (unsigned)(last - first + 1);
    return 0;
}

static int deny_parse(const char *text, struct supervisor_options *o, struct err *e)
{
    if (strcmp(text, "thp") == 0)
        o->deny_thp = true;
    else if (strcmp(text, "hugetlb") == 0)
        o->deny_hugetlb = true;
    else
        return err_set(e, ERR_UNKNOWN_NAME, "deny", "\"%s\" is not thp or hugetlb", text);
    return 0;
}

static int log_format_parse(const char *text, struct supervisor_options *o, struct err *e)
{
    static const char *const names[] = {"text", "priority", "json"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            o->log_format = (enum log_format)i;
            return 0;
        }
    return err_set(e, ERR_UNKNOWN_NAME, "log-format", "\"%s\" is not text, priority or json", text);
}

static int number_option_parse(const char *text, struct supervisor_options *o, struct err *e)
{
    uint64_t pid;
    if (text_parse_u64(text, &pid) < 0 || pid < 1 || pid > INT_MAX)
        return err_set(e, ERR_INVALID, "daemon-pid", "\"%s\" is not a process id", text);
    o->daemon_pid = (pid_t)pid;
    return 0;
}

static int option_apply(int id, const char *value, bool is_root, struct supervisor_options *o,
                        struct err *e)
{
    switch (id) {
    case OPTION_RUNNER:
        o->runner = value;
        return 0;
    case OPTION_STATE_DIR:
        o->state_dir = value;
        return 0;
    case OPTION_CATALOG_DIR:
        return dir_add(o->catalog_dirs, "catalog-dir", value, e);
    case OPTION_LIBRARY_DIR:
        return dir_add(o->library_dirs, "library-dir", value, e);
    case OPTION_UIDS:
        return uids_parse(value, is_root, o, e);
    case OPTION_CGROUP_NAME:
        if (!text_is_name(value, 48))
            return err_set(e, ERR_INVALID, "cgroup-name", "\"%s\" is not a cgroup name", value);
        o->cgroup_name = value;
        return 0;
    case OPTION_DAEMON_PID:
        return number_option_parse(value, o, e);
    case OPTION_DENY:
        return deny_parse(value, o, e);
    case OPTION_LOG_LEVEL:
        return log_level_parse(value, &o->log_level) < 0
                   ? err_set(e, ERR_UNKNOWN_NAME, "log-level", "no level \"%s\"", value)
                   : 0;
    case OPTION_LOG_FORMAT:
        return log_format_parse(value, o, e);
    case OPTION_VERSION:
        o->show_version = true;
        return 0;
    default:
        return err_set(e, ERR_UNKNOWN_NAME, NULL, "unknown option or missing value");
    }
}

static int options_check(const struct supervisor_options *o, struct err *e)
{
    if (!o->runner || o->runner[0] != '/')
        return err_set(e, ERR_INVALID, "runner", "an absolute path is required");
    if (!o->state_dir || o->state_dir[0] != '/')
        return err_set(e, ERR_INVALID, "state-dir", "an absolute path is required");
    if (!o->catalog_dirs[0])
        return err_set(e, ERR_INVALID, "catalog-dir", "at least one is required");
    return 0;
}

int supervisor_options_parse(int argc, char **argv, bool is_root,
                             struct supervisor_options *ret_options, struct err *e)
{
    struct supervisor_options o = {
        .cgroup_name = "heapmark",
        .log_level = LOG_LEVEL_INFO,
        .log_format = LOG_FORMAT_TEXT,
    };
    if (is_root) {
        o.uid_first = SUPERVISOR_UID_FIRST;
        o.uids_count = SUPERVISOR_UID_LAST - SUPERVISOR_UID_FIRST + 1;
    }
    optind = 0; /* glibc: start afresh, tests parse many command lines in one process */
    opterr = 0;
    int id;
    while ((id = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
        int r = option_apply(id, optarg, is_root, &o, e);
        if (r < 0)
            return r;
    }
    if (optind < argc)
        return err_set(e, ERR_INVALID, NULL, "unexpected argument \"%s\"", argv[optind]);
    int r = o.show_version ? 0 : options_check(&o, e);
    if (r == 0)
        *ret_options = o;
    return r;
}
