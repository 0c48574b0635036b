/* The reference job's first table: one row per allocator, throughput in the three phases at one
 * thread and at the most, what it costs in memory, how it scales. Each phase is shown with one set
 * of parameters; what else was measured is named below the table. */
#include <string.h>

#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

#define THROUGHPUT "pairs_per_s"
#define REMOTE     "remote_pct"

static const struct {
    const char *workload, *name;
} phases[] = {{"table-cold", "cold"}, {"table-churn", "churn"}, {"table-warm", "warm"}};

#define PHASES_COUNT (sizeof phases / sizeof phases[0])
#define CHURN        1

/* The groups of a phase that are shown: fewest and most threads; the same one, or NULL. */
struct phase {
    const json_t *one, *most;
};

struct reference {
    struct show *s;
    struct phase phases[PHASES_COUNT];
    const char *subjects[SHOW_SUBJECTS_MAX];
    unsigned subjects_count;
};

enum part { PART_THROUGHPUT = 1, PART_MEMORY = 2, PART_ALL = 3 };

static double threads_of(const json_t *group)
{
    return group ? member_real(group, "threads") : 0;
}

static double remote_of(const json_t *group)
{
    return member_real(json_object_get(group, "params"), REMOTE);
}

static bool is_phase(const json_t *group, size_t phase)
{
    return strcmp(member_text(group, "workload"), phases[phase].workload) == 0;
}

static bool is_family(const json_t *a, const json_t *b)
{
    return strcmp(member_text(a, "params_key"), member_text(b, "params_key")) == 0 &&
           strcmp(member_text(a, "pages"), member_text(b, "pages")) == 0;
}

/* Which parameters a phase is shown with, the least first: churn with 1% of the frees from other
 * threads (the default), else with the smallest share that has any; then the defaults. */
static double family_rank(const json_t *group)
{
    double remote = remote_of(group), rank = member_text(group, "params_key")[0] ? 0.5 : 0;
    if (!isfinite(remote) || remote == 1)
        return rank;
    return rank + (remote > 0 ? 1 + remote : 1000);
}

static const json_t *family_choose(const struct show *s, size_t phase)
{
    size_t g;
    const json_t *group, *chosen = NULL;
    json_array_foreach(s->groups, g, group)
    {
        if (is_phase(group, phase) && (!chosen || family_rank(group) < family_rank(chosen)))
            chosen = group;
    }
    return chosen;
}

static void phase_gather(const struct show *s, size_t phase, struct phase *ret)
{
    size_t g;
    const json_t *group, *family = family_choose(s, phase);
    ret->one = ret->most = family;
    json_array_foreach(s->groups, g, group)
    {
        if (!is_phase(group, phase) || !is_family(group, family))
            continue;
        if (threads_of(group) < threads_of(ret->one))
            ret->one = group;
        if (threads_of(group) > threads_of(ret->most))
            ret->most = group;
    }
}

/* "churn ρ=1% live=10,000" */
static void family_name(const json_t *group, size_t phase, char *buf, size_t size)
{
    char params[TABLE_CELL_SIZE], share[32] = "";
    double remote = remote_of(group);
    show_params(group, REMOTE, params, sizeof params);
    if (phase == CHURN && isfinite(remote))
        snprintf(share, sizeof share, " \xcf\x81=%.0f%%", remote);
    snprintf(buf, size, "%s%s%s%.60s", phases[phase].name, share, params[0] ? " " : "", params);
}

/* "churn ρ=1% T=2" */
static void group_name(const json_t *group, size_t phase, char buf[TABLE_CELL_SIZE])
{
    char name[TABLE_CELL_SIZE];
    family_name(group, phase, name, sizeof name);
    snprintf(buf, TABLE_CELL_SIZE, "%.80s T=%.0f", name, threads_of(group));
}

/* ---- columns ---- */

/* A column's scale follows its real allocators: the null row would make them all 0.0x. */
static struct format_scale phase_scale(const struct show *s, const json_t *group)
{
    size_t i;
    const json_t *cell;
    double largest = 0;
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        struct summary x = show_summary(cell, THROUGHPUT);
        if (x.there && !show_is_harness(s, cell) && x.value > largest)
            largest = x.value;
    }
    return format_scale_for(largest, "pairs/s");
}

