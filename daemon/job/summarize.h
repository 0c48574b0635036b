/* From stored values of a job to its summaries: estimate and interval of every cell and metric,
 * paired ratio to the control, noise from the A/A pairs, share of the harness. Reads only what is
 * stored, so a job continued after a crash comes out the same. */
#ifndef HEAPMARK_DAEMON_JOB_SUMMARIZE_H
#define HEAPMARK_DAEMON_JOB_SUMMARIZE_H

#include "daemon/job/job.h"

struct store;

#define SUMMARY_CONFIDENCE 0.95
#define HARNESS_BOUND      0.5 /* above this share of the harness a value is marked */

int summarize_job(struct store *store, int64_t job_id, const char *host_key,
                  const struct job_spec *spec, const struct job_plan *plan, struct err *e);

/* What may be compared: harness, workload, parameters, ring composition, reference. Hex of 32. */
void summarize_protocol_key(const struct job_spec *spec, const struct job_group *group,
                            const char *reference_sha256, char ret_key[65]);

#endif
