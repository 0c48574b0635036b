#include "daemon/job/summarize.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/hash.h"
#include "daemon/job/solo.h"
#include "daemon/stats/stats.h"
#include "daemon/store/store.h"

struct values {
    struct store_value *rows;
    uint32_t count, capacity;
};

struct absent {
    uint32_t cell_idx;
    enum metric_id metric;
    char reason[RING_REASON_SIZE];
};

/* What the trials of a job had no value of, each cell's metric once. */
struct absences {
    struct absent *rows;
    uint32_t count, capacity;
};

/* They come by cell: one already kept is among the last. */
static int absence_keep(void *ctx, const struct store_absence *absence)
{
    struct absences *a = ctx;
    for (uint32_t i = a->count; i > 0 && a->rows[i - 1].cell_idx == absence->cell_idx; i--)
        if (a->rows[i - 1].metric == absence->metric)
            return 0;
    if (a->count == a->capacity) {
        uint32_t capacity = a->capacity ? 2 * a->capacity : 64;
        struct absent *rows = realloc(a->rows, capacity * sizeof *rows);
        if (!rows)
            return -ENOMEM;
        a->rows = rows;
        a->capacity = capacity;
    }
    struct absent *to = &a->rows[a->count++];
    to->cell_idx = absence->cell_idx;
    to->metric = absence->metric;
    snprintf(to->reason, sizeof to->reason, "%s", absence->reason);
    return 0;
}

static int value_keep(void *ctx, const struct store_value *value)
{
    struct values *v = ctx;
    if (v->count == v->capacity) {
        uint32_t capacity = v->capacity ? 2 * v->capacity : 1024;
        struct store_value *rows = realloc(v->rows, capacity * sizeof *rows);
        if (!rows)
            return -ENOMEM;
        v->rows = rows;
        v->capacity = capacity;
    }
    v->rows[v->count++] = *value;
    return 0;
}

/* Group, metric, repetition, then ring: what belongs together comes together. */
static int value_order(const void *a, const void *b)
{
    const struct store_value *x = a, *y = b;
    if (x->group_idx != y->group_idx)
        return x->group_idx < y->group_idx ? -1 : 1;
    if (x->metric != y->metric)
        return x->metric < y->metric ? -1 : 1;
    if (x->repetition != y->repetition)
        return x->repetition < y->repetition ? -1 : 1;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return (x->runner_idx > y->runner_idx) - (x->runner_idx < y->runner_idx);
}

/* All values of one metric of one group. */
struct slab {
    const struct store_value *rows;
    uint32_t count;
};

/* Slabs of sorted values by group and metric: index of group * METRIC_COUNT_ + metric. */
static struct slab *slabs_new(const struct values *v, uint32_t groups_count)
{
    struct slab *slabs = calloc((size_t)groups_count * METRIC_COUNT_ + 1, sizeof *slabs);
    for (uint32_t i = 0; slabs && i < v->count; i++) {
        const struct store_value *row = &v->rows[i];
        if (row->group_idx >= groups_count || (unsigned)row->metric >= METRIC_COUNT_)
            continue;
        struct slab *s = &slabs[(size_t)row->group_idx * METRIC_COUNT_ + row->metric];
        if (!s->rows)
            s->rows = row;
        s->count++;
    }
    return slabs;
}

/* Partner of a row: same repetition, and for one of a ring the same ring, for a trial another
 * trial. NaN when there is none. */
static double partner(const struct slab *s, const struct store_value *of, uint32_t rings,
                      enum exec_role role)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const struct store_value *r = &s->rows[i];
        if (r->repetition == of->repetition && r->role == role &&
            (of->position < rings ? r->position == of->position : r->position >= rings))
            return r->value;
    }
    return NAN;
}

static double log_ratio(double a, double b)
{
    return a > 0 && b > 0 ? log(a / b) : NAN;
}

/* The sign that turns a ratio of times into a ratio of this metric; 0: not a time of the slices. */
static int slices_sign(const struct workload *w, enum metric_id metric)
{
    if (w->kind != WORKLOAD_STEADY)
        return 0;
    if (metric == METRIC_PAIRS_PER_S)
        return -1;
    return metric == METRIC_NS_PER_PAIR || metric == w->metrics[0] ? 1 : 0;
}

struct context {
    const struct job_spec *spec;
    const struct job_plan *plan;
    struct slab *slabs;
    struct store_summary *rows;
    uint32_t rows_count;
    char (*protocol_keys)[65]; /* by group */
    char (*solo_keys)[65];     /* by group: of cells measured alone beside rings */
    bool *alone;               /* by cell */
    bool *soloed;              /* by cell: has values of trials beside rings */
    char unsteady[96]; /* why heap figures of replaced blocks are not steady; "": they are */
};

