/* Host settings a launch may change: the transparent huge page mode and the huge page pools.
 * What to give back is in the state file "knobs", synced BEFORE the change, and removed after the
 * host has its own again: at the end of the launch, when a worker dies, at the next start. A
 * reboot voids it (the file names the boot it belongs to).
 *
 * Restoring never overwrites what somebody else set meanwhile: a THP mode that is not ours any
 * more is left alone, and pools shrink by what we added.
 *
 * Callers: worker, guardian. One thread. hugepages.c holds the pools. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_KNOBS_H
#define HEAPMARK_DAEMON_SUPERVISOR_KNOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/err.h"
#include "daemon/supervisor/state.h"
#include "schema/wire.h"

#define KNOBS_POOLS_MAX (2 * WIRE_MEMS_MAX)

enum hugepage_size { HUGEPAGE_2M, HUGEPAGE_1G, HUGEPAGE_SIZE_COUNT_ };

struct knob_pool {
    enum hugepage_size size;
    int node;        /* -1: the host's pool, the kernel spreads it */
    uint64_t before; /* pages in the pool before */
    uint64_t added;  /* pages asked for on top */
    bool done;       /* the change was made; false: it may have been */
};

struct knobs {
    const struct state *state;
    int sys_fd;      /* /sys, or a test's copy */
    int thp_lock_fd; /* flock on the knob: one supervisor on a host changes it at a time */
    enum wire_thp thp_original, thp_ours; /* both WIRE_THP_LEAVE: not changed */
    struct knob_pool pools[KNOBS_POOLS_MAX];
    unsigned pools_count;
};

/* `sys_fd` stays the caller's. */
void knobs_init(struct knobs *knobs, const struct state *state, int sys_fd);

/* Give the host back what the state file says, whoever changed it. Idempotent. Returns the number
 * of settings restored or -errno (logged; the file stays for the next try). */
int knobs_restore(struct knobs *knobs);

bool knobs_can_set_thp(const struct knobs *knobs);
bool knobs_can_reserve(const struct knobs *knobs);

/* ERR_UNAVAILABLE, ERR_CONFLICT (another supervisor holds the knob). LEAVE does nothing. */
int knobs_set_thp(struct knobs *knobs, enum wire_thp mode, struct err *e);

/* Make `pages` pages of the size available, on the nodes of the mask (0: anywhere), counting what
 * is free already. ERR_UNAVAILABLE, with what to do, when the kernel gave less. */
int knobs_reserve(struct knobs *knobs, enum hugepage_size size, uint64_t pages, uint64_t mems_mask,
                  struct err *e);

/* "always", "madvise", "never"; WIRE_THP_LEAVE for a text that names none. */
enum wire_thp knobs_thp_parse(const char *text);

/* Shared by knobs.c and hugepages.c. */
int knobs_save(const struct knobs *knobs);
int knobs_pool_read(int sys_fd, enum hugepage_size size, int node, const char *file,
                    uint64_t *ret_value);
int knobs_pool_restore(int sys_fd, const struct knob_pool *pool); /* 1 changed, 0, -errno */

#endif
