/* The daemon's configuration: INI sections and keys, as systemd writes them, read through inih.
 *
 * config_settings[] is the one place where a key's name, type, default, bounds and help stand:
 * the parser, --print-config, docs/configuration.md and heapmark.conf(5) read it there. Unknown
 * sections and keys, repeated keys, continuation lines and values out of bounds are errors that
 * name FILE:LINE. Called by heapmarkd's main and by the documentation generator; single thread;
 * knows nothing of what the values are used for.
 *
 * Order of use: config_init, config_load (optional), config_set (any number), config_resolve. */
#ifndef HEAPMARK_DAEMON_CONFIG_CONFIG_H
#define HEAPMARK_DAEMON_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/base/err.h"

#define CONFIG_TEXT_SIZE    256 /* one path, name or list item, NUL included */
#define CONFIG_LIST_MAX     16
#define CONFIG_SETTINGS_MAX 48
#define CONFIG_LINE_MAX     190 /* bytes of one line of the file: inih's buffer has 200 */
#define CONFIG_LINES_MAX    10000

struct config_list {
    uint32_t count;
    char items[CONFIG_LIST_MAX][CONFIG_TEXT_SIZE];
};

struct config {
    /* [server] */
    struct config_list listen; /* "ADDR:PORT", "[ADDR6]:PORT" or "unix:/PATH"; checked */
    char user[CONFIG_TEXT_SIZE];
    struct config_list allowed_hosts; /* beside the listening addresses themselves */
    bool public_read;
    uint64_t connections_max, connections_per_address_max, event_streams_max;
    uint64_t idle_s, request_s;
    uint64_t body_bytes_max;
    /* [store] */
    char directory[CONFIG_TEXT_SIZE];
    uint64_t low_water_bytes;
    /* [supervisor] */
    char supervisor_path[CONFIG_TEXT_SIZE]; /* "" only before config_resolve */
    char runner_path[CONFIG_TEXT_SIZE];
    char supervisor_directory[CONFIG_TEXT_SIZE];
    struct config_list catalog_dirs, library_dirs;
    char uids[CONFIG_TEXT_SIZE]; /* "FIRST-LAST", "none" or "" (the supervisor's default) */
    char cgroup_name[CONFIG_TEXT_SIZE];
    bool allow_thp, allow_hugetlb;
    /* [scheduler] */
    uint64_t attempts_max, jobs_queued_max;
    double steal_ratio_max;
    /* [executor] */
    uint64_t executor_kind; /* enum config_executor */
    /* [log] */
    uint64_t log_level;  /* enum log_level */
    uint64_t log_format; /* enum log_format */

    /* Where each setting's value came from, by its index in config_settings: 0 the default,
     * CONFIG_FROM_COMMAND the command line, else the line of `file`. */
    uint32_t origin[CONFIG_SETTINGS_MAX];
    char file[CONFIG_TEXT_SIZE];
};

#define CONFIG_FROM_COMMAND UINT32_MAX

enum config_executor { CONFIG_EXECUTOR_LOCAL };

enum config_type {
    CONFIG_BOOL,  /* yes or no (also true, false, on, off, 1, 0) */
    CONFIG_COUNT, /* whole number */
    CONFIG_SIZE,  /* bytes, also as 64KiB, 1GiB */
    CONFIG_RATIO, /* real number */
    CONFIG_TEXT,
    CONFIG_ENUM, /* one of choices; stored as its index */
    CONFIG_LIST, /* items apart by commas or spaces */
    CONFIG_TYPE_COUNT_
};

struct config_setting {
    const char *section, *key;
    enum config_type type;
    size_t offset;                            /* into struct config */
    const char *def;                          /* as written in a file */
    double min, max;                          /* inclusive; COUNT, SIZE and RATIO */
    const char *const *choices;               /* ENUM: NULL-terminated */
    const char *(*reject)(const char *value); /* of a TEXT or one LIST item: why not, or NULL */
    const char *help;                         /* whole sentences, for the manual */
};

extern const struct config_setting config_settings[]; /* in file order, ended by section NULL */

const char *config_type_name(enum config_type type);

/* Every default. */
void config_init(struct config *c);

/* Read a file over *c. ERR_IO when it cannot be read, else ERR_INVALID, ERR_OUT_OF_RANGE,
 * ERR_UNKNOWN_NAME or ERR_TOO_LARGE; e->field is "section.key", the message starts "FILE:LINE: ".
 * After a failure *c is unchanged. */
int config_load(struct config *c, const char *path, struct err *e);

/* "section.key=value" from the command line. */
int config_set(struct config *c, const char *assignment, struct err *e);

/* Fill in the paths left empty, from where the running program stands (a build tree or an
 * installation under any prefix), and check what needs more than one setting. Call last. */
int config_resolve(struct config *c, struct err *e);

/* The effective configuration as a file that config_load reads back to the same values, each key
 * with its help, bounds and origin as comments. */
void config_print(const struct config *c, FILE *out);

#endif
