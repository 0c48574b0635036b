/* The shared memory of one launch (workloads/ring/ring.h): made, pre-faulted and sealed here, in
 * the supervisor's own cgroup, so that nothing of it is charged to a trial.
 *
 * What a runner gets: plan, gate and the others' pages through descriptors opened read-only, its
 * own page read-write. The plan is sealed against any write, the gate against new writable maps
 * from the start, a page from when its runner has mapped it. All are mode 0: with a user id of its
 * own a runner cannot open them again for writing through /proc. (Runners that share our user id
 * could, until the seal is there: less isolation, as their result says.)
 * Caller: worker. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_RINGMEM_H
#define HEAPMARK_DAEMON_SUPERVISOR_RINGMEM_H

#include <stdint.h>

#include "daemon/base/err.h"
#include "workloads/ring/ring.h"

struct ringmem {
    int plan_fd, gate_fd; /* read-only */
    int page_fds[RING_RUNNERS_MAX], page_read_fds[RING_RUNNERS_MAX];
    struct ring_gate *gate;
    struct ring_page *pages[RING_RUNNERS_MAX];
    uint64_t page_bytes;
    unsigned runners_count;
};

/* `plan` of ring_plan_size(plan->turns_count) bytes is copied. 0, or why in *e. */
int ringmem_make(const struct ring_plan *plan, struct ringmem *ret, struct err *e);
void ringmem_done(struct ringmem *ring); /* also of a zeroed-by-ringmem_init one */
void ringmem_init(struct ringmem *ring);

/* Nobody can map the page writable from now on. 0 or -errno. */
int ringmem_seal_page(struct ringmem *ring, unsigned runner);

/* Store the gate word (1 go, 2 leave) and wake everyone at the gate. */
void ringmem_open_gate(struct ringmem *ring, uint32_t value);

/* After its runner is dead: store RING_DROPPED as its done word and wake who waits for it. */
void ringmem_drop(struct ringmem *ring, unsigned runner);

/* A tape from the node: a memfd of exactly `bytes`, sealed against writing and resizing. Returns
 * a read-only descriptor of the same memory in *ret_fd. ERR_INVALID otherwise. */
int ringmem_tape_open(int fd, uint64_t bytes, int *ret_fd, struct err *e);

#endif
