/* Under the tables: what the marks mean, the noise, how isolated the trials were, what failed. */
#include <string.h>

#include "daemon/cli/client.h"
#include "daemon/cli/format.h"
#include "daemon/cli/jobs.h"
#include "daemon/cli/show.h"

static void note_marks(const struct show *s)
{
    if (s->used_best)
        printf("\xe2\x96\xb2 best, the interval of its ratio meets no other   ");
    if (s->used_same)
        printf("= not told apart from the best   ");
    if (s->used_bound)
        printf("\xe2\x80\xa0 harness-bound: more than half is the harness's own cost");
    if (s->used_best || s->used_same || s->used_bound)
        putchar('\n');
}

/* Why what is marked so is not steady: one reason for the whole job. */
static void note_unsteady(const struct show *s)
{
    size_t g, i;
    const json_t *group, *cell;
    if (!s->used_unsteady)
        return;
    json_array_foreach(s->groups, g, group)
        json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        const char *metric;
        json_t *row;
        json_object_foreach(json_object_get(cell, "summaries"), metric, row)
        {
            char clean[160];
            if (!json_is_false(json_object_get(row, "steady")))
                continue;
            term_clean(clean, sizeof clean, member_text(row, "reason"));
            printf(SHOW_UNSTEADY " %s\n", clean);
            return;
        }
    }
}

static void name_add(json_t *names, const char *name)
{
    if (!json_object_get(names, name))
        json_object_set_new(names, name, json_null());
}

/* reason -> {metrics: {name…}, of: {subject or page mode…}} of everything without a value. */
static void reason_add(json_t *reasons, const json_t *group, const json_t *cell, const char *metric,
                       const json_t *row)
{
    const char *why = member_text(row, "reason");
    bool by_pages = strcmp(member_text(group, "axis"), "pages") == 0;
    if (!why[0] || !json_is_null(json_object_get(row, "value")))
        return;
    if (!json_object_get(reasons, why))
        json_object_set_new(reasons, why, json_pack("{s:{}, s:{}}", "metrics", "of"));
    json_t *reason = json_object_get(reasons, why);
    name_add(json_object_get(reason, "metrics"), metric);
    name_add(json_object_get(reason, "of"),
             by_pages ? member_text(group, "workload") : member_text(cell, "subject"));
}

static void names_join(const json_t *names, char *buf, size_t size)
{
    const char *name;
    json_t *value;
    size_t used = 0;
    buf[0] = '\0';
    json_object_foreach((json_t *)names, name, value)
    {
        int n = snprintf(buf + used, size - used, "%s%s", used ? ", " : "", name);
        used += n > 0 && (size_t)n < size - used ? (size_t)n : 0;
        buf[used] = '\0';
    }
}

/* What nobody could measure or would tell, by reason. */
static void note_absences(const struct show *s)
{
    cleanup_(json_decref_p) json_t *reasons = json_object();
    const char *why, *metric;
    json_t *reason, *row;
    size_t g, i;
    unsigned printed = 0;
    const json_t *group, *cell;
    json_array_foreach(s->groups, g, group)
        json_array_foreach(json_object_get(group, "cells"), i, cell)
            json_object_foreach(json_object_get(cell, "summaries"), metric, row)
                reason_add(reasons, group, cell, metric, row);
    json_object_foreach(reasons, why, reason)
    {
        char names[384], of[256], line[1024], clean[1024];
        if (printed++ == SHOW_NOTES_MAX)
            break;
        names_join(json_object_get(reason, "metrics"), names, sizeof names);
        names_join(json_object_get(reason, "of"), of, sizeof of);
        snprintf(line, sizeof line, "no value (%s): %s; %s", why, of, names);
        term_clean(clean, sizeof clean, line);
        printf("%s\n", clean);
    }
}

