/* The canonical JSON of a job: every default written out, so that it alone repeats the job. */
#include "daemon/job/job.h"

#include <string.h>

#include "daemon/base/clock.h"

static json_t *value_json(const struct param_row *row, union param_value value)
{
    switch (row->type) {
    case PARAM_F64:
        return json_real(value.f);
    case PARAM_ENUM:
        return json_string(row->choices[value.u]);
    case PARAM_BOOL:
        return json_boolean(value.u != 0);
    default:
        return json_integer((json_int_t)value.u);
    }
}

static json_t *entry_json(const struct job_entry *entry)
{
    const struct workload *w = entry->workload;
    json_t *params = json_object(), *threads = json_array(), *pages = json_array();
    for (unsigned i = 0; i < w->params_count; i++) {
        json_t *list = json_array();
        for (uint32_t k = 0; k < entry->values_count[i]; k++)
            json_array_append_new(list, value_json(&w->params[i], entry->values[i][k]));
        if (entry->values_count[i] == 0)
            json_array_append_new(list, value_json(&w->params[i], w->params[i].def));
        json_object_set_new(params, w->params[i].name, list);
    }
    for (uint32_t i = 0; i < entry->threads_count; i++)
        json_array_append_new(threads, json_integer(entry->threads[i]));
    for (uint32_t i = 0; i < entry->pages_count; i++)
        json_array_append_new(pages, json_string(page_mode_name(entry->pages[i])));
    json_t *json = json_pack("{s:s, s:o, s:o, s:o}", "workload", w->name, "params", params,
                             "threads", threads, "pages", pages);
    if (entry->repeats)
        json_object_set_new(json, "repeats", json_integer(entry->repeats));
    if (entry->rotations)
        json_object_set_new(json, "rotations", json_integer(entry->rotations));
    if (entry->slice_ops)
        json_object_set_new(json, "slice_ops", json_integer((json_int_t)entry->slice_ops));
    return json;
}

static json_t *subject_json(const struct job_subject *subject)
{
    if (!subject->options[0][0])
        return json_string(subject->allocator);
    json_t *options = json_array();
    for (unsigned i = 0; i < RING_OPTIONS_MAX && subject->options[i][0]; i++)
        json_array_append_new(options, json_string(subject->options[i]));
    return json_pack("{s:s, s:o}", "name", subject->allocator, "options", options);
}

static void label_set(json_t *labels, const char *name, const char *value)
{
    if (value[0])
        json_object_set_new(labels, name, json_string(value));
}

static json_t *labels_json(const struct job_labels *l)
{
    json_t *labels = json_object();
    label_set(labels, "project", l->project);
    label_set(labels, "commit", l->commit);
    label_set(labels, "parent", l->parent);
    label_set(labels, "branch", l->branch);
    label_set(labels, "tag", l->tag);
    if (l->sequence)
        json_object_set_new(labels, "sequence", json_integer((json_int_t)l->sequence));
    if (l->time_us) {
        char text[32];
        clock_format_utc(l->time_us, text);
        json_object_set_new(labels, "time", json_string(text));
    }
    return labels;
}

json_t *job_spec_json(const struct job_spec *spec)
{
    json_t *allocators = json_array(), *workloads_list = json_array();
    for (uint32_t i = 0; i < spec->subjects_count; i++)
        json_array_append_new(allocators, subject_json(&spec->subjects[i]));
    for (uint32_t i = 0; i < spec->entries_count; i++)
        json_array_append_new(workloads_list, entry_json(&spec->entries[i]));
    json_t *repeat = json_pack("{s:i, s:i, s:i, s:i}", "rings", spec->rings, "rotations",
                               spec->rotations, "blocks", spec->blocks, "warm_pct", spec->warm_pct);
    if (spec->slice_ops)
        json_object_set_new(repeat, "slice_ops", json_integer((json_int_t)spec->slice_ops));
    json_t *limits =
        json_pack("{s:I, s:i, s:i}", "memory_bytes", (json_int_t)spec->memory_limit_bytes,
                  "turn_ms", spec->turn_ms_max, "wall_s", spec->wall_s_max);
    json_t *json =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:s}", "profile", spec->profile,
                  "labels", labels_json(&spec->labels), "allocators", allocators, "reference",
                  subject_json(&spec->subjects[spec->reference]), "workloads", workloads_list,
                  "placement", placement_name(spec->placement), "limits", limits, "repeat", repeat,
                  "seed", (json_int_t)spec->seed, "mode", spec->solo ? "solo" : "ring");
    if (spec->preset[0])
        json_object_set_new(json, "preset", json_string(spec->preset));
    if (spec->name[0])
        json_object_set_new(json, "name", json_string(spec->name));
    if (spec->cpuset[0])
        json_object_set_new(json, "cpuset", json_string(spec->cpuset));
    return json;
}
