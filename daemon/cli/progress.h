/* Progress of one job on standard error: one line redrawn on a terminal, else a line now and
 * then. */
#ifndef HEAPMARK_DAEMON_CLI_PROGRESS_H
#define HEAPMARK_DAEMON_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool quiet, is_terminal;
    bool drawn; /* the terminal's line holds our text */
    double steps_done, steps_total, steps_failed, steps_discarded, steps_given_up;
    double seconds_left; /* NaN: unknown */
    uint64_t told_ns;    /* when seconds_left was true */
    uint64_t line_ns;    /* when a plain line was last written */
    double line_done;    /* and what it said */
    char state[16], what[96];
};

void progress_init(struct progress *p, bool quiet);
/* After the members changed. */
void progress_show(struct progress *p);
/* Before anything else is written, and at the end. */
void progress_clear(struct progress *p);

#endif
