/* ./dev bench baton: how sharply two runners in a ring compare, beside the same time spent on two
 * processes one after the other, on the host as it is and beside a neighbour that computes in
 * bursts; and whether ring ratios agree with the best solo runs.
 *
 * Everything goes through the real path: node code, supervisor, runners. An allocator is compared
 * with itself (A/A), so every spread printed is noise and every bias is error. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/hash.h"
#include "daemon/config/config.h"
#include "daemon/node/node.h"
#include "daemon/stats/stats.h"
#include "tests/bench/neighbour.h"
#include "tests/bench/report.h"
#include "tests/lib/remove_tree.h"

#define LIVE            10000
#define RINGS           24
#define NEIGHBOUR_RINGS 16 /* at most RINGS */
#define ROTATIONS       100
#define SLICE_OPS       20000
#define SOLOS           8

static const char *const allocators[] = {"jemalloc", "tcmalloc", "mimalloc", "classic-first"};
#define ALLOCATORS_COUNT (sizeof allocators / sizeof allocators[0])

static struct report *report;
static struct node *node;
static const _Atomic bool never;
static uint16_t cpus[RING_THREADS_MAX]; /* of the latest ring; placement gives all the same */
static uint32_t cpus_count;
static char state[] = "/tmp/heapmark-bench-XXXXXX"; /* the supervisor's directory */

/* The programs stand in bin/, beside the directory this one is in. */
static void program_set(struct config *config, const char *key, const char *name)
{
    char self[PATH_MAX] = "", setting[2 * PATH_MAX];
    struct err e = {0};
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        report_fail(report, "no /proc/self/exe");
    *strrchr(self, '/') = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(setting, sizeof setting, "%s=%s/bin/%s", key, self, name);
    if (config_set(config, setting, &e) < 0)
        report_fail(report, "%s", e.message);
}

static void start_node(const struct topo *topo)
{
    static struct config config;
    struct node_config c = {.topo = topo, .pin_self = true};
    struct err e = {0};
    if (!mkdtemp(state))
        report_fail(report, "no temporary directory");
    config_init(&config);
    program_set(&config, "supervisor.path", "heapmark-supervisor");
    program_set(&config, "supervisor.runner", "heapmark-runner");
    if (config_resolve(&config, &e) < 0)
        report_fail(report, "%s", e.message);
    c.supervisor.supervisor_path = config.supervisor_path;
    c.supervisor.runner_path = config.runner_path;
    c.supervisor.state_dir = state;
    c.supervisor.log_level = LOG_LEVEL_WARNING;
    c.supervisor.log_format = "text";
    for (uint32_t i = 0; i < config.catalog_dirs.count && i < SUPERVISOR_DIRS; i++)
        c.supervisor.catalog_dirs[i] = config.catalog_dirs.items[i];
    for (uint32_t i = 0; i < config.library_dirs.count && i < SUPERVISOR_DIRS; i++)
        c.supervisor.library_dirs[i] = config.library_dirs.items[i];
    if (node_start(&c, &node, &e) < 0)
        report_fail(report, "%s", e.message);
}

/* `names[count]` in one ring of so many rotations. */
static void ring_run(const char *const *names, uint32_t count, uint32_t rotations, uint64_t seed,
                     struct exec_result *result)
{
    const struct workload *w = workload_find("table-churn");
    struct exec_request q = {
        .attempt = "bench",
        .workload = w,
        .subjects_count = count,
        .seed = seed,
        .tape_seed = 1,
        .rotations = rotations,
        .slice_ops = SLICE_OPS,
        .placement = PLACE_COMPACT,
        .turn_ms_max = 20000,
        .wall_ms_max = 120000,
    };
    struct err e = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct workload_point *p = &q.subjects[i].point;
        workload_defaults(w, p);
        p->params[param_find(w->params, w->params_count, "live")].u = LIVE;
        p->params[param_find(w->params, w->params_count, "remote_pct")].u = 0;
        snprintf(q.subjects[i].allocator, sizeof q.subjects[i].allocator, "%s", names[i]);
    }
    q.warm_ops = w->warm_ops(&q.subjects[0].point);
    q.replay_ops = 4 * LIVE;
    if (node_run(node, &q, &never, result, &e) < 0)
        report_fail(report, "%s: %s", names[0], e.message);
    for (uint32_t i = 0; i < count; i++)
        if (result->runners[i].outcome != OUTCOME_OK)
            report_fail(report, "%s: %s: %s", names[i],
                        wire_outcome_name(result->runners[i].outcome), result->runners[i].message);
    memcpy(cpus, result->cpus, sizeof cpus);
    cpus_count = result->cpus_count;
}

static double metric_of(const struct exec_runner_result *r, enum metric_id metric)
{
    for (uint32_t i = 0; i < r->metrics_count; i++)
        if (r->metrics[i].metric == metric)
            return r->metrics[i].value;
    report_fail(report, "a run brought no %s", metrics[metric].name);
}