static const char *column_subject(struct reference *r, struct table *table, unsigned i)
{
    const char *subject = r->subjects[i];
    bool harness = show_subject_is_harness(r->s, subject);
    table_row(table);
    table_cell(table, 0, harness ? STYLE_DIM : STYLE_PLAIN, "%s%s", harness ? "harness: " : "",
               subject);
    return subject;
}

static bool scales(const struct phase *phase)
{
    return phase->one != phase->most;
}

static void throughput_columns(struct reference *r, struct table *table)
{
    char head[TABLE_CELL_SIZE];
    for (size_t p = 0; p < PHASES_COUNT; p++) {
        const json_t *shown[2] = {r->phases[p].one, r->phases[p].most};
        for (int k = 0; k < (scales(&r->phases[p]) ? 2 : 1) && shown[k]; k++) {
            group_name(shown[k], p, head);
            table_column(table, head, phase_scale(r->s, shown[k]).unit, true);
        }
    }
}

static unsigned throughput_cells(struct reference *r, struct table *table, unsigned column,
                                 const char *subject, enum format_form form)
{
    for (size_t p = 0; p < PHASES_COUNT; p++) {
        const json_t *shown[2] = {r->phases[p].one, r->phases[p].most};
        for (int k = 0; k < (scales(&r->phases[p]) ? 2 : 1) && shown[k]; k++)
            show_value(r->s, table, column++, shown[k], subject, THROUGHPUT,
                       phase_scale(r->s, shown[k]).divisor, form);
    }
    return column;
}

static void memory_columns(struct reference *r, struct table *table)
{
    char head[TABLE_CELL_SIZE];
    const json_t *churn = r->phases[CHURN].most;
    if (churn) {
        group_name(churn, CHURN, head);
        table_column(table, "fragmentation, %", head, true);
        table_column(table, "peak heap", head, true);
    }
    for (size_t p = 0; p < PHASES_COUNT; p++) {
        if (!scales(&r->phases[p]))
            continue;
        char name[TABLE_CELL_SIZE];
        family_name(r->phases[p].one, p, name, sizeof name);
        snprintf(head, sizeof head, "T=%.0f\xe2\x86\x92%.0f", threads_of(r->phases[p].one),
                 threads_of(r->phases[p].most));
        char first[TABLE_CELL_SIZE];
        snprintf(first, sizeof first, "scaling %.80s", name);
        table_column(table, first, head, true);
    }
}

static void scaling_cell(struct reference *r, struct table *table, unsigned column,
                         const struct phase *phase, const char *subject, enum format_form form)
{
    struct summary one = show_summary(show_cell(phase->one, subject), THROUGHPUT);
    struct summary most = show_summary(show_cell(phase->most, subject), THROUGHPUT);
    struct summary x = {.value = NAN};
    char text[FORMAT_SIZE];
    if (one.there && most.there && one.value > 0) {
        x.value = most.value / one.value;
        x.low = one.high > 0 ? most.low / one.high : NAN;
        x.high = one.low > 0 ? most.high / one.low : NAN;
        x.count = fmin(one.count, most.count);
        x.confidence = fmin(one.confidence, most.confidence);
        r->s->used_scaling = true;
    }
    show_estimate(r->s, &x, 1, form, text);
    table_cell(table, column, STYLE_PLAIN, "%s", text);
}

