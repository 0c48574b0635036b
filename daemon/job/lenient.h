/* A job was checked when it was submitted. When it runs, the checks are not repeated: a library
 * that has gone since then makes its cells fail with that reason, not the whole job. */
#ifndef HEAPMARK_DAEMON_JOB_LENIENT_H
#define HEAPMARK_DAEMON_JOB_LENIENT_H

#include "daemon/job/job.h"

/* The same limits with checks that let pass what is unavailable. `limits` must outlive them. */
struct job_limits lenient_limits(const struct job_limits *limits);

#endif
