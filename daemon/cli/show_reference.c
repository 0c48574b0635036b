/* The reference job's first table: one row per allocator, throughput in the three phases, what it
 * costs in memory, how it scales. */
#include <string.h>

#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

#define THROUGHPUT       "pairs_per_s"
#define PHASE_GROUPS_MAX 12

static const struct {
    const char *workload, *name;
} phases[] = {{"table-cold", "cold"}, {"table-churn", "churn"}, {"table-warm", "warm"}};

#define PHASES_COUNT (sizeof phases / sizeof phases[0])

/* One throughput column. */
struct phase_column {
    const json_t *group;
    struct format_scale scale;
    unsigned column;
};

struct reference {
    struct show *s;
    struct phase_column phases[PHASE_GROUPS_MAX];
    unsigned phases_count;
    const json_t *memory; /* the group fragmentation and memory are read from */
    const json_t *one[PHASES_COUNT], *most[PHASES_COUNT]; /* fewest and most threads */
    const char *subjects[SHOW_SUBJECTS_MAX];
    unsigned subjects_count;
};

static double threads_of(const json_t *group)
{
    return group ? member_real(group, "threads") : 0;
}

static double largest_value(const json_t *group, const char *metric, const char **ret_unit)
{
    size_t i;
    const json_t *cell;
    double largest = 0;
    *ret_unit = "";
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        struct summary x = show_summary(cell, metric);
        if (x.there && x.value >= largest) {
            largest = x.value;
            *ret_unit = x.unit;
        }
    }
    return largest;
}

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

static void phase_add(struct reference *r, unsigned phase, const json_t *group)
{
    if (r->phases_count == PHASE_GROUPS_MAX)
        return;
    r->phases[r->phases_count++] =
        (struct phase_column){.group = group, .scale = phase_scale(r->s, group)};
    if (!r->one[phase] || threads_of(group) < threads_of(r->one[phase]))
        r->one[phase] = group;
    if (!r->most[phase] || threads_of(group) > threads_of(r->most[phase]))
        r->most[phase] = group;
    const char *unit;
    bool churn = strcmp(phases[phase].name, "churn") == 0; /* the phase that fragments */
    if (churn && largest_value(group, "frag_total", &unit) > 0 &&
        threads_of(group) >= threads_of(r->memory))
        r->memory = group;
}

static void reference_gather(struct reference *r)
{
    for (unsigned phase = 0; phase < PHASES_COUNT; phase++) {
        size_t g;
        const json_t *group;
        json_array_foreach(r->s->groups, g, group) if (strcmp(member_text(group, "workload"),
                                                              phases[phase].workload) == 0)
            phase_add(r, phase, group);
    }
    r->subjects_count = show_subjects(r->s, "table-", r->subjects);
}

static const char *phase_name(const json_t *group)
{
    for (unsigned i = 0; i < PHASES_COUNT; i++)
        if (strcmp(member_text(group, "workload"), phases[i].workload) == 0)
            return phases[i].name;
    return member_text(group, "workload");
}

/* Whether another column has the same phase and threads: then parameters must tell them apart. */
static bool is_ambiguous(const struct reference *r, const json_t *group)
{
    unsigned same = 0;
    for (unsigned i = 0; i < r->phases_count; i++)
        same += strcmp(member_text(r->phases[i].group, "workload"),
                       member_text(group, "workload")) == 0 &&
                (long)threads_of(r->phases[i].group) == (long)threads_of(group);
    return same > 1;
}

static void phase_columns(struct reference *r, struct table *table)
{
    for (unsigned i = 0; i < r->phases_count; i++) {
        const json_t *group = r->phases[i].group;
        char head[48];
        snprintf(head, sizeof head, "%s T=%.0f%s%.24s", phase_name(group), threads_of(group),
                 is_ambiguous(r, group) ? " " : "",
                 is_ambiguous(r, group) ? member_text(group, "params_key") : "");
        r->phases[i].column = table_column(table, head, r->phases[i].scale.unit, true);
    }
}

static void scaling_cell(const struct reference *r, struct table *table, unsigned column,
                         const char *subject)
{
    char text[TABLE_CELL_SIZE] = "";
    for (unsigned i = 0; i < PHASES_COUNT; i++) {
        struct summary one =
            show_summary(r->one[i] ? show_cell(r->one[i], subject) : NULL, THROUGHPUT);
        struct summary most =
            show_summary(r->most[i] ? show_cell(r->most[i], subject) : NULL, THROUGHPUT);
        char number[FORMAT_SIZE];
        bool known = one.there && most.there && one.value > 0 && r->one[i] != r->most[i];
        format_number(known ? most.value / one.value : NAN, number);
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", i ? " / " : "", number);
    }
    table_cell(table, column, STYLE_PLAIN, "%s", text);
}

static void memory_cells(struct reference *r, struct table *table, unsigned frag, unsigned peak,
                         const char *subject)
{
    const json_t *cell = r->memory ? show_cell(r->memory, subject) : NULL;
    bool harness = show_subject_is_harness(r->s, subject);
    struct summary heap = show_summary(cell, "heap_peak_bytes");
    char text[FORMAT_SIZE];
    if (harness) /* it does not manage memory: its numbers would mean nothing */
        table_cell(table, frag, STYLE_PLAIN, "\xe2\x80\x93");
    else
        show_value(r->s, table, frag, r->memory, subject, "frag_total", 0.01, 0);
    format_value(harness ? NAN : heap.value, "bytes", text);
    table_cell(table, peak, STYLE_PLAIN, "%s", text);
}

static struct table *reference_table(struct reference *r, int wide)
{
    struct table *table = table_new();
    char head[48];
    table_column(table, "allocator", "", false);
    phase_columns(r, table);
    snprintf(head, sizeof head, "%s T=%.0f", r->memory ? phase_name(r->memory) : "",
             threads_of(r->memory));
    unsigned frag = table_column(table, "fragmentation, %", head, true);
    unsigned peak = table_column(table, "peak RSS", head, true);
    snprintf(head, sizeof head, "scaling 1\xe2\x86\x92%.0f", threads_of(r->most[0]));
    unsigned scaling = table_column(table, head, "cold / churn / warm", true);
    for (unsigned i = 0; i < r->subjects_count; i++) {
        const char *subject = r->subjects[i];
        bool harness = show_subject_is_harness(r->s, subject);
        table_row(table);
        table_cell(table, 0, harness ? STYLE_DIM : STYLE_PLAIN, "%s%s", harness ? "harness: " : "",
                   subject);
        for (unsigned p = 0; p < r->phases_count; p++)
            show_value(r->s, table, r->phases[p].column, r->phases[p].group, subject, THROUGHPUT,
                       r->phases[p].scale.divisor, wide);
        memory_cells(r, table, frag, peak, subject);
        scaling_cell(r, table, scaling, subject);
    }
    return table;
}

void show_reference(struct show *s)
{
    struct reference r = {.s = s};
    reference_gather(&r);
    if (r.phases_count == 0 || r.subjects_count == 0)
        return;
    show_title("Throughput, fragmentation, memory and scaling");
    cleanup_(table_free_p) struct table *wide = reference_table(&r, 1);
    cleanup_(table_free_p) struct table *narrow = reference_table(&r, 0);
    bool fits = s->columns == 0 || table_width(wide) <= s->columns;
    table_print(fits ? wide : narrow, stdout, s->columns);
}
