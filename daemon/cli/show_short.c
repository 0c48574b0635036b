/* The reference job's two short tables, huge pages and fork with copy on write; and the table any
 * group of any job can have. */
#include <string.h>

#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

/* ---- page modes ---- */

/* Cells of one group apart by their pages: the first is the control (4k). */
static void pages_rows(struct show *s, struct table *table, const json_t *group)
{
    size_t i;
    const json_t *cell;
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        struct summary x = show_summary(cell, "ns_per_access");
        char text[FORMAT_SIZE];
        enum term_style style = STYLE_PLAIN;
        table_row(table);
        table_cell(table, 0, STYLE_PLAIN, "%s", member_text(cell, "pages"));
        if (!x.there) {
            const char *absence = show_absence(cell, &style);
            table_cell(table, 1, style, "%s", absence);
            continue;
        }
        show_estimate(s, &x, 1, FORMAT_RANGE, text);
        table_cell(table, 1, STYLE_PLAIN, "%s", text);
        show_ratio(s, &x, text);
        bool control = strcmp(member_text(cell, "role"), "reference") == 0;
        table_cell(table, 2, STYLE_PLAIN, "%s", control ? "1" : text);
        format_value(show_summary(cell, "first_touch_ns_per_page").value, "ns", text);
        table_cell(table, 3, STYLE_PLAIN, "%s", text);
        format_value(show_summary(cell, "huge_bytes").value, "bytes", text);
        table_cell(table, 4, STYLE_PLAIN, "%s", text);
    }
}

void show_pages(struct show *s)
{
    size_t g;
    const json_t *group;
    json_array_foreach(s->groups, g, group)
    {
        if (strcmp(member_text(group, "workload"), "chase") != 0)
            continue;
        char memory[FORMAT_SIZE];
        double bytes = member_real(json_object_get(group, "params"), "bytes");
        format_value(bytes, "bytes", memory);
        char key[128];
        show_params(group, "bytes", key, sizeof key);
        show_title("Huge pages: dependent loads%s%s%s%s", isfinite(bytes) ? " over " : "",
                   isfinite(bytes) ? memory : "", key[0] ? ", " : "", key);
        cleanup_(table_free_p) struct table *table = table_new();
        table_column(table, "pages", "", false);
        table_column(table, "ns per access", "", true);
        table_column(table, "ratio to 4k", "", true);
        table_column(table, "first touch", "per 4 KiB", true);
        table_column(table, "huge memory", "really backed", true);
        pages_rows(s, table, group);
        table_print(table, stdout, s->columns);
    }
}

/* ---- fork and copy on write ---- */

static const struct {
    const char *workload, *metric, *first, *second;
} fork_columns[] = {
    {"fork-latency", "fork_ns", "fork", "median"},
    {"fork-latency", "fork_max_ns", "fork", "slowest"},
    {"fork-latency", "fork_wait_ns", "fork+exit+wait", "median"},
    {"fork-cow", "cow_ns_per_write", "first write", "after fork"},
    {"fork-cow", "cow_base_ns_per_write", "the same write", "without fork"},
    {"fork-cow", "cow_amplification", "amplification", "dirtied / written"},
};
#define FORK_COLUMNS (sizeof fork_columns / sizeof fork_columns[0])

static bool is_fork(const json_t *group)
{
    return strncmp(member_text(group, "workload"), "fork-", 5) == 0;
}

/* One row of the table: what its cells have in common. */
struct fork_row {
    const char *subject, *pages, *key;
    double threads;
};

static const json_t *fork_row_cell(const json_t *group, const struct fork_row *row)
{
    size_t i;
    const json_t *cell;
    if (strcmp(member_text(group, "params_key"), row->key) != 0 ||
        (long)member_real(group, "threads") != (long)row->threads)
        return NULL;
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        if (strcmp(member_text(cell, "subject"), row->subject) == 0 &&
            strcmp(member_text(cell, "pages"), row->pages) == 0)
            return cell;
    }
    return NULL;
}

/* The row's cell in the first group of a workload, of any fork workload with NULL; and where. */
static const json_t *fork_cell(const struct show *s, const char *workload,
                               const struct fork_row *row, size_t *ret_group)
{
    size_t g;
    const json_t *group;
    json_array_foreach(s->groups, g, group)
    {
        bool wanted =
            workload ? strcmp(member_text(group, "workload"), workload) == 0 : is_fork(group);
        const json_t *cell = wanted ? fork_row_cell(group, row) : NULL;
        if (cell) {
            *ret_group = g;
            return cell;
        }
    }
    return NULL;
}

