/* Job JSON to struct job_spec. Every function takes the JSON Pointer of what it reads, so an
 * error says where; unknown fields are errors, because a misspelt field silently ignored would
 * measure something other than what was asked. Pure; any thread. */
#include "daemon/job/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/base/text.h"
#include "daemon/job/job_field.h"

struct profile {
    const char *name;
    uint32_t rings, rotations, blocks, warm_pct;
};

/* quick: enough to report; full: enough to gate; demo: the whole reference job in minutes. */
static const struct profile profiles[] = {
    {.name = "quick", .rings = 10, .rotations = 60, .blocks = 10, .warm_pct = 100},
    {.name = "full", .rings = 20, .rotations = 200, .blocks = 20, .warm_pct = 100},
    {.name = "demo", .rings = 10, .rotations = 10, .blocks = 5, .warm_pct = 10},
};

static json_t *preset_load(const char *name, struct err *e)
{
    const struct job_preset *preset;
    for (unsigned i = 0; (preset = job_preset_at(i)); i++)
        if (strcmp(preset->name, name) == 0)
            return json_loads(preset->text, JSON_REJECT_DUPLICATES, NULL);
    (void)err_set(e, ERR_UNKNOWN_NAME, "/preset",
                  "no preset \"%.64s\"; GET /api/v1/presets lists them", name);
    return NULL;
}

/* Preset, then the preset's own changes for the profile, then what the client gave. */
static json_t *job_merge(json_t *body, const char *profile, struct err *e)
{
    const char *name = json_string_value(json_object_get(body, "preset"));
    if (!name)
        return json_incref(body);
    json_t *merged = preset_load(name, e);
    if (!merged)
        return NULL;
    json_t *changes = json_object_get(json_object_get(merged, "profiles"), profile);
    if (changes)
        json_object_update(merged, changes);
    json_object_del(merged, "profiles");
    json_object_del(merged, "title");
    json_object_del(merged, "summary");
    json_object_update(merged, body);
    return merged;
}

static int parse_labels(const json_t *json, struct job_labels *labels, struct err *e)
{
    static const char *const known[] = {"project", "commit",   "parent", "branch",
                                        "tag",     "sequence", "time",   NULL};
    if (!json)
        return 0;
    int r = field_object(json, "/labels", known, e);
    if (r == 0)
        r = field_text(json, "/labels", "project", labels->project, JOB_LABEL_MAX, e);
    if (r == 0)
        r = field_text(json, "/labels", "commit", labels->commit, JOB_LABEL_MAX, e);
    if (r == 0)
        r = field_text(json, "/labels", "parent", labels->parent, JOB_LABEL_MAX, e);
    if (r == 0)
        r = field_text(json, "/labels", "branch", labels->branch, JOB_LABEL_MAX, e);
    if (r == 0)
        r = field_text(json, "/labels", "tag", labels->tag, JOB_LABEL_MAX, e);
    if (r == 0)
        r = field_u64(json, "/labels", "sequence", 0, INT64_MAX, &labels->sequence, e);
    if (r < 0)
        return r;
    return field_time(json, "/labels", "time", &labels->time_us, e);
}

static int option_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int parse_options(const json_t *json, const char *at, struct job_subject *subject,
                         struct err *e)
{
    if (!json)
        return 0;
    if (!json_is_array(json))
        return err_set(e, ERR_INVALID, at, "options: a list of option names is needed");
    size_t count = json_array_size(json);
    if (count > RING_OPTIONS_MAX)
        return err_set(e, ERR_TOO_LARGE, at, "options: %zu given, at most %d", count,
                       RING_OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(json, i));
        if (!name || !text_is_name(name, sizeof subject->options[i] - 1))
            return err_set(e, ERR_INVALID, at, "options: entry %zu is not an option name", i);
        text_copy(subject->options[i], sizeof subject->options[i], name);
    }
    qsort(subject->options, count, sizeof subject->options[0], option_order);
    for (size_t i = 1; i < count; i++)
        if (strcmp(subject->options[i - 1], subject->options[i]) == 0)
            return err_set(e, ERR_INVALID, at, "options: \"%s\" is given twice",
                           subject->options[i]);
    return 0;
}