static const struct slab *slab_of(const struct context *c, uint32_t group_idx,
                                  enum metric_id metric)
{
    return &c->slabs[(size_t)group_idx * METRIC_COUNT_ + metric];
}

/* One ring's (or block's) word on a cell. */
static struct stats_cell_ring ring_word(const struct context *c, const struct job_group *group,
                                        uint32_t group_idx, const struct slab *s,
                                        const struct store_value *row)
{
    uint32_t rings = job_group_rings(c->spec, group);
    int sign = row->position < rings ? slices_sign(group->entry->workload, row->metric) : 0;
    struct stats_cell_ring word = {.value = row->value, .log_ratio = NAN, .log_control = NAN};
    if (sign != 0) { /* paired slice by slice, far sharper than the ratio of two medians */
        const struct slab *ratios = slab_of(c, group_idx, METRIC_RING_LOG_RATIO);
        word.log_ratio = sign * partner(ratios, row, rings, row->role);
        word.log_control = sign * partner(ratios, row, rings, ROLE_CONTROL);
        return word;
    }
    double reference = partner(s, row, rings, ROLE_REFERENCE);
    word.log_ratio = log_ratio(row->value, reference);
    word.log_control = log_ratio(partner(s, row, rings, ROLE_CONTROL), reference);
    return word;
}

/* Whether a cell's metric comes from trials it ran alone beside its rings. What made it run alone
 * stays what the rings said. */
static enum store_measured measured_of(const struct context *c, const struct job_group *group,
                                       uint32_t cell_idx, const struct slab *s)
{
    uint32_t rings = job_group_rings(c->spec, group);
    if (rings == 0)
        return MEASURED_TRIAL;
    for (uint32_t i = 0; c->alone[cell_idx] && i < s->count; i++)
        if (s->rows[i].cell_idx == cell_idx && s->rows[i].position >= rings &&
            s->rows[i].role != ROLE_CONTROL && s->rows[i].metric != METRIC_CPU_OUTSIDE_RATIO)
            return MEASURED_SOLO;
    return MEASURED_RING;
}

/* The A/A repeat is the noise of its ring, never a result of the reference. */
static bool row_counts(const struct store_value *row, uint32_t cell_idx, uint32_t rings,
                       bool from_rings)
{
    return row->cell_idx == cell_idx && row->role != ROLE_CONTROL &&
           (row->position < rings) == from_rings;
}

static double median_of(const struct stats_cell_ring *words, uint32_t count, double *scratch,
                        double (*pick)(const struct stats_cell_ring *word))
{
    double median;
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(pick(&words[i])))
            scratch[n++] = pick(&words[i]);
    return n > 0 && stats_median(scratch, n, &median) == 0 ? median : NAN;
}

static double pick_value(const struct stats_cell_ring *word)
{
    return word->value;
}

static double pick_control(const struct stats_cell_ring *word)
{
    return word->log_control;
}

/* The reference stands in every ring of a repetition. Those rings share tape and minute, so they
 * are one observation, not several: its median. words[i] is of repetition repetitions[i],
 * ascending. Returns how many are left. */
static uint32_t words_collapse(struct stats_cell_ring *words, const uint32_t *repetitions,
                               uint32_t count, double *scratch)
{
    uint32_t kept = 0;
    for (uint32_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && repetitions[i + n] == repetitions[i];)
            n++;
        words[kept++] = (struct stats_cell_ring){
            .value = median_of(&words[i], n, scratch, pick_value),
            .log_ratio = NAN,
            .log_control = median_of(&words[i], n, scratch, pick_control),
        };
    }
    return kept;
}

/* Whether a row of the reference is from a ring that a subject disturbs: one measured alone for
 * what it does outside its turns. */
static bool row_disturbed(const struct context *c, const struct job_group *group,
                          const struct store_value *row)
{
    return row->position < job_group_rings(c->spec, group) &&
           row->position + 1 < group->cells_count &&
           c->alone[group->cells_first + 1 + row->position];
}

/* Whether the reference has a row of an undisturbed ring: then the others are left out. */
static bool has_undisturbed(const struct context *c, const struct job_group *group,
                            const struct slab *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (row_counts(&s->rows[i], group->cells_first, job_group_rings(c->spec, group), true) &&
            !row_disturbed(c, group, &s->rows[i]))
            return true;
    return false;
}

