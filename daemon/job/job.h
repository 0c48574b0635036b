/* A job: what was submitted, as typed data; and its expansion to groups and cells.
 *
 * job_parse() is the only reader of job JSON; it is given a body of at most HTTP's limit, rejects
 * duplicates, unknown fields, bad types and bounds with a JSON Pointer to the spot, and never
 * keeps a reference into the JSON. Pure apart from memory: no clock, no file, no database. */
#ifndef HEAPMARK_DAEMON_JOB_JOB_H
#define HEAPMARK_DAEMON_JOB_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/err.h"
#include "daemon/executor/executor.h"
#include "workloads/workload.h"

#define JOB_ENTRIES_MAX  64 /* entries of "workloads" */
#define JOB_SUBJECTS_MAX 64 /* entries of "allocators" */
#define JOB_VALUES_MAX   32 /* values of one parameter, threads or pages list */
#define JOB_CELLS_MAX    4096
#define JOB_LABEL_MAX    128 /* bytes of one label, NUL included */
#define JOB_NAME_MAX     128
#define JOB_REPEATS_MAX  1000
#define JOB_DEPTH_MAX    16 /* nesting of JSON */

enum job_state {
    JOB_QUEUED,
    JOB_CLAIMED,
    JOB_RUNNING,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_LOST,
    JOB_STATE_COUNT_
};
const char *job_state_name(enum job_state state);
int job_state_parse(const char *name); /* or -ENOENT */
bool job_state_final(enum job_state state);

/* Labels tie a job to its place in somebody's history. "" and 0 mean not given. */
struct job_labels {
    char project[JOB_LABEL_MAX], commit[JOB_LABEL_MAX], parent[JOB_LABEL_MAX];
    char branch[JOB_LABEL_MAX], tag[JOB_LABEL_MAX];
    uint64_t sequence;
    int64_t time_us; /* commit time */
};

struct job_subject {
    char allocator[48];
    char options[RING_OPTIONS_MAX][32]; /* sorted, unique */
    unsigned flags;                     /* RING_SUBJECT_*, from the catalogue */
    bool optional; /* listed by a preset, not by the client: may turn out unavailable */
};

/* One entry of "workloads": lists whose product is taken. */
struct job_entry {
    const struct workload *workload;
    uint32_t threads[JOB_VALUES_MAX], threads_count; /* "max" is UINT32_MAX until expansion */
    uint32_t pages[JOB_VALUES_MAX], pages_count;
    union param_value values[PARAMS_MAX][JOB_VALUES_MAX];
    uint32_t values_count[PARAMS_MAX];
    bool optional_pages; /* pages come from a preset: a mode may turn out unavailable */
    uint32_t repeats;    /* rings or blocks; 0: the job's */
    uint32_t rotations;  /* of a ring; 0: the job's */
    uint64_t slice_ops;  /* 0: the job's */
};

struct job_spec {
    char name[JOB_NAME_MAX];
    char preset[48], profile[16];
    struct job_labels labels;
    struct job_subject subjects[JOB_SUBJECTS_MAX];
    uint32_t subjects_count;
    uint32_t reference;        /* index into subjects */
    struct job_entry *entries; /* owned, entries_count */
    uint32_t entries_count;
    enum placement placement;
    char cpuset[256];
    uint64_t memory_limit_bytes;       /* per runner, 0 none */
    uint32_t rings, rotations, blocks; /* defaults of the profile unless given */
    uint64_t slice_ops;
    uint32_t warm_pct; /* of each workload's own warm-up */
    uint32_t turn_ms_max, wall_s_max;
    uint64_t seed; /* 0: drawn at submission, then stored */
    bool solo;     /* steady workloads as fresh solo trials instead of rings (bias checks) */
};

/* A group: everything equal but the axis. Its first cell is the control. */
struct job_group {
    const struct job_entry *entry;
    struct workload_point point; /* pages of the control for AXIS_PAGES */
    uint32_t cells_first, cells_count;
    char params_key[256]; /* canonical, defaults omitted */
    double step_seconds;  /* estimate of one ring or trial */
    uint64_t step_bytes;  /* estimate of its heaps together */
};

struct job_cell {
    uint32_t group;
    uint32_t subject; /* index into spec->subjects */
    struct workload_point point;
};

uint32_t job_group_repeats(const struct job_spec *spec, const struct job_group *group);
/* Steps of one repetition: rings (one per cell beside the control, at least one), or for one-shot
 * and solo groups one trial per cell and one more for the control (A/A). */
uint32_t job_group_steps(const struct job_spec *spec, const struct job_group *group);
/* Positions of a repetition that are rings; trials alone come after them. 0: all are trials. */
uint32_t job_group_rings(const struct job_spec *spec, const struct job_group *group);
uint32_t job_group_rotations(const struct job_spec *spec, const struct job_group *group);
uint64_t job_group_slice_ops(const struct job_spec *spec, const struct job_group *group);
uint64_t job_group_warm_ops(const struct job_spec *spec, const struct job_group *group);
bool job_group_in_rings(const struct job_spec *spec, const struct job_group *group);
/* Unmeasured operations before each slice (design of the ring: 4 x live, at least a quarter
 * slice, at most two slices). */
uint64_t job_replay_ops(const struct workload *w, const struct workload_point *point,
                        uint64_t slice_ops);
/* "thp-off,x" from a subject's options; "" when none. buf of JOB_OPTIONS_KEY_MAX. */
#define JOB_OPTIONS_KEY_MAX (RING_OPTIONS_MAX * 33)
void job_options_key(const struct job_subject *subject, char *buf);

struct job_plan {
    struct job_group *groups; /* owned */
    uint32_t groups_count;
    struct job_cell *cells; /* owned */
    uint32_t cells_count;
    uint32_t steps; /* rings and one-shot trials to run */
    double seconds_estimate;
    uint64_t memory_bytes_estimate; /* the largest ring's heaps together */
};

/* What parsing and expansion must know of this host. */
struct job_limits {
    uint32_t cpus_max;     /* CPUs a placement may use */
    uint32_t cores_max;    /* physical cores of them: what "max" means */
    uint64_t memory_bytes; /* of the host */
    /* Fill subject->flags. 0, or ERR_UNKNOWN_NAME / ERR_UNAVAILABLE with a message (package to
     * install). */
    int (*subject_check)(void *ctx, struct job_subject *subject, const char *field, struct err *e);
    /* 0, or ERR_UNAVAILABLE: this host cannot give that page mode, and what to do. */
    int (*pages_check)(void *ctx, enum page_mode mode, const char *field, struct err *e);
    void *ctx;
};

/* Body text to spec; a preset named in it is looked up and overridden field by field. */
int job_parse(const char *text, size_t size, const struct job_limits *limits,
              struct job_spec **ret_spec, struct err *e);
void job_spec_free(struct job_spec *spec);
DEFINE_CLEANUP(struct job_spec *, job_spec_free)

/* Canonical JSON of a spec, every default written out: what is stored and what a repeat needs. */
json_t *job_spec_json(const struct job_spec *spec);

int job_expand(const struct job_spec *spec, const struct job_limits *limits,
               struct job_plan **ret_plan, struct err *e);
void job_plan_free(struct job_plan *plan);
DEFINE_CLEANUP(struct job_plan *, job_plan_free)

/* Presets: job JSON files of schema/presets, embedded; each has "title" and "summary" beside the
 * job's own fields. */
struct job_preset {
    const char *name, *text;
};
const struct job_preset *job_preset_at(unsigned index); /* NULL past the last */

#endif
