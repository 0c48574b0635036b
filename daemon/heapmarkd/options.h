/* The command line of heapmarkd. */
#ifndef HEAPMARK_DAEMON_HEAPMARKD_OPTIONS_H
#define HEAPMARK_DAEMON_HEAPMARKD_OPTIONS_H

#include "daemon/base/err.h"
#include "daemon/config/config.h"

enum heapmarkd_exit {
    HEAPMARKD_EXIT_OK = 0,
    HEAPMARKD_EXIT_FAILED = 1, /* could not start; why is on stderr */
    HEAPMARKD_EXIT_USAGE = 2,
    HEAPMARKD_EXIT_CONFIG = 3,
    HEAPMARKD_EXIT_SUPERVISOR = 4, /* the supervisor ended and cannot be started again: restart */
};

enum heapmarkd_action { ACTION_RUN, ACTION_CHECK_CONFIG, ACTION_PRINT_CONFIG, ACTION_DONE };

struct heapmarkd_options {
    struct config config;
    const char *port_file; /* gets the port of the first internet listener, for scripts */
    enum heapmarkd_action action;
};

/* Returns an exit status with action DONE when there is nothing (more) to do. */
int heapmarkd_options_parse(int argc, char **argv, struct heapmarkd_options *ret);

#endif
