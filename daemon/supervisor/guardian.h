/* The process heapmarkd executed: forks the worker, and when that dies kills what it left, gives
 * the host its settings back and forks another, later each time up to a bound. Does nothing else,
 * so that there is little to go wrong in it. Should it be killed itself, the worker hears of it
 * (PR_SET_PDEATHSIG) and winds up alone. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_GUARDIAN_H
#define HEAPMARK_DAEMON_SUPERVISOR_GUARDIAN_H

#include "daemon/supervisor/worker.h"

#define GUARDIAN_BACKOFF_MS_MIN 100
#define GUARDIAN_BACKOFF_MS_MAX 10000
#define GUARDIAN_HEALTHY_MS     60000 /* a worker that lived this long resets the back-off */
#define GUARDIAN_STOP_MS_MAX    15000 /* the worker's time to wind up when asked to */

/* Returns 0 when asked to stop, -errno when it cannot work at all. */
int guardian_run(struct supervisor *s);

#endif
