/* Expansion of a job to groups and cells, and what it will cost. Pure. */
#include "daemon/job/job.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "workloads/tape/tape.h"

/* Rough prices for the estimate: process start and load, first touch of a byte, one operation of
 * a middling allocator, measured on a small virtual machine. The progress bar corrects itself. */
#define ESTIMATE_SPAWN_S 0.04
#define ESTIMATE_TOUCH_S 0.8e-9
#define ESTIMATE_OP_S    60e-9
#define ESTIMATE_LOAD_S  200e-9
/* A ring's heaps may take this much of the host's memory, allocator overhead included. */
#define MEMORY_SHARE  0.75
#define HEAP_OVERHEAD 1.25

static uint32_t entry_values(const struct job_entry *entry, unsigned row)
{
    return entry->values_count[row] ? entry->values_count[row] : 1;
}

static bool entry_takes(const struct job_entry *entry, const struct job_spec *spec, uint32_t s)
{
    /* One shared block for every call is no heap: such a subject only makes sense for tapes. */
    return entry->workload->tape != TAPE_NONE ||
           !(spec->subjects[s].flags & (RING_SUBJECT_NULL | RING_SUBJECT_NO_FREE));
}

static uint32_t entry_subjects(const struct job_entry *entry, const struct job_spec *spec)
{
    uint32_t count = 0;
    for (uint32_t s = 0; s < spec->subjects_count; s++)
        count += entry_takes(entry, spec, s);
    return count;
}

static bool entry_has_4k(const struct job_entry *entry)
{
    for (uint32_t i = 0; i < entry->pages_count; i++)
        if (entry->pages[i] == PAGES_4K)
            return true;
    return false;
}

/* Groups of an entry and cells of one of them, saturating far above the limit. */
static uint64_t entry_groups(const struct job_entry *entry)
{
    uint64_t n = entry->threads_count;
    for (unsigned i = 0; i < entry->workload->params_count && n < UINT32_MAX; i++)
        n *= entry_values(entry, i);
    return entry->workload->axis == AXIS_PAGES ? n : n * entry->pages_count;
}

static uint32_t entry_cells(const struct job_entry *entry, const struct job_spec *spec)
{
    if (entry->workload->axis == AXIS_PAGES)
        return entry->pages_count + !entry_has_4k(entry);
    return entry_subjects(entry, spec);
}

static int plan_count(const struct job_spec *spec, struct job_plan *plan, struct err *e)
{
    uint64_t groups = 0, cells = 0;
    for (uint32_t i = 0; i < spec->entries_count; i++) {
        uint64_t n = entry_groups(&spec->entries[i]);
        groups += n;
        cells += n * entry_cells(&spec->entries[i], spec);
    }
    if (cells > JOB_CELLS_MAX)
        return err_set(e, ERR_TOO_LARGE, "/workloads",
                       "the matrix has %llu cells, at most %d are allowed: shorten the lists or "
                       "split the job",
                       (unsigned long long)cells, JOB_CELLS_MAX);
    assert(groups > 0 && cells > 0); /* job_parse wants entries, none of their lists is empty */
    plan->groups = calloc(groups, sizeof *plan->groups);
    plan->cells = calloc(cells, sizeof *plan->cells);
    if (!plan->groups || !plan->cells)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    return 0;
}

static void group_cell_add(struct job_plan *plan, uint32_t subject, uint32_t pages)
{
    struct job_group *group = &plan->groups[plan->groups_count];
    struct job_cell *cell = &plan->cells[plan->cells_count++];
    *cell =
        (struct job_cell){.group = plan->groups_count, .subject = subject, .point = group->point};
    cell->point.pages = pages;
    group->cells_count++;
}

static void group_cells_add(struct job_plan *plan, const struct job_spec *spec)
{
    struct job_group *group = &plan->groups[plan->groups_count];
    const struct job_entry *entry = group->entry;
    group->cells_first = plan->cells_count;
    if (entry->workload->axis == AXIS_PAGES) {
        group_cell_add(plan, spec->reference, PAGES_4K);
        for (uint32_t i = 0; i < entry->pages_count; i++)
            if (entry->pages[i] != PAGES_4K)
                group_cell_add(plan, spec->reference, entry->pages[i]);
        return;
    }
    group_cell_add(plan, spec->reference, group->point.pages);
    for (uint32_t s = 0; s < spec->subjects_count; s++)
        if (s != spec->reference && entry_takes(entry, spec, s))
            group_cell_add(plan, s, group->point.pages);
}