static int parse_subject(const json_t *json, const char *at, struct job_subject *subject,
                         struct err *e)
{
    static const char *const known[] = {"name", "options", NULL};
    const char *name = json_string_value(json);
    if (!name) {
        int r = field_object(json, at, known, e);
        if (r < 0)
            return r;
        name = json_string_value(json_object_get(json, "name"));
        r = parse_options(json_object_get(json, "options"), at, subject, e);
        if (r < 0)
            return r;
    }
    if (!name || !text_is_name(name, sizeof subject->allocator - 1))
        return err_set(e, ERR_INVALID, at, "an allocator is a name or {\"name\", \"options\"}");
    text_copy(subject->allocator, sizeof subject->allocator, name);
    return 0;
}

static bool subject_same(const struct job_subject *a, const struct job_subject *b)
{
    return strcmp(a->allocator, b->allocator) == 0 &&
           memcmp(a->options, b->options, sizeof a->options) == 0;
}

static int subject_add(struct job_spec *spec, struct job_subject *subject, const char *at,
                       const struct job_limits *limits, struct err *e)
{
    for (uint32_t i = 0; i < spec->subjects_count; i++)
        if (subject_same(&spec->subjects[i], subject))
            return err_set(e, ERR_INVALID, at, "\"%s\" is listed twice; repetition is \"repeat\"",
                           subject->allocator);
    struct err why = {0};
    int r = limits->subject_check(limits->ctx, subject, at, &why);
    if (r < 0 && !(subject->optional && why.code == ERR_UNAVAILABLE)) {
        if (e)
            *e = why;
        return r;
    }
    spec->subjects[spec->subjects_count++] = *subject;
    return 0;
}