static void fork_value(struct show *s, struct table *table, unsigned column, const json_t *cell,
                       const char *metric)
{
    struct summary x = show_summary(cell, metric);
    enum term_style style = STYLE_PLAIN;
    char text[FORMAT_SIZE];
    if (!x.there) {
        const char *absence = cell ? show_absence(cell, &style) : "";
        table_cell(table, column, style, "%s", absence);
        return;
    }
    struct format_scale scale = format_scale_for(x.value, x.unit);
    show_estimate(s, &x, scale.divisor, FORMAT_PERCENT, text);
    size_t number = strcspn(text, " "); /* the unit stands behind the number */
    bool few = show_is_few(x.count, x.confidence);
    const char *unit = strcmp(scale.unit, "ratio") == 0 ? "" : scale.unit;
    if (few)
        table_cell(table, column, style, "%.*s%s%s%s", (int)number, text, unit[0] ? " " : "", unit,
                   text + number);
    else
        table_cell(table, column, style, "%s%s%s", text, unit[0] ? " " : "", unit);
}

static void fork_row_print(struct show *s, struct table *table, const json_t *group,
                           const struct fork_row *row)
{
    char params[TABLE_CELL_SIZE];
    show_params(group, NULL, params, sizeof params);
    table_row(table);
    table_cell(table, 0, STYLE_PLAIN, "%s", row->subject);
    table_cell(table, 1, STYLE_PLAIN, "%s", row->pages);
    for (unsigned i = 0; i < FORK_COLUMNS; i++) {
        size_t at;
        const json_t *cell = fork_cell(s, fork_columns[i].workload, row, &at);
        fork_value(s, table, i + 2, cell, fork_columns[i].metric);
    }
    if (table_columns(table) == FORK_COLUMNS + 2)
        return;
    if (row->threads > 1)
        table_cell(table, FORK_COLUMNS + 2, STYLE_PLAIN, "T=%.0f %s", row->threads, params);
    else
        table_cell(table, FORK_COLUMNS + 2, STYLE_PLAIN, "%s", params);
}

/* Each set of subject, pages, parameters and threads once, where it first stands. */
static void fork_rows(struct show *s, struct table *table, const char *subject)
{
    size_t g, i, first = 0;
    const json_t *group, *cell;
    json_array_foreach(s->groups, g, group)
    {
        json_array_foreach(json_object_get(group, "cells"), i, cell)
        {
            struct fork_row row = {.subject = subject,
                                   .pages = member_text(cell, "pages"),
                                   .key = member_text(group, "params_key"),
                                   .threads = member_real(group, "threads")};
            if (!is_fork(group) || strcmp(member_text(cell, "subject"), subject) != 0)
                continue;
            if (fork_cell(s, NULL, &row, &first) == cell)
                fork_row_print(s, table, group, &row);
        }
    }
}

static bool fork_has_params(const struct show *s)
{
    size_t g;
    const json_t *group;
    json_array_foreach(s->groups, g, group)
    {
        if (is_fork(group) &&
            (member_text(group, "params_key")[0] || member_real(group, "threads") > 1))
            return true;
    }
    return false;
}

void show_fork(struct show *s)
{
    const char *subjects[SHOW_SUBJECTS_MAX];
    unsigned count = show_subjects(s, "fork-", subjects);
    if (count == 0)
        return;
    show_title("fork and copy on write");
    cleanup_(table_free_p) struct table *table = table_new();
    table_column(table, "allocator", "", false);
    table_column(table, "pages", "", false);
    for (unsigned i = 0; i < FORK_COLUMNS; i++)
        table_column(table, fork_columns[i].first, fork_columns[i].second, true);
    if (fork_has_params(s))
        table_column(table, "parameters", "not at their default", false);
    for (unsigned i = 0; i < count; i++)
        fork_rows(s, table, subjects[i]);
    table_print(table, stdout, s->columns);
}

/* ---- any group ---- */

struct generic_column {
    const char *metric;
    struct format_scale scale;
    unsigned column;
};

struct generic_columns {
    struct generic_column list[TABLE_COLUMNS_MAX - 3]; /* beside name, ratio and trials */
    unsigned count;
};