/* What everybody else compares: total time of the measured operations. */
static double mean_ns(const struct exec_runner_result *r)
{
    double ns = 0, ops = 0;
    for (uint32_t i = 0; i < r->slices_count; i++) {
        ns += (double)(r->slices[i].end_ns - r->slices[i].start_ns);
        ops += (double)r->slices[i].ops;
    }
    return ns / ops;
}

/* ret_best: lowered to this run's median slice if that is smaller. */
static double solo_mean(const char *name, uint32_t rotations, uint64_t seed, double *ret_best)
{
    static struct exec_result result;
    ring_run(&name, 1, rotations, seed, &result);
    double mean = mean_ns(&result.runners[0]);
    double median = metric_of(&result.runners[0], METRIC_NS_PER_PAIR);
    if (ret_best && median < *ret_best)
        *ret_best = median;
    exec_result_done(&result);
    return mean;
}

static double sd_of(const double *values, uint32_t count)
{
    struct stats_moments m;
    return stats_moments(values, count, &m) < 0 ? NAN : m.sd;
}

/* ---- what a process keeps ---- */

/* Log medians of a runner's slices: of the ring's first and third quarter together, and of its
 * second and fourth. What a process has for its life is in both; noise of the host is in one. */
static void log_medians(const struct exec_runner_result *r, double ret_logs[2])
{
    double ns[2][ROTATIONS];
    uint32_t counts[2] = {0};
    if (r->slices_count < 8 || r->slices_count > ROTATIONS)
        report_fail(report, "a runner brought %u slices", r->slices_count);
    for (uint32_t i = 0; i < r->slices_count; i++) {
        const struct ring_slice *slice = &r->slices[i];
        const uint32_t part = 4 * i / r->slices_count % 2;
        ns[part][counts[part]++] = (double)(slice->end_ns - slice->start_ns) / (double)slice->ops;
    }
    for (unsigned part = 0; part < 2; part++) {
        double median = NAN;
        (void)stats_median(ns[part], counts[part], &median);
        ret_logs[part] = log(median);
    }
}

/* Covariance of the two parts over runners, each relative to its ring's mean. */
struct kept {
    double products;
    uint32_t freedom; /* a ring's mean takes one of its runners' */
};

static void kept_add(struct kept *kept, const struct exec_result *result)
{
    double logs[RING_RUNNERS_MAX][2], means[2] = {0};
    const uint32_t count = result->runners_count;
    for (uint32_t i = 0; i < count; i++) {
        log_medians(&result->runners[i], logs[i]);
        for (unsigned part = 0; part < 2; part++)
            means[part] += logs[i][part] / count;
    }
    for (uint32_t i = 0; i < count; i++)
        kept->products += (logs[i][0] - means[0]) * (logs[i][1] - means[1]);
    kept->freedom += count - 1;
}

/* The same as sd of a ratio of two runners. */
static double kept_sd(const struct kept *kept)
{
    return sqrt(2 * fmax(0, kept->products / kept->freedom));
}

/* ---- noise ---- */

static void report_percents(const char *what, double *values, uint32_t count, double sd)
{
    char text[160];
    struct report_value v = {.what = text, .unit = "%", .spread = "min-max"};
    for (uint32_t i = 0; i < count; i++)
        values[i] *= 100;
    snprintf(text, sizeof text, "%s (sd %.2f%%)", what, 100 * sd);
    report_spread(values, count, &v);
    report_value(report, &v);
}

/* The sd of a ring in two parts: what a process keeps, which taking turns cannot cancel and only
 * more rings average out, and the rest: what taking turns left of the host's noise. */
static void report_parts(const char *name, double ring_sd, double kept)
{
    const double rest = sqrt(fmax(0, ring_sd * ring_sd - kept * kept));
    char text[96];
    struct report_value v = {.what = text, .unit = "%", .spread = "part of the ring's sd"};
    snprintf(text, sizeof text, "%s, kept by a process for its life", name);
    v.median = v.low = v.high = 100 * kept;
    report_value(report, &v);
    snprintf(text, sizeof text, "%s, left of the host's noise", name);
    v.median = v.low = v.high = 100 * rest;
    report_value(report, &v);
}

struct noise {
    double ring_sd, pair_sd;
};