static int parse_subjects(const json_t *job, bool optional, const struct job_limits *limits,
                          struct job_spec *spec, struct err *e)
{
    const json_t *list = json_object_get(job, "allocators");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return err_set(e, ERR_INVALID, "/allocators",
                       "allocators: a list of at least one name is needed, e.g. "
                       "[\"glibc\", \"jemalloc\"]; GET /api/v1/allocators lists them");
    if (json_array_size(list) > JOB_SUBJECTS_MAX)
        return err_set(e, ERR_TOO_LARGE, "/allocators", "allocators: %zu given, at most %d",
                       json_array_size(list), JOB_SUBJECTS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char at[64];
        snprintf(at, sizeof at, "/allocators/%zu", i);
        struct job_subject subject = {.optional = optional};
        int r = parse_subject(json_array_get(list, i), at, &subject, e);
        if (r == 0)
            r = subject_add(spec, &subject, at, limits, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The control of every group; a subject like the others, the first real allocator by default. */
static int parse_reference(const json_t *job, struct job_spec *spec, struct err *e)
{
    const json_t *json = json_object_get(job, "reference");
    if (!json) {
        for (uint32_t i = 0; i < spec->subjects_count; i++)
            if (spec->subjects[i].flags == 0) {
                spec->reference = i;
                return 0;
            }
        return err_set(e, ERR_INVALID, "/allocators",
                       "allocators: none can be the reference; list a real allocator");
    }
    struct job_subject wanted = {0};
    int r = parse_subject(json, "/reference", &wanted, e);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < spec->subjects_count; i++)
        if (subject_same(&spec->subjects[i], &wanted)) {
            spec->reference = i;
            return 0;
        }
    return err_set(e, ERR_INVALID, "/reference", "reference: \"%s\" is not among allocators",
                   wanted.allocator);
}

static int parse_repeat(const json_t *job, struct job_spec *spec, struct err *e)
{
    static const char *const known[] = {"rings",  "rotations", "slice_ops",
                                        "blocks", "warm_pct",  NULL};
    const json_t *json = json_object_get(job, "repeat");
    if (!json)
        return 0;
    int r = field_object(json, "/repeat", known, e);
    if (r == 0)
        r = field_u32(json, "/repeat", "rings", 1, JOB_REPEATS_MAX, &spec->rings, e);
    if (r == 0)
        r = field_u32(json, "/repeat", "blocks", 1, JOB_REPEATS_MAX, &spec->blocks, e);
    if (r == 0)
        r = field_u32(json, "/repeat", "warm_pct", 0, 1000, &spec->warm_pct, e);
    if (r == 0)
        r = field_rotations(json, "/repeat", &spec->rotations, e);
    if (r == 0)
        r = field_u64(json, "/repeat", "slice_ops", 100, UINT64_C(100000000), &spec->slice_ops, e);
    return r;
}

static int parse_limits(const json_t *job, struct job_spec *spec, struct err *e)
{
    static const char *const known[] = {"memory_bytes", "turn_ms", "wall_s", NULL};
    const json_t *json = json_object_get(job, "limits");
    if (!json)
        return 0;
    int r = field_object(json, "/limits", known, e);
    if (r == 0)
        r = field_size(json, "/limits", "memory_bytes", 0, UINT64_C(1) << 48,
                       &spec->memory_limit_bytes, e);
    if (r == 0)
        r = field_u32(json, "/limits", "turn_ms", 100, 600000, &spec->turn_ms_max, e);
    if (r == 0)
        r = field_u32(json, "/limits", "wall_s", 1, 3600, &spec->wall_s_max, e);
    return r;
}

static int parse_placement(const json_t *job, struct job_spec *spec, struct err *e)
{
    char name[24] = "compact";
    int r = field_text(job, "", "placement", name, sizeof name, e);
    if (r == 0)
        r = field_text(job, "", "cpuset", spec->cpuset, sizeof spec->cpuset, e);
    if (r < 0)
        return r;
    if (spec->cpuset[0] && !json_object_get(job, "placement"))
        text_copy(name, sizeof name, "explicit");
    int placement = placement_parse(name);
    if (placement < 0)
        return err_set(e, ERR_UNKNOWN_NAME, "/placement",
                       "placement: \"%s\" is not one of compact, scatter, one-per-core, "
                       "one-per-l3, numa-local, explicit",
                       name);
    spec->placement = (enum placement)placement;
    if ((spec->placement == PLACE_EXPLICIT) != (spec->cpuset[0] != '\0'))
        return err_set(e, ERR_INVALID, "/cpuset",
                       "cpuset: placement \"explicit\" and a cpuset such as \"0-3,8\" go together");
    return 0;
}

static int parse_mode(const json_t *job, struct job_spec *spec, struct err *e)
{
    char mode[16] = "ring";
    int r = field_text(job, "", "mode", mode, sizeof mode, e);
    if (r < 0)
        return r;
    if (strcmp(mode, "ring") != 0 && strcmp(mode, "solo") != 0)
        return err_set(e, ERR_INVALID, "/mode", "mode: \"%s\" is not ring or solo", mode);
    spec->solo = strcmp(mode, "solo") == 0;
    return 0;
}

static int parse_entries(const json_t *job, bool optional, const struct job_limits *limits,
                         struct job_spec *spec, struct err *e)
{
    const json_t *list = json_object_get(job, "workloads");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return err_set(e, ERR_INVALID, "/workloads",
                       "workloads: a list of at least one entry is needed (or \"preset\"); "
                       "GET /api/v1/workloads lists what there is");
    size_t count = json_array_size(list);
    if (count > JOB_ENTRIES_MAX)
        return err_set(e, ERR_TOO_LARGE, "/workloads", "workloads: %zu entries, at most %d", count,
                       JOB_ENTRIES_MAX);
    spec->entries = calloc(count, sizeof *spec->entries);
    if (!spec->entries)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    for (size_t i = 0; i < count; i++) {
        char at[64];
        snprintf(at, sizeof at, "/workloads/%zu", i);
        spec->entries[i].optional_pages = optional;
        int r = job_entry_parse(json_array_get(list, i), at, limits, &spec->entries[i], e);
        if (r < 0)
            return r;
        spec->entries_count++;
    }
    return 0;
}

static const struct profile *profile_find(const json_t *body, struct err *e)
{
    const json_t *json = json_object_get(body, "profile");
    const char *name = json ? json_string_value(json) : "quick";
    for (size_t i = 0; name && i < sizeof profiles / sizeof profiles[0]; i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    (void)err_set(e, ERR_UNKNOWN_NAME, "/profile", "profile: one of quick, full, demo is needed");
    return NULL;
}

static int parse_head(const json_t *job, struct job_spec *spec, struct err *e)
{
    int r = field_text(job, "", "preset", spec->preset, sizeof spec->preset, e);
    if (r == 0)
        r = field_text(job, "", "name", spec->name, sizeof spec->name, e);
    if (r == 0)
        r = parse_labels(json_object_get(job, "labels"), &spec->labels, e);
    if (r == 0)
        r = field_u64(job, "", "seed", 0, INT64_MAX, &spec->seed, e);
    if (r == 0)
        r = parse_placement(job, spec, e);
    if (r == 0)
        r = parse_mode(job, spec, e);
    if (r == 0)
        r = parse_limits(job, spec, e);
    if (r == 0)
        r = parse_repeat(job, spec, e);
    return r;
}

static int job_fill(const json_t *body, const json_t *job, const struct job_limits *limits,
                    struct job_spec *spec, struct err *e)
{
    static const char *const known[] = {
        "preset",    "profile", "name",   "labels", "allocators", "reference", "workloads",
        "placement", "cpuset",  "limits", "repeat", "seed",       "mode",      NULL};
    int r = field_object(body, "", known, e);
    if (r == 0)
        r = parse_head(job, spec, e);
    if (r == 0)
        r = parse_subjects(job, !json_object_get(body, "allocators"), limits, spec, e);
    if (r == 0)
        r = parse_reference(job, spec, e);
    if (r == 0)
        r = parse_entries(job, !json_object_get(body, "workloads"), limits, spec, e);
    return r;
}

/* jansson recurses per level; refuse before it does. Strings are skipped. */
static bool depth_ok(const char *text, size_t size)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JOB_DEPTH_MAX)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

DEFINE_CLEANUP(json_t *, json_decref)

int job_parse(const char *text, size_t size, const struct job_limits *limits,
              struct job_spec **ret_spec, struct err *e)
{
    if (!depth_ok(text, size))
        return err_set(e, ERR_MALFORMED, NULL, "JSON is nested deeper than %d levels",
                       JOB_DEPTH_MAX);
    json_error_t where;
    cleanup_(json_decref_p) json_t *body = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!body)
        return err_set(e, ERR_MALFORMED, NULL, "not JSON: line %d, column %d: %.200s", where.line,
                       where.column, where.text);
    if (!json_is_object(body))
        return err_set(e, ERR_INVALID, "", "a job is a JSON object");
    const struct profile *profile = profile_find(body, e);
    if (!profile)
        return -EINVAL;
    cleanup_(json_decref_p) json_t *job = job_merge(body, profile->name, e);
    if (!job)
        return -EINVAL;
    cleanup_(job_spec_free_p) struct job_spec *spec = calloc(1, sizeof *spec);
    if (!spec)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    text_copy(spec->profile, sizeof spec->profile, profile->name);
    spec->rings = profile->rings;
    spec->rotations = profile->rotations;
    spec->blocks = profile->blocks;
    spec->warm_pct = profile->warm_pct;
    spec->turn_ms_max = 10000;
    spec->wall_s_max = 120;
    int r = job_fill(body, job, limits, spec, e);
    if (r < 0)
        return r;
    *ret_spec = take_ptr(spec);
    return 0;
}