static void memory_cells(struct reference *r, struct table *table, unsigned column,
                         const char *subject, enum format_form form)
{
    const json_t *churn = r->phases[CHURN].most;
    if (churn) {
        bool harness = show_subject_is_harness(r->s, subject);
        struct summary heap = show_summary(show_cell(churn, subject), "heap_peak_bytes");
        char text[FORMAT_SIZE];
        if (harness) /* it does not manage memory: its numbers would mean nothing */
            table_cell(table, column++, STYLE_PLAIN, "\xe2\x80\x93");
        else
            show_value(r->s, table, column++, churn, subject, "frag_total", 0.01, FORMAT_POINTS);
        format_value(harness ? NAN : heap.value, "bytes", text);
        bool unsteady = !harness && heap.there && heap.unsteady;
        r->s->used_unsteady |= unsteady;
        table_cell(table, column++, STYLE_PLAIN, "%s%s", text, unsteady ? SHOW_UNSTEADY : "");
    }
    for (size_t p = 0; p < PHASES_COUNT; p++)
        if (scales(&r->phases[p]))
            scaling_cell(r, table, column++, &r->phases[p], subject, form);
}

/* ---- the whole ---- */

static struct table *reference_table(struct reference *r, enum part part, enum format_form form)
{
    struct table *table = table_new();
    table_column(table, "allocator", "", false);
    if (part & PART_THROUGHPUT)
        throughput_columns(r, table);
    if (part & PART_MEMORY)
        memory_columns(r, table);
    for (unsigned i = 0; i < r->subjects_count; i++) {
        const char *subject = column_subject(r, table, i);
        unsigned column = 1;
        if (part & PART_THROUGHPUT)
            column = throughput_cells(r, table, column, subject, form);
        if (part & PART_MEMORY)
            memory_cells(r, table, column, subject, form);
    }
    return table;
}

/* Prints the table with whole intervals, or shorter ones where those do not fit; false where it
 * must not be cut and neither fits. */
static bool part_print(struct reference *r, enum part part, bool cut)
{
    unsigned columns = r->s->columns;
    cleanup_(table_free_p) struct table *wide = reference_table(r, part, FORMAT_RANGE);
    cleanup_(table_free_p) struct table *narrow = reference_table(r, part, FORMAT_PERCENT);
    bool fits = columns == 0 || table_width(wide) <= columns;
    if (!fits && !cut)
        return false;
    if (table_columns(wide) > 1)
        table_print(fits ? wide : narrow, stdout, columns);
    return true;
}

/* "; churn ρ=10% T=1,2": the groups of a family that stand in no column. */
static bool others_family(const struct reference *r, size_t phase, const json_t *family, bool begun)
{
    char name[TABLE_CELL_SIZE], clean[TABLE_CELL_SIZE];
    unsigned count = 0;
    size_t g;
    const json_t *group;
    family_name(family, phase, name, sizeof name);
    term_clean(clean, sizeof clean, name);
    json_array_foreach(r->s->groups, g, group)
    {
        if (!is_phase(group, phase) || !is_family(group, family) || group == r->phases[phase].one ||
            group == r->phases[phase].most)
            continue;
        if (count++ == 0)
            printf("%s%s T=%.0f", begun ? "; " : "also measured: ", clean, threads_of(group));
        else
            printf(",%.0f", threads_of(group));
    }
    return begun || count > 0;
}

static void others_print(const struct reference *r)
{
    bool begun = false;
    for (size_t p = 0; p < PHASES_COUNT; p++) {
        size_t g, k;
        const json_t *group, *before;
        json_array_foreach(r->s->groups, g, group)
        {
            bool first = is_phase(group, p);
            json_array_foreach(r->s->groups, k, before) first =
                first && (k >= g || !is_phase(before, p) || !is_family(before, group));
            if (first)
                begun = others_family(r, p, group, begun);
        }
    }
    if (begun)
        printf("; heapmark show --json has them\n");
}

void show_reference(struct show *s)
{
    struct reference r = {.s = s};
    bool any = false;
    for (size_t p = 0; p < PHASES_COUNT; p++) {
        phase_gather(s, p, &r.phases[p]);
        any |= r.phases[p].one != NULL;
    }
    r.subjects_count = show_subjects(s, "table-", r.subjects);
    if (!any || r.subjects_count == 0)
        return;
    show_title("Throughput, fragmentation, memory and scaling");
    if (!part_print(&r, PART_ALL, false)) {
        part_print(&r, PART_THROUGHPUT, true);
        putchar('\n');
        part_print(&r, PART_MEMORY, true);
    }
    others_print(&r);
}
