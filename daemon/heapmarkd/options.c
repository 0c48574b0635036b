#include "daemon/heapmarkd/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workloads/ring/ring.h"

#define CONFIG_DEFAULT "/etc/heapmark/heapmark.conf"

static const char usage[] =
    "usage: heapmarkd [options]\n"
    "\n"
    "The heapmark daemon: takes benchmark jobs over HTTP, runs them, keeps the results.\n"
    "\n"
    "  -c, --config FILE     configuration (default " CONFIG_DEFAULT " if it is there)\n"
    "  -s, --set KEY=VALUE   one setting, as section.key=value; may be repeated\n"
    "      --check-config    check the configuration and leave\n"
    "      --print-config    print the effective configuration and leave\n"
    "      --port-file FILE  write the port listened on to FILE once requests are answered\n"
    "      --version         print version and build id and leave\n"
    "  -h, --help            print this and leave\n"
    "\n"
    "TERM and INT let the running ring end and stop; a second one stops at once.\n"
    "Exit status: 0 stopped, 1 could not start, 2 usage, 3 configuration, 4 supervisor lost.\n";

enum { OPT_CHECK = 256, OPT_PRINT, OPT_PORT_FILE, OPT_VERSION };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, 's'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int done(struct heapmarkd_options *o, int status)
{
    o->action = ACTION_DONE;
    return status;
}

static int config_failed(struct heapmarkd_options *o, const struct err *e)
{
    fprintf(stderr, "heapmarkd: %s%s%s\n", e->field, e->field[0] ? ": " : "", e->message);
    return done(o, HEAPMARKD_EXIT_CONFIG);
}

/* The file first, then --set in the order given, whatever their order on the line. */
static int config_read(struct heapmarkd_options *o, const char *path, int argc, char **argv)
{
    struct err e = {0};
    config_init(&o->config);
    if (!path && access(CONFIG_DEFAULT, F_OK) == 0)
        path = CONFIG_DEFAULT;
    if (path && config_load(&o->config, path, &e) < 0)
        return config_failed(o, &e);
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1;)
        if (c == 's' && config_set(&o->config, optarg, &e) < 0)
            return config_failed(o, &e);
    return config_resolve(&o->config, &e) < 0 ? config_failed(o, &e) : 0;
}

int heapmarkd_options_parse(int argc, char **argv, struct heapmarkd_options *o)
{
    const char *path = NULL;
    memset(o, 0, sizeof *o);
    for (int c; (c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 's':
            break;
        case OPT_CHECK:
            o->action = ACTION_CHECK_CONFIG;
            break;
        case OPT_PRINT:
            o->action = ACTION_PRINT_CONFIG;
            break;
        case OPT_PORT_FILE:
            o->port_file = optarg;
            break;
        case OPT_VERSION:
            printf("heapmarkd %s\n", ring_build_id());
            return done(o, HEAPMARKD_EXIT_OK);
        case 'h':
            fputs(usage, stdout);
            return done(o, HEAPMARKD_EXIT_OK);
        default:
            fputs(usage, stderr);
            return done(o, HEAPMARKD_EXIT_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "heapmarkd: unexpected \"%s\"\n%s", argv[optind], usage);
        return done(o, HEAPMARKD_EXIT_USAGE);
    }
    return config_read(o, path, argc, argv);
}