/* Every ring's word on a cell into words[s->count]; the control's, one per repetition. Returns
 * how many, or -ENOMEM. */
static int cell_words(const struct context *c, uint32_t group_idx, uint32_t cell_idx,
                      const struct slab *s, bool from_rings, struct stats_cell_ring *words)
{
    const struct job_group *group = &c->plan->groups[group_idx];
    cleanup_(free_p) uint32_t *repetitions = calloc(s->count + 1, sizeof *repetitions);
    cleanup_(free_p) double *scratch = calloc(s->count + 1, sizeof *scratch);
    uint32_t count = 0;
    if (!repetitions || !scratch)
        return -ENOMEM;
    bool choosy = from_rings && cell_idx == group->cells_first && has_undisturbed(c, group, s);
    for (uint32_t i = 0; i < s->count; i++) {
        if (!row_counts(&s->rows[i], cell_idx, job_group_rings(c->spec, group), from_rings))
            continue;
        if (choosy && row_disturbed(c, group, &s->rows[i]))
            continue;
        repetitions[count] = s->rows[i].repetition;
        words[count++] = ring_word(c, group, group_idx, s, &s->rows[i]);
    }
    if (cell_idx == group->cells_first)
        count = words_collapse(words, repetitions, count, scratch);
    return (int)count;
}

/* How far a ratio of the reference to itself strays from 1, bias included. */
static double noise_of(const struct stats_estimate *control)
{
    return control->count ? fmax(fabs(log(control->low)), fabs(log(control->high))) : NAN;
}

/* What only enough replacements bring to where it stays. live_bytes comes from the tape. */
static bool is_heap_figure(enum metric_id metric)
{
    const char *name = metrics[metric].name;
    return strncmp(name, "frag_", 5) == 0 || strncmp(name, "heap_", 5) == 0 ||
           strncmp(name, "allocator_", 10) == 0;
}

static bool is_unsteady(const struct context *c, const struct job_group *group,
                        enum metric_id metric)
{
    const struct workload *w = group->entry->workload;
    return c->unsteady[0] && w->kind == WORKLOAD_STEADY && w->tape == TAPE_CHURN &&
           is_heap_figure(metric);
}

/* Rings that CPU time outside turns biases are all there is: not yet, or never measured alone. */
static const char missed_alone[] =
    "from rings that CPU time used outside turns disturbs; not measured alone";

static int cell_summary(struct context *c, uint32_t group_idx, uint32_t cell_idx,
                        enum metric_id metric, const struct slab *s)
{
    cleanup_(free_p) struct stats_cell_ring *words = calloc(s->count + 1, sizeof *words);
    struct stats_cell cell;
    if (!words)
        return -ENOMEM;
    bool control = cell_idx == c->plan->groups[group_idx].cells_first;
    enum store_measured measured = measured_of(c, &c->plan->groups[group_idx], cell_idx, s);
    int count = cell_words(c, group_idx, cell_idx, s, measured == MEASURED_RING, words);
    if (count <= 0)
        return count;
    int r = stats_cell(words, (uint32_t)count, SUMMARY_CONFIDENCE, &cell);
    if (r < 0)
        return r;
    const struct stats_estimate *a = &cell.absolute, *q = &cell.ratio;
    bool paired = !control && q->count > 0;
    bool unsteady = is_unsteady(c, &c->plan->groups[group_idx], metric);
    bool missed = c->alone[cell_idx] && !c->soloed[cell_idx];
    c->rows[c->rows_count++] = (struct store_summary){
        .cell_idx = cell_idx,
        .metric = metric,
        .count = paired && q->count < a->count ? q->count : a->count,
        .value = a->value,
        .low = a->low,
        .high = a->high,
        .confidence = paired ? fmin(a->confidence, q->confidence) : a->confidence,
        .ratio = control ? 1.0 : q->value,
        .ratio_low = control ? 1.0 : q->low,
        .ratio_high = control ? 1.0 : q->high,
        .noise = noise_of(&cell.control),
        .null_share = NAN,
        .unsteady = unsteady,
        .reason = unsteady ? c->unsteady
                  : missed ? missed_alone
                           : "",
        .measured = measured,
        .protocol_key =
            measured == MEASURED_SOLO ? c->solo_keys[group_idx] : c->protocol_keys[group_idx],
    };
    return 0;
}

