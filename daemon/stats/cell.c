#include "daemon/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"

/* exp of an estimate taken over logarithms that the caller already had. */
static int estimate_exp(const double *logs, uint32_t count, double confidence,
                        struct stats_estimate *ret)
{
    int r = stats_hodges_lehmann(logs, count, confidence, ret);
    if (r < 0)
        return r;
    ret->value = exp(ret->value);
    ret->low = exp(ret->low);
    ret->high = exp(ret->high);
    ret->log_scale = true;
    return 0;
}

static int log_side(const double *logs, uint32_t count, double confidence,
                    struct stats_estimate *ret, double *ret_sd)
{
    struct stats_moments moments;
    int r = estimate_exp(logs, count, confidence, ret);
    if (r == 0)
        r = stats_moments(logs, count, &moments);
    if (r == 0)
        *ret_sd = moments.sd;
    return r;
}

int stats_cell(const struct stats_cell_ring *rings, uint32_t count, double confidence,
               struct stats_cell *ret)
{
    if (count > STATS_COUNT_MAX)
        return -EINVAL;
    cleanup_(free_p) double *column = calloc((size_t)count + 1, sizeof *column);
    if (!column)
        return -ENOMEM;
    struct stats_cell cell;
    for (uint32_t i = 0; i < count; i++)
        column[i] = rings[i].value;
    int r = stats_estimate_on(STATS_AUTO, column, count, confidence, &cell.absolute);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++)
        column[i] = rings[i].log_ratio;
    r = log_side(column, count, confidence, &cell.ratio, &cell.ratio_log_sd);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < count; i++)
        column[i] = rings[i].log_control;
    r = log_side(column, count, confidence, &cell.control, &cell.control_log_sd);
    if (r == 0)
        *ret = cell;
    return r;
}
