/* From a runner's page (claims of an untrusted process) to checked results. */
#ifndef HEAPMARK_DAEMON_NODE_COLLECT_H
#define HEAPMARK_DAEMON_NODE_COLLECT_H

#include "daemon/executor/executor.h"

/* A private copy of a page whose writer is gone, with counts cut to their bounds. */
struct collected {
    struct ring_page *page; /* owned; rotations slices behind it */
    uint32_t slices_count;
};

/* Copy the page behind fd. -EPROTO if it is not one. */
int collect_copy(int fd, uint32_t rotations, struct collected *ret);

/* Each claimed slice must lie within [started_ns, finished_ns] and not overlap the slice of the
 * turn before or after it. Who breaks that most is not believed: returns a mask of runners. A page
 * may be NULL (none came). Pure. */
unsigned collect_forgers(const struct ring_turn *turns, uint32_t turns_count,
                         const struct collected *runners, uint32_t runners_count,
                         uint64_t started_ns, uint64_t finished_ns);

/* Fill one runner's result from its page and the supervisor's word; takes the slices. Of metrics
 * and reasons only those count that the request's workload lists and that are not derived here
 * (collect_derive). `forged` voids all figures (OUTCOME_PROTOCOL). */
void collect_result(const struct exec_request *request, const struct collected *from,
                    const struct wire_runner_done *done, uint32_t turns_total, uint32_t isolation,
                    bool forged, struct exec_runner_result *ret);

/* Add the headline derived from slices, the ring ratio against runner 0 and the supervisor's
 * figures (peak, CPU time, faults) to every result. */
void collect_derive(const struct exec_request *request, struct exec_result *result,
                    const struct wire_done *done);

/* Copy untrusted text as one printable line: control characters become \xNN, invalid UTF-8 too. */
void collect_text(const char *from, size_t from_size, char *to, size_t to_size);

#endif
