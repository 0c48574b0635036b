/* The frame: what is fetched, which view is chosen, and what all views share. */
#include "daemon/cli/show.h"

#include <stdarg.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"

/* Too few repetitions cannot give an interval of this confidence: then nothing is told apart. */
#define CONFIDENCE_MIN 0.9

#define TRIALS_LOOKED_AT 200 /* for isolation and discards: one page of them */

void show_title(const char *fmt, ...)
{
    char text[512], clean[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    term_clean(clean, sizeof clean, text);
    printf("\n%s%s%s\n", term_begin(stdout, STYLE_BOLD), clean, term_end(stdout, STYLE_BOLD));
}

/* The item of a list that has this name, or NULL. */
static const json_t *named(const json_t *items, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(items, i, item)
    {
        if (strcmp(member_text(item, "name"), name) == 0)
            return item;
    }
    return NULL;
}

static bool allocator_is_harness(const struct show *s, const char *name)
{
    return strcmp(member_text(named(s->allocators, name), "kind"), "baseline") == 0;
}

bool show_is_harness(const struct show *s, const json_t *cell)
{
    return allocator_is_harness(s, member_text(cell, "allocator"));
}

/* Whether a cell can be best: not a baseline, and not one whose kind nobody could tell us, which
 * may be a baseline. */
static bool is_contestant(const struct show *s, const json_t *cell)
{
    const json_t *allocator = named(s->allocators, member_text(cell, "allocator"));
    return allocator && member_text(allocator, "kind")[0] && !show_is_harness(s, cell);
}

const char *show_headline(const struct show *s, const char *workload)
{
    const json_t *list = json_object_get(named(s->workloads, workload), "metrics");
    return member_text(json_array_get(list, 0), "name");
}

bool show_subject_is_harness(const struct show *s, const char *subject)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(subject, "+"), subject);
    return allocator_is_harness(s, name);
}

struct summary show_summary(const json_t *cell, const char *metric)
{
    const json_t *row = json_object_get(json_object_get(cell, "summaries"), metric);
    const char *direction = member_text(row, "direction");
    struct summary x = {
        .value = member_real(row, "value"),
        .low = member_real(row, "low"),
        .high = member_real(row, "high"),
        .ratio = member_real(row, "ratio"),
        .ratio_low = member_real(row, "ratio_low"),
        .ratio_high = member_real(row, "ratio_high"),
        .confidence = member_real(row, "confidence"),
        .noise = member_real(row, "noise"),
        .null_share = member_real(row, "null_share"),
        .harness_bound = json_is_true(json_object_get(row, "harness_bound")),
        .unit = member_text(row, "unit"),
        .higher_is_better = strcmp(direction, "higher") == 0,
        .neutral = strcmp(direction, "higher") != 0 && strcmp(direction, "lower") != 0,
    };
    x.there = isfinite(x.value);
    return x;
}

const json_t *show_cell(const json_t *group, const char *subject)
{
    size_t i;
    const json_t *cell;
    json_array_foreach(json_object_get(group, "cells"), i,
                       cell) if (strcmp(member_text(cell, "subject"), subject) == 0) return cell;
    return NULL;
}

static void subject_add(const char *subject, const char *list[SHOW_SUBJECTS_MAX], unsigned *count)
{
    for (unsigned i = 0; i < *count; i++)
        if (strcmp(list[i], subject) == 0)
            return;
    if (*count < SHOW_SUBJECTS_MAX)
        list[(*count)++] = subject;
}

unsigned show_subjects(const struct show *s, const char *prefix, const char *ret[SHOW_SUBJECTS_MAX])
{
    unsigned count = 0;
    for (int harness = 0; harness <= 1; harness++) {
        size_t g, i;
        const json_t *group, *cell;
        json_array_foreach(s->groups, g, group)
        {
            if (strncmp(member_text(group, "workload"), prefix, strlen(prefix)) != 0)
                continue;
            json_array_foreach(json_object_get(group, "cells"), i,
                               cell) if (show_is_harness(s, cell) == (harness == 1))
                subject_add(member_text(cell, "subject"), ret, &count);
        }
    }
    return count;
}