static void note_intervals(const struct show *s)
{
    if (s->used_interval || s->used_count)
        printf("Intervals are 95%% unless n is shown.%s\n",
               s->used_scaling ? " That of scaling is the widest its two values allow." : "");
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

/* A trial that failed before its first turn measured nothing, and may not have got that far. */
static bool has_measured(const json_t *trial)
{
    const char *outcome = member_text(trial, "outcome");
    return !outcome[0] || strcmp(outcome, "ok") == 0 || member_real(trial, "turns_done") > 0;
}

static int level_rank(const char *level)
{
    return strcmp(level, "full") == 0 ? 2 : strcmp(level, "partial") == 0 ? 1 : 0;
}

static bool has_bit(const json_t *trial, const char *bit)
{
    size_t i;
    const json_t *own;
    json_array_foreach(json_object_get(trial, "isolation"), i, own)
    {
        if (json_is_string(own) && strcmp(json_string_value(own), bit) == 0)
            return true;
    }
    return false;
}

/* What every trial had of what this one had. */
static void common_bits(const struct show *s, const json_t *of, char *buf, size_t size)
{
    size_t i, k, used = 0;
    const json_t *bit, *trial;
    buf[0] = '\0';
    json_array_foreach(json_object_get(of, "isolation"), i, bit)
    {
        const char *name = json_string_value(bit) ? json_string_value(bit) : "";
        bool all = name[0] != '\0';
        json_array_foreach(s->trials, k, trial) all =
            all && (!has_measured(trial) || has_bit(trial, name));
        if (!all || used + 1 >= size)
            continue;
        int n = snprintf(buf + used, size - used, "%s%s", used ? ", " : "", name);
        used += n > 0 ? (size_t)n : 0;
    }
}

static void note_isolation(const struct show *s)
{
    const json_t *lowest = NULL, *trial;
    bool mixed = false;
    size_t i;
    json_array_foreach(s->trials, i, trial)
    {
        if (!has_measured(trial))
            continue;
        int rank = level_rank(member_text(trial, "isolation_level"));
        int least = lowest ? level_rank(member_text(lowest, "isolation_level")) : rank;
        mixed |= rank != least;
        if (!lowest || rank < least)
            lowest = trial;
    }
    if (!lowest)
        return;
    char bits[256], clean[448], line[448];
    common_bits(s, lowest, bits, sizeof bits);
    snprintf(line, sizeof line, "Isolation reached: %s%.16s%s%s%s", mixed ? "mixed, lowest " : "",
             member_text(lowest, "isolation_level"), bits[0] ? " (" : "", bits, bits[0] ? ")" : "");
    term_clean(clean, sizeof clean, line);
    printf("%s", clean);
    if (json_array_size(s->trials) >= SHOW_TRIALS_MAX)
        printf(", in the first %d trials", SHOW_TRIALS_MAX);
    putchar('\n');
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
    printf("%.0f %s discarded as noisy%s%s\n", discarded,
           discarded > 1 ? "attempts were" : "attempt was", clean[0] ? ": " : "", clean);
}

static void note_given_up(const struct show *s)
{
    double given_up = member_real(json_object_get(s->job, "progress"), "steps_given_up");
    if (given_up > 0)
        printf("%.0f %s given up: the cell failed too often, or no attempt could be kept\n",
               given_up, given_up > 1 ? "steps were" : "step was");
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

static bool is_measured_alone(const json_t *cell)
{
    const char *metric;
    json_t *row;
    json_object_foreach(json_object_get(cell, "summaries"), metric,
                        row) if (strcmp(member_text(row, "measured"), "solo") == 0) return true;
    return false;
}

static void note_alone(const struct show *s)
{
    size_t g, i;
    const json_t *group, *cell;
    json_array_foreach(s->groups, g, group)
        json_array_foreach(json_object_get(group, "cells"), i, cell)
    {
        char line[256], clean[256];
        const json_t *summaries = json_object_get(cell, "summaries");
        const json_t *first = json_array_get(json_object_get(group, "cells"), 0);
        bool whole = is_measured_alone(first) &&
                     strcmp(member_text(first, "role"), "reference") == 0; /* stands in all rings */
        if (!is_measured_alone(cell) || (whole && i > 0))
            continue;
        snprintf(line, sizeof line,
                 "measured alone: %s %s T=%.0f uses CPU outside its turns (%.1f%%)%s",
                 member_text(cell, "subject"), member_text(group, "workload"),
                 member_real(group, "threads"),
                 100 * member_real(json_object_get(summaries, "cpu_outside_ratio"), "value"),
                 whole ? ", so its whole group is" : "");
        term_clean(clean, sizeof clean, line);
        puts(clean);
    }
}

void show_notes(struct show *s)
{
    putchar('\n');
    note_marks(s);
    note_unsteady(s);
    note_alone(s);
    note_intervals(s);
    note_noise(s);
    note_isolation(s);
    note_housekeeping(s);
    note_discards(s);
    note_given_up(s);
    note_failures(s);
    note_absences(s);
    note_unavailable(s);
}
