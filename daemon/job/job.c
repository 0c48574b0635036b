#include "daemon/job/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/embed.h"

extern const struct embedded_file preset_files[];

static const struct {
    const char *name;
    bool final;
} states[JOB_STATE_COUNT_] = {
    [JOB_QUEUED] = {"queued", false},   [JOB_CLAIMED] = {"claimed", false},
    [JOB_RUNNING] = {"running", false}, [JOB_SUCCEEDED] = {"succeeded", true},
    [JOB_FAILED] = {"failed", true},    [JOB_CANCELLED] = {"cancelled", true},
    [JOB_LOST] = {"lost", true},
};

const char *job_state_name(enum job_state state)
{
    return (unsigned)state < JOB_STATE_COUNT_ ? states[state].name : "unknown";
}

int job_state_parse(const char *name)
{
    for (int i = 0; i < JOB_STATE_COUNT_; i++)
        if (strcmp(states[i].name, name) == 0)
            return i;
    return -ENOENT;
}

bool job_state_final(enum job_state state)
{
    return (unsigned)state < JOB_STATE_COUNT_ && states[state].final;
}

const struct job_preset *job_preset_at(unsigned index)
{
    static _Thread_local struct job_preset preset;
    static _Thread_local char name[48];
    for (unsigned i = 0; preset_files[i].name; i++) {
        if (i < index)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(preset_files[i].name, "."),
                 preset_files[i].name);
        preset.name = name;
        preset.text = (const char *)preset_files[i].begin;
        return &preset;
    }
    return NULL;
}

void job_spec_free(struct job_spec *spec)
{
    if (!spec)
        return;
    free(spec->entries);
    free(spec);
}

void job_plan_free(struct job_plan *plan)
{
    if (!plan)
        return;
    free(plan->groups);
    free(plan->cells);
    free(plan);
}

void job_options_key(const struct job_subject *subject, char *buf)
{
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < RING_OPTIONS_MAX && subject->options[i][0]; i++)
        used += (size_t)snprintf(buf + used, JOB_OPTIONS_KEY_MAX - used, "%s%s", used ? "," : "",
                                 subject->options[i]);
}

bool job_group_in_rings(const struct job_spec *spec, const struct job_group *group)
{
    return group->entry->workload->kind == WORKLOAD_STEADY && !spec->solo;
}

uint32_t job_group_repeats(const struct job_spec *spec, const struct job_group *group)
{
    if (group->entry->repeats)
        return group->entry->repeats;
    return group->entry->workload->kind == WORKLOAD_STEADY ? spec->rings : spec->blocks;
}

uint32_t job_group_steps(const struct job_spec *spec, const struct job_group *group)
{
    if (!job_group_in_rings(spec, group))
        return group->cells_count + 1;
    return group->cells_count > 1 ? group->cells_count - 1 : 1;
}

uint32_t job_group_rings(const struct job_spec *spec, const struct job_group *group)
{
    return job_group_in_rings(spec, group) ? job_group_steps(spec, group) : 0;
}

uint32_t job_group_rotations(const struct job_spec *spec, const struct job_group *group)
{
    if (group->entry->workload->kind == WORKLOAD_ONESHOT)
        return 0;
    return group->entry->rotations ? group->entry->rotations : spec->rotations;
}

uint64_t job_group_slice_ops(const struct job_spec *spec, const struct job_group *group)
{
    if (group->entry->slice_ops)
        return group->entry->slice_ops;
    if (spec->slice_ops)
        return spec->slice_ops;
    return group->entry->workload->slice_ops;
}

uint64_t job_group_warm_ops(const struct job_spec *spec, const struct job_group *group)
{
    const struct workload *w = group->entry->workload;
    return w->warm_ops ? w->warm_ops(&group->point) * spec->warm_pct / 100 : 0;
}

uint64_t job_replay_ops(const struct workload *w, const struct workload_point *point,
                        uint64_t slice_ops)
{
    uint64_t wanted = w->live_ops ? 4 * w->live_ops(point) : 0;
    if (wanted < slice_ops / 4)
        wanted = slice_ops / 4;
    return wanted > 2 * slice_ops ? 2 * slice_ops : wanted;
}