const char *show_absence(const json_t *cell, enum term_style *ret_style)
{
    const json_t *trials = json_object_get(cell, "trials");
    *ret_style = STYLE_PLAIN;
    if (json_object_size(json_object_get(cell, "summaries")) > 0)
        return "\xe2\x80\x93"; /* measured, but not this */
    if (json_integer_value(json_object_get(trials, "failed")) > 0) {
        *ret_style = STYLE_BAD;
        return "failed";
    }
    if (json_integer_value(json_object_get(trials, "discarded")) > 0)
        return "discarded";
    return "\xe2\x80\x93";
}

/* ---- best, and not told apart ---- */

struct span {
    double low, high;
};

/* Where two cells can be compared: ratios to the reference (which is 1 itself), else values. */
static bool spans_get(const json_t *a, const json_t *b, const char *metric, struct span ret[2])
{
    const json_t *cells[2] = {a, b};
    struct summary x[2] = {show_summary(a, metric), show_summary(b, metric)};
    bool ratios = true;
    for (int i = 0; i < 2; i++) {
        bool reference = strcmp(member_text(cells[i], "role"), "reference") == 0;
        ret[i] = reference ? (struct span){1, 1} : (struct span){x[i].ratio_low, x[i].ratio_high};
        ratios = ratios && isfinite(ret[i].low) && isfinite(ret[i].high);
    }
    for (int i = 0; !ratios && i < 2; i++)
        ret[i] = (struct span){x[i].low, x[i].high};
    return x[0].confidence >= CONFIDENCE_MIN && x[1].confidence >= CONFIDENCE_MIN &&
           isfinite(ret[0].low) && isfinite(ret[0].high) && isfinite(ret[1].low) &&
           isfinite(ret[1].high);
}

static bool told_apart(const json_t *a, const json_t *b, const char *metric)
{
    struct span x[2];
    return spans_get(a, b, metric, x) && (x[0].low > x[1].high || x[1].low > x[0].high);
}

static const json_t *best_cell(const struct show *s, const json_t *group, const char *metric)
{
    size_t i;
    const json_t *cell, *best = NULL;
    struct summary best_summary = {0};
    json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        struct summary x = show_summary(cell, metric);
        if (!x.there || x.neutral || !is_contestant(s, cell))
            continue;
        bool better =
            x.higher_is_better ? x.value > best_summary.value : x.value < best_summary.value;
        if (!best || better) {
            best = cell;
            best_summary = x;
        }
    }
    return best;
}

enum show_mark show_mark_of(const struct show *s, const json_t *group, const json_t *cell,
                            const char *metric)
{
    size_t i;
    const json_t *best = best_cell(s, group, metric), *other;
    unsigned rivals = 0, same = 0;
    if (!best || !is_contestant(s, cell) || !show_summary(cell, metric).there)
        return MARK_NONE;
    json_array_foreach(json_object_get(group, "cells"), i, other)
    {
        if (other == best || !is_contestant(s, other) || !show_summary(other, metric).there)
            continue;
        rivals++;
        same += !told_apart(best, other, metric);
    }
    if (rivals == 0)
        return MARK_NONE;
    if (same == 0)
        return cell == best ? MARK_BEST : MARK_NONE;
    return cell == best || !told_apart(best, cell, metric) ? MARK_SAME : MARK_NONE;
}

