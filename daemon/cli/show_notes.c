/* Under the tables: what the marks mean, the noise, how isolated the trials were, what failed. */
#include <string.h>

#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

static void note_marks(const struct show *s)
{
    if (s->used_best)
        printf("\xe2\x96\xb2 best, its interval meets no other   ");
    if (s->used_same)
        printf("= not told apart from the best   ");
    if (s->used_bound)
        printf("\xe2\x80\xa0 harness-bound: more than half is the harness's own cost");
    if (s->used_best || s->used_same || s->used_bound)
        putchar('\n');
}

/* The reference against itself, smallest and largest over all groups. */
static void note_noise(const struct show *s)
{
    double least = INFINITY, most = 0;
    const char *where = "";
    size_t g, i;
    const json_t *group, *cell;
    json_array_foreach(s->groups, g, group)
        json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        const char *metric;
        json_t *row;
        json_object_foreach(json_object_get(cell, "summaries"), metric, row)
        {
            double noise = member_real(row, "noise");
            bool timed = strcmp(metric, "pairs_per_s") == 0 || strncmp(metric, "ns_", 3) == 0;
            if (!isfinite(noise) || !timed)
                continue;
            least = noise < least ? noise : least;
            if (noise >= most) {
                most = noise;
                where = member_text(group, "workload");
            }
        }
    }
    if (isfinite(least))
        printf("A/A noise (the reference against itself): \xc2\xb1%.1f%% to \xc2\xb1%.1f%% (%s)\n",
               100 * least, 100 * most, where);
}

static void note_isolation(const struct show *s)
{
    const char *level = "", *bits = "";
    char list[256] = "";
    size_t i, count = json_array_size(s->trials);
    const json_t *trial, *bit;
    if (count == 0)
        return;
    json_array_foreach(s->trials, i, trial) level = member_text(trial, "isolation_level");
    trial = json_array_get(s->trials, count - 1);
    json_array_foreach(json_object_get(trial, "isolation"), i, bit)
    {
        size_t used = strlen(list);
        bits = json_string_value(bit) ? json_string_value(bit) : "";
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", bits);
    }
    char clean[320], line[320];
    snprintf(line, sizeof line, "Isolation reached: %s%s%s%s", level, list[0] ? " (" : "", list,
             list[0] ? ")" : "");
    term_clean(clean, sizeof clean, line);
    printf("%s\n", clean);
}

static void note_housekeeping(const struct show *s)
{
    json_int_t crowded = 0;
    size_t i, k;
    const json_t *group, *cell;
    json_array_foreach(s->groups, i, group)
    {
        json_array_foreach(json_object_get(group, "cells"), k, cell)
        {
            const json_t *trials = json_object_get(cell, "trials");
            crowded += json_integer_value(json_object_get(trials, "crowded"));
        }
    }
    if (crowded > 0)
        printf("In %" JSON_INTEGER_FORMAT
               " trials no CPU was left for the daemon beside the threads: "
               "it may have disturbed them.\n",
               crowded);
}

static void note_discards(const struct show *s)
{
    double discarded = member_real(json_object_get(s->job, "progress"), "steps_discarded");
    const char *reason = "";
    size_t i;
    const json_t *trial;
    if (!(discarded > 0))
        return;
    json_array_foreach(s->trials, i, trial) if (member_text(trial, "discard_reason")[0]) reason =
        member_text(trial, "discard_reason");
    char clean[160];
    term_clean(clean, sizeof clean, reason);
    printf("%.0f steps were discarded and measured again%s%s\n", discarded, clean[0] ? ": " : "",
           clean);
}

static void note_failures(const struct show *s)
{
    unsigned printed = 0, more = 0;
    size_t g, i;
    const json_t *group, *cell;
    json_array_foreach(s->groups, g, group)
        json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        double failed = member_real(json_object_get(cell, "trials"), "failed");
        char line[512], clean[512];
        if (!(failed > 0))
            continue;
        if (printed == SHOW_NOTES_MAX) {
            more++;
            continue;
        }
        printed++;
        snprintf(line, sizeof line, "failed %.0f\xc3\x97: %s %s T=%.0f %s: %s", failed,
                 member_text(cell, "subject"), member_text(group, "workload"),
                 member_real(group, "threads"), member_text(cell, "pages"),
                 member_text(cell, "last_failure"));
        term_clean(clean, sizeof clean, line);
        printf("%s%s%s\n", term_begin(stdout, STYLE_BAD), clean, term_end(stdout, STYLE_BAD));
    }
    if (more)
        printf("and %u more cells with failures\n", more);
}

/* Allocators the host has not got are not in the tables: say how to get them. */
static void note_unavailable(const struct show *s)
{
    size_t i;
    const json_t *allocator;
    if (strcmp(member_text(s->job, "preset"), "reference") != 0)
        return;
    json_array_foreach(s->allocators, i, allocator)
    {
        char clean[320];
        if (!json_is_false(json_object_get(allocator, "available")))
            continue;
        term_clean(clean, sizeof clean, member_text(allocator, "reason"));
        printf("not measured: %s\n", clean);
    }
}

void show_notes(struct show *s)
{
    putchar('\n');
    note_marks(s);
    note_noise(s);
    note_isolation(s);
    note_housekeeping(s);
    note_discards(s);
    note_failures(s);
    note_unavailable(s);
}
