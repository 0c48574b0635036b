/* Figures that follow from slices and from what the supervisor saw. */
#include "daemon/node/collect.h"

#include <math.h>
#include <stdlib.h>

#include "daemon/stats/stats.h"

static void metric_set(struct exec_runner_result *r, enum metric_id metric, double value)
{
    if (!isfinite(value))
        return;
    for (uint32_t i = 0; i < r->metrics_count; i++)
        if (r->metrics[i].metric == metric) {
            free(r->metrics[i].vector); /* whoever claimed one of this metric */
            r->metrics[i] = (struct exec_metric){.metric = metric, .value = value};
            return;
        }
    if (r->metrics_count < sizeof r->metrics / sizeof r->metrics[0])
        r->metrics[r->metrics_count++] = (struct exec_metric){.metric = metric, .value = value};
}

/* Wall time per operation of one thread, rotation by rotation. */
static double *slices_ns(const struct exec_runner_result *r)
{
    double *ns = calloc(r->slices_count + 1, sizeof *ns);
    for (uint32_t i = 0; ns && i < r->slices_count; i++) {
        const struct ring_slice *s = &r->slices[i];
        ns[i] = s->ops ? (double)(s->end_ns - s->start_ns) / (double)s->ops : NAN;
    }
    return ns;
}

static void derive_headline(const struct exec_request *request, uint32_t index,
                            struct exec_runner_result *r, const double *ns)
{
    double median;
    uint32_t used;
    if (stats_ring_value(ns, r->slices_count, &median, &used) < 0 || used == 0)
        return;
    const struct workload *w = request->workload;
    double threads = request->subjects[index].point.threads;
    if (w->metrics_count > 0 && w->metrics[0] == METRIC_PAIRS_PER_S) {
        metric_set(r, METRIC_PAIRS_PER_S, threads * 1e9 / median);
        metric_set(r, METRIC_NS_PER_PAIR, median);
    } else if (w->metrics_count > 0) {
        metric_set(r, w->metrics[0], median);
    }
    uint64_t switches = 0, migrations = 0;
    for (uint32_t i = 0; i < r->slices_count; i++) {
        switches += r->slices[i].involuntary_switches;
        migrations += r->slices[i].migrations;
    }
    metric_set(r, METRIC_INVOLUNTARY_SWITCHES, (double)switches);
    metric_set(r, METRIC_MIGRATIONS, (double)migrations);
}

static void derive_ratio(const struct exec_result *result, double *const *ns, uint32_t index,
                         struct exec_runner_result *r)
{
    const struct stats_ring_side x = {
        .runner = (uint8_t)index, .ns = ns[index], .count = r->slices_count};
    const struct stats_ring_side y = {
        .runner = 0, .ns = ns[0], .count = result->runners[0].slices_count};
    struct stats_ring_ratio ratio;
    if (stats_ring_ratio(result->turns, result->turns_count, &x, &y, &ratio) < 0 ||
        ratio.quadruples == 0)
        return;
    metric_set(r, METRIC_RING_LOG_RATIO, ratio.log_ratio);
    metric_set(r, METRIC_RING_DRIFT, ratio.drift);
    metric_set(r, METRIC_RING_QUADRUPLES, ratio.quadruples);
}

static void derive_supervisor(const struct exec_request *request, const struct wire_done *launch,
                              const struct wire_runner_done *done, struct exec_runner_result *r)
{
    if (request->prefault_bytes) {
        metric_set(r, METRIC_PREFAULT_BYTES, (double)launch->prefault_bytes);
        metric_set(r, METRIC_PREFAULT_SHARE,
                   (double)launch->prefault_bytes / (double)request->prefault_bytes);
    }
    if (done->cgroup_peak_bytes)
        metric_set(r, METRIC_CGROUP_PEAK_BYTES, (double)done->cgroup_peak_bytes);
    metric_set(r, METRIC_CPU_USER_US, (double)done->cpu_user_us);
    metric_set(r, METRIC_CPU_SYSTEM_US, (double)done->cpu_system_us);
}

void collect_derive(const struct exec_request *request, struct exec_result *result,
                    const struct wire_done *done)
{
    double *ns[RING_RUNNERS_MAX] = {NULL};
    for (uint32_t i = 0; i < result->runners_count; i++) {
        struct exec_runner_result *r = &result->runners[i];
        ns[i] = slices_ns(r);
        if (!ns[i] || r->outcome != OUTCOME_OK)
            continue;
        derive_supervisor(request, done, &done->runners[i], r);
        if (request->rotations == 0)
            continue;
        derive_headline(request, i, r, ns[i]);
        if (i > 0 && ns[0] && result->runners[0].outcome == OUTCOME_OK)
            derive_ratio(result, ns, i, r);
    }
    for (uint32_t i = 0; i < result->runners_count; i++)
        free(ns[i]);
}