/* A metric becomes a column with the first cell that has a value of it. */
static void generic_metric(struct generic_columns *columns, const json_t *cell, const char *metric)
{
    struct summary x = show_summary(cell, metric);
    unsigned k = 0;
    while (k < columns->count && strcmp(columns->list[k].metric, metric) != 0)
        k++;
    if (!x.there || k < columns->count || k == sizeof columns->list / sizeof columns->list[0])
        return;
    columns->list[columns->count++] =
        (struct generic_column){.metric = metric, .scale = format_scale_for(x.value, x.unit)};
}

/* What the workload is about first, then the others as the server lists them. */
static void generic_metrics(const struct show *s, const json_t *group,
                            struct generic_columns *columns)
{
    const char *headline = show_headline(s, member_text(group, "workload"));
    size_t i;
    const json_t *cell;
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        generic_metric(columns, cell, headline);
    }
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        const char *metric;
        json_t *row;
        json_object_foreach(json_object_get(cell, "summaries"), metric, row)
        {
            generic_metric(columns, cell, metric);
        }
    }
}

static void generic_ratio(struct show *s, struct table *table, unsigned column, const json_t *cell,
                          const char *metric)
{
    struct summary x = show_summary(cell, metric);
    char text[FORMAT_SIZE];
    bool reference = strcmp(member_text(cell, "role"), "reference") == 0;
    show_ratio(s, &x, text);
    table_cell(table, column, STYLE_PLAIN, "%s", reference ? "1" : text);
}

/* A share's own interval would read as another share if it were relative. */
static enum format_form generic_form(const char *metric)
{
    return strncmp(metric, "frag_", 5) == 0 ? FORMAT_RANGE : FORMAT_PERCENT;
}

static void generic_row(struct show *s, struct table *table, const json_t *group,
                        const json_t *cell, const struct generic_column *columns, unsigned count)
{
    bool by_pages = strcmp(member_text(group, "axis"), "pages") == 0;
    const json_t *trials = json_object_get(cell, "trials");
    const char *subject = member_text(cell, "subject");
    table_row(table);
    table_cell(table, 0, show_is_harness(s, cell) ? STYLE_DIM : STYLE_PLAIN, "%s%s",
               show_is_harness(s, cell) ? "harness: " : "",
               by_pages ? member_text(cell, "pages") : subject);
    for (unsigned i = 0; i < count; i++) {
        /* Marks for what the workload is about, not for each counter; and cells apart by their
         * pages are one subject's, so its name would not find them. */
        if (by_pages || i > 0) {
            struct summary x = show_summary(cell, columns[i].metric);
            char text[FORMAT_SIZE];
            show_estimate(s, &x, columns[i].scale.divisor, generic_form(columns[i].metric), text);
            table_cell(table, columns[i].column, STYLE_PLAIN, "%s", text);
        } else {
            show_value(s, table, columns[i].column, group, subject, columns[i].metric,
                       columns[i].scale.divisor, generic_form(columns[i].metric));
        }
    }
    if (count)
        generic_ratio(s, table, 1, cell, columns[0].metric);
    table_cell(table, table_columns(table) - 1, STYLE_PLAIN, "%.0f / %.0f",
               member_real(trials, "ok"), member_real(trials, "failed"));
}

void show_generic(struct show *s, const json_t *group)
{
    struct generic_columns found = {0};
    generic_metrics(s, group, &found);
    struct generic_column *columns = found.list;
    unsigned count = found.count;
    const char *key = member_text(group, "params_key");
    show_title("%s T=%.0f %s%s%s", member_text(group, "workload"), member_real(group, "threads"),
               member_text(group, "pages"), key[0] ? ", " : "", key);
    cleanup_(table_free_p) struct table *table = table_new();
    bool by_pages = strcmp(member_text(group, "axis"), "pages") == 0;
    table_column(table, by_pages ? "pages" : "allocator", "", false);
    table_column(table, "ratio", count ? columns[0].metric : "", true);
    for (unsigned i = 0; i < count; i++)
        columns[i].column = table_column(
            table, columns[i].metric,
            strcmp(columns[i].scale.unit, "ratio") == 0 ? "" : columns[i].scale.unit, true);
    table_column(table, "trials", "ok / failed", true);
    size_t i;
    const json_t *cell;
    json_array_foreach(json_object_get(group, "cells"), i, cell)
        generic_row(s, table, group, cell, columns, count);
    table_print(table, stdout, s->columns);
}
