#include "daemon/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"
#include "daemon/stats/sorted.h"

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int sorted_init(struct sorted *s, const double *values, uint32_t count)
{
    if (count > STATS_COUNT_MAX)
        return -EINVAL;
    *s = (struct sorted){.values = malloc(((size_t)count + 1) * sizeof *s->values)};
    if (!s->values)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(values[i]))
            s->values[s->count++] = values[i];
    s->excluded = count - s->count;
    qsort(s->values, s->count, sizeof *s->values, double_compare);
    return 0;
}

void sorted_done(struct sorted *s)
{
    free(s->values);
    *s = (struct sorted){0};
}

double sorted_quantile(const double *ascending, uint32_t count, double q)
{
    if (count == 0)
        return NAN;
    double at = (double)(count - 1) * q;
    uint32_t below = (uint32_t)at;
    if (below + 1 >= count)
        return ascending[count - 1];
    double part = at - (double)below, step = ascending[below + 1] - ascending[below];
    if (isfinite(step))
        return ascending[below] + part * step;
    return ascending[below] * (1 - part) + ascending[below + 1] * part;
}

int stats_quantile(const double *values, uint32_t count, double q, double *ret)
{
    if (!(q >= 0 && q <= 1))
        return -EINVAL;
    cleanup_(sorted_done) struct sorted s = {0};
    int r = sorted_init(&s, values, count);
    if (r < 0)
        return r;
    *ret = sorted_quantile(s.values, s.count, q);
    return 0;
}

int stats_median(const double *values, uint32_t count, double *ret)
{
    return stats_quantile(values, count, 0.5, ret);
}

int stats_mad(const double *values, uint32_t count, double *ret)
{
    cleanup_(sorted_done) struct sorted s = {0};
    int r = sorted_init(&s, values, count);
    if (r < 0)
        return r;
    double median = sorted_quantile(s.values, s.count, 0.5);
    for (uint32_t i = 0; i < s.count; i++)
        s.values[i] = fabs(s.values[i] - median);
    qsort(s.values, s.count, sizeof *s.values, double_compare);
    *ret = sorted_quantile(s.values, s.count, 0.5);
    return 0;
}

/* Welford's update: no cancellation, and no overflow where the mean itself is finite. */
int stats_moments(const double *values, uint32_t count, struct stats_moments *ret)
{
    if (count > STATS_COUNT_MAX)
        return -EINVAL;
    struct stats_moments m = {.mean = NAN, .sd = NAN};
    double mean = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            m.excluded++;
            continue;
        }
        double step = values[i] - mean;
        mean += step / ++m.count;
        squares += step * (values[i] - mean);
    }
    if (m.count > 0)
        m.mean = mean;
    if (m.count > 1)
        m.sd = sqrt(squares / (m.count - 1));
    *ret = m;
    return 0;
}

int stats_ring_value(const double *ns, uint32_t count, double *ret_value, uint32_t *ret_used)
{
    if (count > STATS_COUNT_MAX)
        return -EINVAL;
    cleanup_(free_p) double *used = malloc(((size_t)count + 1) * sizeof *used);
    if (!used)
        return -ENOMEM;
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (isfinite(ns[i]) && ns[i] > 0)
            used[n++] = ns[i];
    int r = stats_median(used, n, ret_value);
    if (r == 0)
        *ret_used = n;
    return r;
}