static struct store_summary *row_find(struct context *c, uint32_t cell_idx, enum metric_id metric)
{
    for (uint32_t i = 0; i < c->rows_count; i++)
        if (c->rows[i].cell_idx == cell_idx && c->rows[i].metric == metric)
            return &c->rows[i];
    return NULL;
}

/* What the harness itself takes of a pair: the null allocator's time / the subject's, each against
 * the reference of its own ring, so drift between rings cancels. An upper bound: harness and
 * allocator overlap in the processor. */
static void group_null_share(struct context *c, const struct job_group *group)
{
    static const enum metric_id marked[] = {METRIC_PAIRS_PER_S, METRIC_NS_PER_PAIR};
    const struct store_summary *null_row = NULL;
    for (uint32_t i = 0; i < group->cells_count; i++) {
        const struct job_cell *cell = &c->plan->cells[group->cells_first + i];
        if (c->spec->subjects[cell->subject].flags & RING_SUBJECT_NULL)
            null_row = row_find(c, group->cells_first + i, METRIC_PAIRS_PER_S);
    }
    if (!null_row || !(null_row->ratio > 0))
        return;
    double null_rate = null_row->ratio;
    for (uint32_t i = 0; i < group->cells_count; i++) {
        const struct store_summary *rate = row_find(c, group->cells_first + i, METRIC_PAIRS_PER_S);
        if (!rate)
            continue;
        double share = rate->ratio / null_rate;
        if (!isfinite(share))
            continue;
        for (size_t m = 0; m < sizeof marked / sizeof marked[0]; m++) {
            struct store_summary *row = row_find(c, group->cells_first + i, marked[m]);
            if (!row)
                continue;
            row->null_share = share < 1 ? share : 1;
            row->harness_bound = share > HARNESS_BOUND;
        }
    }
}

/* A row without a value for what no trial of a cell had, with the reason. */
static int summarize_absences(struct context *c, const struct absences *absences)
{
    cleanup_(free_p) bool *has = calloc((size_t)c->plan->cells_count * METRIC_COUNT_ + 1, 1);
    if (!has)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->rows_count; i++)
        has[(size_t)c->rows[i].cell_idx * METRIC_COUNT_ + c->rows[i].metric] = true;
    for (uint32_t i = 0; i < absences->count; i++) {
        const struct absent *a = &absences->rows[i];
        if (a->cell_idx >= c->plan->cells_count ||
            has[(size_t)a->cell_idx * METRIC_COUNT_ + a->metric])
            continue;
        c->rows[c->rows_count++] = (struct store_summary){
            .cell_idx = a->cell_idx,
            .metric = a->metric,
            .value = NAN,
            .low = NAN,
            .high = NAN,
            .confidence = NAN,
            .ratio = NAN,
            .ratio_low = NAN,
            .ratio_high = NAN,
            .noise = NAN,
            .null_share = NAN,
            .reason = a->reason,
            .protocol_key = c->protocol_keys[c->plan->cells[a->cell_idx].group],
        };
    }
    return 0;
}

void summarize_protocol_key(const struct job_spec *spec, const struct job_group *group,
                            const char *reference_sha256, char ret_key[65])
{
    char options[JOB_OPTIONS_KEY_MAX], text[1536];
    const struct job_subject *reference = &spec->subjects[spec->reference];
    job_options_key(reference, options);
    snprintf(text, sizeof text,
             "harness=%s workload=%s params=%s threads=%u pages=%s mode=%s rotations=%u "
             "slice_ops=%llu warm_ops=%llu reference=%s options=%s placement=%s cpuset=%s "
             "memory_limit=%llu",
             ring_build_id(), group->entry->workload->name, group->params_key, group->point.threads,
             page_mode_name(group->point.pages),
             job_group_in_rings(spec, group) ? "ring3" : "trial", job_group_rotations(spec, group),
             (unsigned long long)job_group_slice_ops(spec, group),
             (unsigned long long)job_group_warm_ops(spec, group), reference_sha256, options,
             placement_name(spec->placement), spec->cpuset,
             (unsigned long long)spec->memory_limit_bytes);
    hash_sha256_hex(text, strlen(text), ret_key);
    ret_key[32] = '\0';
}

/* Trials beside the rings of a group are another way to measure, and another history. */
static void solo_key_make(const char *protocol_key, char ret_key[65])
{
    char text[128];
    snprintf(text, sizeof text, "solo beside rings of %s", protocol_key);
    hash_sha256_hex(text, strlen(text), ret_key);
    ret_key[32] = '\0';
}