static int group_check(const struct job_spec *spec, const struct job_limits *limits,
                       struct job_group *group, struct job_plan *plan, struct err *e)
{
    const struct workload *w = group->entry->workload;
    struct tape_spec tape;
    struct err why = {0};
    if (w->tape != TAPE_NONE && tape_spec_for(w, &group->point, 0, &tape, &why) < 0)
        return err_set(e, why.code, "/workloads", "%s: %s", w->name, why.message);
    uint64_t heap = w->heap_bytes ? w->heap_bytes(&group->point) : 0;
    char need[24], have[24];
    if (spec->memory_limit_bytes && heap > spec->memory_limit_bytes) {
        text_format_size(heap, need);
        text_format_size(spec->memory_limit_bytes, have);
        return err_set(e, ERR_OUT_OF_RANGE, "/limits/memory_bytes",
                       "memory_bytes: %s is below what %s needs here: %s of live blocks", have,
                       w->name, need);
    }
    uint64_t runners = job_group_in_rings(spec, group) ? (group->cells_count > 1 ? 3 : 2) : 1;
    uint64_t total = (uint64_t)((double)heap * (double)runners * HEAP_OVERHEAD);
    if ((double)total > (double)limits->memory_bytes * MEMORY_SHARE) {
        text_format_size(total, need);
        text_format_size(limits->memory_bytes, have);
        return err_set(e, ERR_OUT_OF_RANGE, "/workloads",
                       "%s (%s, %u threads): a ring holds %llu heaps of together about %s; this "
                       "host has %s. Fewer threads or live blocks, or \"mode\": \"solo\"",
                       w->name, group->params_key[0] ? group->params_key : "defaults",
                       group->point.threads, (unsigned long long)runners, need, have);
    }
    group->step_bytes = total;
    if (total > plan->memory_bytes_estimate)
        plan->memory_bytes_estimate = total;
    return 0;
}

static double group_step_seconds(const struct job_spec *spec, const struct job_group *group)
{
    const struct workload *w = group->entry->workload;
    double heap = w->heap_bytes ? (double)w->heap_bytes(&group->point) : 0;
    double spawn = ESTIMATE_SPAWN_S + heap * ESTIMATE_TOUCH_S;
    double rotations = job_group_rotations(spec, group);
    double runners = job_group_in_rings(spec, group) ? (group->cells_count > 1 ? 3 : 2) : 1;
    uint64_t slice = job_group_slice_ops(spec, group);
    double ops = rotations * (double)(slice + job_replay_ops(w, &group->point, slice)) +
                 (double)job_group_warm_ops(spec, group);
    double price = w->axis == AXIS_PAGES ? ESTIMATE_LOAD_S : ESTIMATE_OP_S;
    return runners * (spawn + ops * price) + (rotations > 0 ? 0 : heap * ESTIMATE_TOUCH_S);
}

/* Mixed-radix counter over threads, pages (allocator axis) and every parameter. */
static int entry_expand(const struct job_spec *spec, const struct job_entry *entry,
                        const struct job_limits *limits, struct job_plan *plan, struct err *e)
{
    const struct workload *w = entry->workload;
    uint64_t count = entry_groups(entry);
    for (uint64_t n = 0; n < count; n++) {
        struct job_group *group = &plan->groups[plan->groups_count];
        uint64_t rest = n;
        group->entry = entry;
        workload_defaults(w, &group->point);
        group->point.threads = entry->threads[rest % entry->threads_count];
        rest /= entry->threads_count;
        if (w->axis == AXIS_ALLOCATOR) {
            group->point.pages = entry->pages[rest % entry->pages_count];
            rest /= entry->pages_count;
        }
        for (unsigned i = 0; i < w->params_count; i++) {
            if (entry->values_count[i])
                group->point.params[i] = entry->values[i][rest % entry_values(entry, i)];
            rest /= entry_values(entry, i);
        }
        if (param_key(w->params, w->params_count, group->point.params, group->params_key,
                      sizeof group->params_key) < 0)
            return err_set(e, ERR_INTERNAL, "/workloads", "parameter key of %s too long", w->name);
        group_cells_add(plan, spec);
        int r = group_check(spec, limits, group, plan, e);
        if (r < 0)
            return r;
        uint32_t steps = job_group_steps(spec, group) * job_group_repeats(spec, group);
        group->step_seconds = group_step_seconds(spec, group);
        plan->steps += steps;
        plan->seconds_estimate += steps * group->step_seconds;
        plan->groups_count++;
    }
    return 0;
}

int job_expand(const struct job_spec *spec, const struct job_limits *limits,
               struct job_plan **ret_plan, struct err *e)
{
    cleanup_(job_plan_free_p) struct job_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    int r = plan_count(spec, plan, e);
    for (uint32_t i = 0; r == 0 && i < spec->entries_count; i++)
        r = entry_expand(spec, &spec->entries[i], limits, plan, e);
    if (r < 0)
        return r;
    *ret_plan = take_ptr(plan);
    return 0;
}
