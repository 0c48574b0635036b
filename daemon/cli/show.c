/* The frame: what is fetched, which view is chosen, and what all views share. */
#include "daemon/cli/show.h"

#include <stdarg.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"

#define COUNT_MIN      6   /* fewer cannot give an interval of 95% */
#define CONFIDENCE_MIN 0.9 /* nor can less confidence */

#define TRIALS_PAGE 200

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
    struct summary x = {
        .value = member_real(row, "value"),
        .low = member_real(row, "low"),
        .high = member_real(row, "high"),
        .ratio = member_real(row, "ratio"),
        .ratio_low = member_real(row, "ratio_low"),
        .ratio_high = member_real(row, "ratio_high"),
        .confidence = member_real(row, "confidence"),
        .count = member_real(row, "count"),
        .noise = member_real(row, "noise"),
        .null_share = member_real(row, "null_share"),
        .harness_bound = json_is_true(json_object_get(row, "harness_bound")),
        .unsteady = json_is_false(json_object_get(row, "steady")),
        .unit = member_text(row, "unit"),
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

enum show_mark show_mark_of(const json_t *cell, const char *metric)
{
    const json_t *row = json_object_get(json_object_get(cell, "summaries"), metric);
    const char *standing = member_text(row, "standing");
    if (strcmp(standing, "best") == 0)
        return MARK_BEST;
    return strcmp(standing, "tied") == 0 ? MARK_SAME : MARK_NONE;
}

/* ---- values ---- */

bool show_is_few(double count, double confidence)
{
    return count < COUNT_MIN || confidence < CONFIDENCE_MIN;
}

static void estimate(struct show *s, const struct summary *x, const double at[3],
                     enum format_form form, char buf[FORMAT_SIZE])
{
    bool few = isfinite(at[0]) && show_is_few(x->count, x->confidence);
    format_interval(at[0], few ? NAN : at[1], few ? NAN : at[2], form, buf);
    s->used_interval |= !few && isfinite(at[0]) && isfinite(at[1]) && isfinite(at[2]);
    if (!few || !isfinite(x->count))
        return;
    s->used_count = true;
    size_t used = strlen(buf);
    snprintf(buf + used, FORMAT_SIZE - used, " n=%.0f", x->count);
}

void show_estimate(struct show *s, const struct summary *x, double divisor, enum format_form form,
                   char buf[FORMAT_SIZE])
{
    const double at[3] = {x->value / divisor, x->low / divisor, x->high / divisor};
    estimate(s, x, at, form, buf);
    size_t used = strlen(buf);
    if (!x->unsteady || !isfinite(x->value) || used + sizeof SHOW_UNSTEADY > FORMAT_SIZE)
        return;
    memcpy(buf + used, SHOW_UNSTEADY, sizeof SHOW_UNSTEADY);
    s->used_unsteady = true;
}

void show_ratio(struct show *s, const struct summary *x, char buf[FORMAT_SIZE])
{
    const double at[3] = {x->ratio, x->ratio_low, x->ratio_high};
    estimate(s, x, at, FORMAT_RANGE, buf);
}

void show_value(struct show *s, struct table *table, unsigned column, const json_t *group,
                const char *subject, const char *metric, double divisor, enum format_form form)
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
    show_estimate(s, &x, divisor, form, text);
    enum show_mark mark = show_mark_of(cell, metric);
    const char *sign = mark == MARK_BEST ? " \xe2\x96\xb2" : mark == MARK_SAME ? " =" : "  ";
    s->used_best |= mark == MARK_BEST;
    s->used_same |= mark == MARK_SAME;
    s->used_bound |= x.harness_bound;
    style = mark == MARK_BEST ? STYLE_GOOD : x.harness_bound ? STYLE_DIM : STYLE_PLAIN;
    table_cell(table, column, style, "%s%s%s", text, x.harness_bound ? "\xe2\x80\xa0" : "", sign);
}

/* "100000" becomes "100,000"; what is no whole number stays. */
static void grouped(const char *value, size_t length, char *buf, size_t size)
{
    bool whole = length > 3 && strspn(value, "0123456789") >= length;
    size_t used = 0;
    for (size_t i = 0; i < length && used + 2 < size; i++) {
        if (whole && i && (length - i) % 3 == 0)
            buf[used++] = ',';
        buf[used++] = value[i];
    }
    buf[used] = '\0';
}

void show_params(const json_t *group, const char *but, char *buf, size_t size)
{
    const char *p = member_text(group, "params_key");
    size_t used = 0;
    buf[0] = '\0';
    while (*p) {
        size_t length = strcspn(p, ","), name = strcspn(p, "=,");
        bool skipped = but && strlen(but) == name && strncmp(p, but, name) == 0;
        if (!skipped && used + 1 < size) {
            char value[64] = "";
            if (name < length)
                grouped(p + name + 1, length - name - 1, value, sizeof value);
            int n = snprintf(buf + used, size - used, "%s%.*s%s%s", used ? " " : "", (int)name, p,
                             name < length ? "=" : "", value);
            used += n > 0 ? (size_t)n : 0;
        }
        p += length + (p[length] == ',');
    }
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
    snprintf(trials_path, sizeof trials_path, "%s/trials?limit=%d", path, TRIALS_PAGE);
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
    trials = extra_get(c, trials_path, SHOW_TRIALS_MAX);
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
