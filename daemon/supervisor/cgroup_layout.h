/* Which cgroup hierarchy serves which controller on this host: decided per controller from the
 * texts of /proc/self/mountinfo and /proc/self/cgroup, never by a global v1/v2 switch. A host may
 * be v1, v2, mixed (systemd's hybrid, or a v2 mount that offers one controller), or have nothing.
 * Pure: no file is opened here. Callers: cgroup.c and its tests. Formats: proc(5), cgroups(7). */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_CGROUP_LAYOUT_H
#define HEAPMARK_DAEMON_SUPERVISOR_CGROUP_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/wire.h"

#define CGROUP_PATH_MAX        512
#define CGROUP_HIERARCHIES_MAX (CONTROLLER_COUNT_ + 1)
#define CGROUP_REASON_MAX      96

struct cgroup_hierarchy {
    unsigned version;          /* 1 or 2 */
    uint32_t offers;           /* bit per enum wire_controller: v1 by mount; v2 set by choose */
    uint32_t serves;           /* those of them this hierarchy was chosen for */
    char own[CGROUP_PATH_MAX]; /* the directory of the cgroup we are in */
};

struct cgroup_layout {
    struct cgroup_hierarchy hierarchies[CGROUP_HIERARCHIES_MAX];
    unsigned hierarchies_count;
    int where[CONTROLLER_COUNT_]; /* index into hierarchies, or -1 and a reason */
    char reason[CONTROLLER_COUNT_][CGROUP_REASON_MAX];
};

/* Find the mounted hierarchies that hold our own cgroup. Nothing is chosen yet. Lines that make
 * no sense are passed over; a mount that cannot be used leaves its reason. */
void cgroup_layout_parse(const char *mountinfo, const char *self_cgroup,
                         struct cgroup_layout *ret_layout);

/* The v2 hierarchy, or -1. */
int cgroup_layout_v2(const struct cgroup_layout *layout);

/* Forget a hierarchy (what is mounted there is something else). Only before choose. */
void cgroup_layout_remove(struct cgroup_layout *layout, unsigned index, const char *reason);

/* `v2_controllers`: text of cgroup.controllers of our own v2 cgroup, "" without v2.
 * `v2_can_kill`: cgroup.kill or cgroup.freeze works there. v2 wins where both could serve. */
void cgroup_layout_choose(struct cgroup_layout *layout, const char *v2_controllers,
                          bool v2_can_kill);

/* "0-2,5" of a list in any order, into buf. Length or -ENOSPC. */
int cgroup_format_list(const uint16_t *values, unsigned count, char *buf, size_t buf_size);

/* Whether the kernel's list text ("0-3,8") holds exactly these values. */
bool cgroup_list_equal(const char *text, const uint16_t *values, unsigned count);

#endif