static int alone_find(struct context *c, const struct values *values)
{
    struct solo solo;
    int r = solo_begin(&solo, c->spec, c->plan);
    for (uint32_t i = 0; r == 0 && i < values->count; i++) {
        const struct store_value *row = &values->rows[i];
        r = solo_value(&solo, row);
        if (row->group_idx < c->plan->groups_count && row->cell_idx < c->plan->cells_count &&
            row->role != ROLE_CONTROL)
            c->soloed[row->cell_idx] |=
                row->position >= job_group_rings(c->spec, &c->plan->groups[row->group_idx]);
    }
    if (r == 0)
        solo_decide(&solo, c->alone);
    solo_done(&solo);
    return r;
}

static int reference_sha_keep(void *ctx, const struct store_trial *trial)
{
    char *sha = ctx;
    if (trial->role == ROLE_REFERENCE && trial->sha256 && trial->sha256[0]) {
        snprintf(sha, 65, "%s", trial->sha256);
        return 1;
    }
    return 0;
}

static int summarize_groups(struct context *c)
{
    for (uint32_t g = 0; g < c->plan->groups_count; g++) {
        const struct job_group *group = &c->plan->groups[g];
        for (int m = 0; m < METRIC_COUNT_; m++) {
            const struct slab *s = slab_of(c, g, (enum metric_id)m);
            for (uint32_t i = 0; s->count && i < group->cells_count; i++) {
                int r = cell_summary(c, g, group->cells_first + i, (enum metric_id)m, s);
                if (r < 0)
                    return r;
            }
        }
        group_null_share(c, group);
    }
    return 0;
}

static int values_load(struct store *store, int64_t job_id, struct values *v,
                       struct absences *absences, char *sha, struct err *e)
{
    cleanup_(store_view_release_p) struct store_view *view = NULL;
    int r = store_view_acquire(store, 10000, &view, e);
    if (r == 0)
        r = store_view_values(view, job_id, 0, value_keep, v, e);
    if (r == 0)
        r = store_view_absences(view, job_id, 0, absence_keep, absences, e);
    if (r < 0)
        return r;
    const struct store_trial_filter filter = {.job_id = job_id, .cell_idx = -1};
    r = store_view_trials(view, &filter, reference_sha_keep, sha, e);
    return r < 0 ? r : 0;
}

int summarize_job(struct store *store, int64_t job_id, const char *host_key,
                  const struct job_spec *spec, const struct job_plan *plan, struct err *e)
{
    struct values values = {0};
    struct absences absences = {0};
    char sha[65] = "";
    int r = values_load(store, job_id, &values, &absences, sha, e);
    struct context c = {
        .spec = spec,
        .plan = plan,
        .rows = calloc((size_t)plan->cells_count * METRIC_COUNT_ + 1, sizeof *c.rows),
        .protocol_keys = calloc(plan->groups_count + 1, sizeof *c.protocol_keys),
        .solo_keys = calloc(plan->groups_count + 1, sizeof *c.solo_keys),
        .alone = calloc(plan->cells_count + 1, sizeof *c.alone),
        .soloed = calloc(plan->cells_count + 1, sizeof *c.soloed),
    };
    if (spec->warm_pct < 100)
        snprintf(c.unsteady, sizeof c.unsteady,
                 "read after %u%% of the workload's own warm-up: not steady yet", spec->warm_pct);
    if (r == 0 && (!c.rows || !c.protocol_keys || !c.solo_keys || !c.alone || !c.soloed))
        r = err_set(e, ERR_INTERNAL, NULL, "out of memory");
    if (r == 0) {
        if (values.count)
            qsort(values.rows, values.count, sizeof *values.rows, value_order);
        c.slabs = slabs_new(&values, plan->groups_count);
        for (uint32_t g = 0; g < plan->groups_count; g++) {
            summarize_protocol_key(spec, &plan->groups[g], sha, c.protocol_keys[g]);
            solo_key_make(c.protocol_keys[g], c.solo_keys[g]);
        }
        r = c.slabs ? alone_find(&c, &values) : -ENOMEM;
        if (r == 0)
            r = summarize_groups(&c);
        if (r == 0)
            r = summarize_absences(&c, &absences);
        if (r < 0)
            r = err_set(e, ERR_INTERNAL, NULL, "out of memory");
    }
    if (r == 0)
        r = store_summaries_put(store, job_id, host_key, c.rows, c.rows_count, e);
    free(values.rows);
    free(absences.rows);
    free(c.slabs);
    free(c.rows);
    free(c.protocol_keys);
    free(c.solo_keys);
    free(c.alone);
    free(c.soloed);
    return r;
}
