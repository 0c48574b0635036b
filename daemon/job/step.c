#include "daemon/job/step.h"

#include <stdio.h>

#include "daemon/store/store.h"

void step_cells(const struct job_spec *spec, const struct job_plan *plan,
                struct store_ring_new *ring)
{
    const struct job_group *group = &plan->groups[ring->group_idx];
    uint32_t control = group->cells_first;
    uint32_t rings = job_group_rings(spec, group), position = ring->position - rings;
    if (ring->position < rings) {
        ring->cells[0] = ring->cells[1] = control;
        ring->roles[0] = ROLE_REFERENCE;
        ring->roles[1] = ROLE_CONTROL;
        ring->cells[2] = control + 1 + ring->position;
        ring->roles[2] = ROLE_SUBJECT;
        ring->cells_count = group->cells_count > 1 ? 3 : 2;
        return;
    }
    ring->cells_count = 1;
    ring->oneshot = true;
    ring->cells[0] = position == group->cells_count ? control : control + position;
    ring->roles[0] = position == group->cells_count ? ROLE_CONTROL
                     : position == 0                ? ROLE_REFERENCE
                                                    : ROLE_SUBJECT;
}

void step_failure_text(const struct exec_runner_result *r, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%s", wire_outcome_name(r->outcome));
    if (r->signal)
        n += snprintf(buf + n, size - (size_t)n, ": signal %d", r->signal);
    snprintf(buf + n, size - (size_t)n, " after %u of %u turns%s%s", r->turns_done, r->turns_total,
             r->message[0] ? ": " : "", r->message);
}
