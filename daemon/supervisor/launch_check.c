/* Pure parts of a launch: bounds of the request, the plan made from it (launch.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/supervisor/launch.h"

static int check_number(uint64_t value, uint64_t min, uint64_t max, const char *field,
                        struct err *e)
{
    if (value >= min && value <= max)
        return 0;
    return err_set(e, ERR_OUT_OF_RANGE, field, "%llu is not between %llu and %llu",
                   (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

static int check_cpus(const struct wire_launch *q, struct err *e)
{
    bool seen[LAUNCH_CPUS_MAX] = {false};
    for (uint32_t i = 0; i < q->cpus_count; i++) {
        if (q->cpus[i] >= LAUNCH_CPUS_MAX)
            return err_set(e, ERR_OUT_OF_RANGE, "/cpus", "CPU %u, numbers below %u allowed",
                           q->cpus[i], LAUNCH_CPUS_MAX);
        if (seen[q->cpus[i]])
            return err_set(e, ERR_INVALID, "/cpus", "CPU %u twice", q->cpus[i]);
        seen[q->cpus[i]] = true;
    }
    if (q->own_cpu > LAUNCH_CPUS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "/own_cpu", "CPU %u, numbers below %u allowed",
                       q->own_cpu - 1, LAUNCH_CPUS_MAX);
    return 0;
}

/* A steady workload has parts to build and warm and slices to measure; a one-shot one has none. */
static int check_shape(const struct wire_launch *q, struct err *e)
{
    bool is_steady = workloads[q->workload]->kind == WORKLOAD_STEADY;
    if (is_steady != (q->rotations > 0))
        return err_set(e, ERR_INVALID, "/rotations", "%u rotations for a %s workload", q->rotations,
                       is_steady ? "steady" : "one-shot");
    if (is_steady && (q->build_parts < 1 || q->slice_ops < 1))
        return err_set(e, ERR_OUT_OF_RANGE, "/slice_ops", "%u build parts, %llu operations a slice",
                       q->build_parts, (unsigned long long)q->slice_ops);
    return 0;
}

int launch_check(const struct wire_launch *q, bool has_tape, struct err *e)
{
    int r = wire_launch_check(q, e);
    if (r == 0)
        r = check_shape(q, e);
    if (r == 0)
        r = check_cpus(q, e);
    if (r == 0)
        r = check_number(q->turn_ms_max, 1, LAUNCH_TURN_MS_MAX, "/turn_ms_max", e);
    if (r == 0)
        r = check_number(q->wall_ms_max, 1, LAUNCH_WALL_MS_MAX, "/wall_ms_max", e);
    if (r == 0)
        r = check_number(q->pids_max, 1, LAUNCH_PIDS_MAX, "/pids_max", e);
    if (r == 0)
        r = check_number(q->log_bytes_max, 1, LAUNCH_LOG_MAX, "/log_bytes_max", e);
    if (r == 0 && q->memory_limit_bytes > 0)
        r = check_number(q->memory_limit_bytes, LAUNCH_MEMORY_MIN, INT64_MAX, "/memory_limit", e);
    if (r == 0)
        r = check_number(q->hugetlb_2m_pages, 0, UINT64_C(1) << 32, "/hugetlb_2m_pages", e);
    if (r == 0)
        r = check_number(q->hugetlb_1g_pages, 0, UINT64_C(1) << 23, "/hugetlb_1g_pages", e);
    if (r == 0)
        r = check_number(q->prefault_bytes, 0, INT64_MAX, "/prefault_bytes", e);
    if (r == 0)
        r = check_number(q->tape_bytes, 0, INT64_MAX, "/tape_bytes", e);
    if (r == 0 && has_tape != (q->tape_bytes > 0))
        return err_set(e, ERR_INVALID, "/tape_bytes", "%llu bytes of tape announced, %s came",
                       (unsigned long long)q->tape_bytes, has_tape ? "one" : "none");
    return r;
}

static void plan_subject(const struct launch *l, unsigned i, struct ring_subject *ret)
{
    const struct launch_runner *r = &l->runners[i];
    *ret = (struct ring_subject){
        .device = r->identity.device,
        .inode = r->identity.inode,
        .library_fd = r->library_fd < 0 ? -1 : RING_FD_LIBRARY,
        .flags = r->entry->flags,
        .symbols = r->entry->symbols,
        .point = l->q.subjects[i].point,
    };
    (void)text_copy(ret->allocator, sizeof ret->allocator, r->entry->name);
    memcpy(ret->sha256, r->identity.sha256, sizeof ret->sha256);
}

int launch_plan(const struct launch *l, struct ring_plan **ret_plan, struct err *e)
{
    const struct wire_launch *q = &l->q;
    struct ring_plan *plan = calloc(1, ring_plan_size(RING_TURNS_MAX));
    if (!plan)
        return err_set_errno(e, ERR_IO, ENOMEM, "cannot make the plan");
    int turns = ring_schedule(q->runners_count, q->rotations, q->build_parts, q->warm_parts,
                              q->seed, plan->turns, RING_TURNS_MAX);
    if (turns < 1) {
        free(plan);
        return err_set(e, ERR_TOO_LARGE, "/rotations", "the ring has more than %d turns",
                       RING_TURNS_MAX);
    }
    plan->magic = RING_MAGIC;
    (void)text_copy(plan->build_id, sizeof plan->build_id, ring_build_id());
    plan->workload = q->workload;
    plan->runners_count = q->runners_count;
    plan->turns_count = (uint32_t)turns;
    plan->rotations = q->rotations;
    plan->slice_ops = q->slice_ops;
    plan->replay_ops = q->replay_ops;
    plan->warm_ops = q->warm_ops;
    plan->seed = q->seed;
    plan->tape_bytes = q->tape_bytes;
    plan->sched_batch = q->sched_batch;
    plan->log_bytes_max = q->log_bytes_max;
    memcpy(plan->cpus, q->cpus, sizeof plan->cpus);
    for (unsigned i = 0; i < q->runners_count; i++)
        plan_subject(l, i, &plan->subjects[i]);
    *ret_plan = plan;
    return 0;
}