void show_value(struct show *s, struct table *table, unsigned column, const json_t *group,
                const char *subject, const char *metric, double divisor, int wide)
{
    const json_t *cell = group ? show_cell(group, subject) : NULL;
    struct summary x = show_summary(cell, metric);
    enum term_style style = STYLE_PLAIN;
    if (!x.there) {
        const char *absence = show_absence(cell, &style);
        table_cell(table, column, style, "%s", absence);
        return;
    }
    char text[FORMAT_SIZE];
    format_interval(x.value / divisor, x.low / divisor, x.high / divisor, wide, text);
    enum show_mark mark = show_mark_of(s, group, cell, metric);
    const char *sign = mark == MARK_BEST ? " \xe2\x96\xb2" : mark == MARK_SAME ? " =" : "  ";
    s->used_best |= mark == MARK_BEST;
    s->used_same |= mark == MARK_SAME;
    s->used_bound |= x.harness_bound;
    style = mark == MARK_BEST ? STYLE_GOOD : x.harness_bound ? STYLE_DIM : STYLE_PLAIN;
    table_cell(table, column, style, "%s%s%s", text, x.harness_bound ? "\xe2\x80\xa0" : "", sign);
}

/* ---- the whole ---- */

static void head_print(const struct show *s)
{
    const char *name = member_text(s->job, "name"), *preset = member_text(s->job, "preset");
    const char *profile = member_text(s->job, "profile");
    show_title("Job %s: %s%s%s%s%s", member_text(s->job, "id"), member_text(s->job, "state"),
               preset[0] ? ", " : "", preset, profile[0] ? "/" : "", profile);
    if (name[0] && strcmp(name, preset) != 0) {
        char clean[256];
        term_clean(clean, sizeof clean, name);
        printf("%s\n", clean);
    }
    if (s->job && !job_is_final(s->job))
        printf("It is not finished: these are the results so far.\n");
}

/* The job whose tables are made for it. */
static bool is_reference(const json_t *job)
{
    return strcmp(member_text(job, "preset"), "reference") == 0;
}

static void views_print(struct show *s)
{
    size_t i;
    const json_t *group;
    if (is_reference(s->job)) {
        show_reference(s);
        show_pages(s);
        show_fork(s);
    } else {
        json_array_foreach(s->groups, i, group) show_generic(s, group);
    }
    show_notes(s);
}

/* What the tables can do without: an error there only takes notes away, and says so. */
static json_t *extra_get(struct cli *c, const char *path, size_t limit)
{
    json_t *items = NULL;
    struct err e = {0};
    if (client_list(c->client, path, limit, &items, &e) != CLI_OK) {
        cli_note(c, "heapmark: without %s: %s", path, e.message);
        return NULL;
    }
    return items;
}

enum cli_exit show_job(struct cli *c, const char *id)
{
    char path[CLIENT_PATH_SIZE] = "/api/v1/jobs", trials_path[CLIENT_PATH_SIZE + 32];
    cleanup_(json_decref_p) json_t *doc = NULL, *allocators = NULL, *trials = NULL,
                                   *workloads = NULL;
    enum cli_exit code = client_path_segment(path, id, &c->err);
    if (code != CLI_OK)
        return code;
    snprintf(trials_path, sizeof trials_path, "%s/trials?limit=%d", path, TRIALS_LOOKED_AT);
    text_copy(path + strlen(path), sizeof path - strlen(path), "/results");
    code = client_get(c->client, path, &doc, &c->err);
    if (code != CLI_OK)
        return code;
    if (c->json)
        return document_print(c, doc);
    if (!json_is_object(json_object_get(doc, "job")) ||
        !json_is_array(json_object_get(doc, "groups")))
        return cli_fail(c, CLI_FAILED, "%s: the reply has no job and groups", path);
    allocators = extra_get(c, "/api/v1/allocators", 0);
    trials = extra_get(c, trials_path, TRIALS_LOOKED_AT);
    if (!is_reference(json_object_get(doc, "job")))
        workloads = extra_get(c, "/api/v1/workloads", 0);
    struct show s = {.c = c,
                     .job = json_object_get(doc, "job"),
                     .groups = json_object_get(doc, "groups"),
                     .allocators = allocators,
                     .trials = trials,
                     .workloads = workloads,
                     .columns = term_columns()};
    head_print(&s);
    views_print(&s);
    return fflush(stdout) == 0 ? CLI_OK : cli_fail(c, CLI_FAILED, "cannot write the tables");
}