/* A/A of one allocator: rings and sequential pairs in turns, so both see the same machine. */
static struct noise noise_of(const char *name, uint32_t rings, uint64_t seed)
{
    const char *const names[3] = {name, name, name};
    static struct exec_result result;
    double ring[2 * RINGS], pair[RINGS];
    struct kept kept = {0};
    char what[96];
    for (uint32_t i = 0; i < rings; i++) {
        ring_run(names, 3, ROTATIONS, hash_mix(seed, i), &result);
        ring[2 * i] = metric_of(&result.runners[1], METRIC_RING_LOG_RATIO);
        ring[2 * i + 1] = metric_of(&result.runners[2], METRIC_RING_LOG_RATIO);
        kept_add(&kept, &result);
        exec_result_done(&result);
        /* The ring measured 3 x ROTATIONS slices: a pair of the same total. */
        double a = solo_mean(name, 3 * ROTATIONS / 2, hash_mix(seed + 1, i), NULL);
        double b = solo_mean(name, 3 * ROTATIONS / 2, hash_mix(seed + 2, i), NULL);
        pair[i] = log(a / b);
    }
    const struct noise noise = {sd_of(ring, 2 * rings), sd_of(pair, rings)};
    snprintf(what, sizeof what, "%s A/A, one ring", name);
    report_percents(what, ring, 2 * rings, noise.ring_sd);
    report_parts(name, noise.ring_sd, kept_sd(&kept));
    snprintf(what, sizeof what, "%s A/A, sequential pair", name);
    report_percents(what, pair, rings, noise.pair_sd);
    return noise;
}

/* Worst ratio of the sds of rings and pairs, while another process takes the runners' CPUs in
 * bursts. */
static double noise_beside_neighbour(void)
{
    static const char *const names[] = {"tcmalloc", "mimalloc"};
    double worst = 0;
    report_say(report,
               "beside a neighbour: the same, %d rings, another process computes in bursts "
               "on the runners' CPUs",
               NEIGHBOUR_RINGS);
    const pid_t neighbour = neighbour_start(cpus, cpus_count, 23);
    if (neighbour < 0)
        report_fail(report, "no neighbour: %s", strerror((int)-neighbour));
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct noise noise = noise_of(names[i], NEIGHBOUR_RINGS, 24);
        worst = fmax(worst, noise.ring_sd / noise.pair_sd);
    }
    if (neighbour_stop(neighbour) < 0)
        report_fail(report, "the neighbour did not stay");
    return worst;
}

/* ---- bias ---- */

/* Ring ratio of `name` to the first allocator against the ratio of the best slices run alone. */
static double bias_of(const char *name)
{
    const char *const names[3] = {allocators[0], allocators[0], name};
    static struct exec_result result;
    double ratios[SOLOS], best_reference = INFINITY, best_subject = INFINITY;
    for (uint32_t i = 0; i < SOLOS; i++) {
        ring_run(names, 3, ROTATIONS, hash_mix(20, i), &result);
        ratios[i] = exp(metric_of(&result.runners[2], METRIC_RING_LOG_RATIO));
        exec_result_done(&result);
        (void)solo_mean(names[0], ROTATIONS, hash_mix(21, i), &best_reference);
        (void)solo_mean(name, ROTATIONS, hash_mix(22, i), &best_subject);
    }
    char what[96];
    struct report_value v = {.what = what, .unit = "x", .spread = "min-max of rings"};
    report_spread(ratios, SOLOS, &v);
    double solo = best_subject / best_reference;
    snprintf(what, sizeof what, "%s / %s in rings (best solo: %.3f)", name, names[0], solo);
    report_value(report, &v);
    return fabs(v.median / solo - 1);
}

int main(int argc, char **argv)
{
    struct topo *topo;
    struct err e = {0};
    report = report_new("baton", argc, argv);
    if (topo_load(NULL, &topo, &e) < 0)
        report_fail(report, "%s", e.message);
    start_node(topo);
    report_say(report,
               "%d live blocks, %d rings of 3 x %d slices of %d pairs, each beside a sequential "
               "pair of the same total",
               LIVE, RINGS, ROTATIONS, SLICE_OPS);
    double worst = 0, worst_ring = 0, worst_bias = 0;
    for (size_t i = 0; i < ALLOCATORS_COUNT; i++) {
        const struct noise noise = noise_of(allocators[i], RINGS, 17);
        worst = fmax(worst, noise.ring_sd / noise.pair_sd);
        worst_ring = fmax(worst_ring, noise.ring_sd);
    }
    const double beside = noise_beside_neighbour();
    for (size_t i = 1; i < ALLOCATORS_COUNT; i++)
        worst_bias = fmax(worst_bias, bias_of(allocators[i]));
    report_target(report, "ring sd / sequential pair sd, worst allocator", worst, "<=", 0.3);
    report_target(report, "ring sd / sequential pair sd beside a noisy neighbour", beside,
                  "<=", 0.3);
    report_target(report, "ring sd of A/A in %, worst allocator", 100 * worst_ring, "<=", 3);
    report_target(report, "ring ratio against best solo, worst difference in %", 100 * worst_bias,
                  "<=", 10);
    node_stop(node);
    (void)remove_tree(state);
    topo_free(topo);
    return report_end(report);
}
