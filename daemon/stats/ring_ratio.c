#include "daemon/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "daemon/base/cleanup.h"

#define ROTATIONS_MAX        65536u /* what ring_turn.rotation can count */
#define DRIFT_QUADRUPLES_MIN 6u

/* Where in the ring's order a side took its turn of each rotation, from 1; 0: it had none. */
struct ring_order {
    uint32_t *x, *y;
    uint32_t rotations;
};

static void ring_order_done(struct ring_order *o)
{
    free(o->x);
    free(o->y);
}

static int ring_order_mark(uint32_t *places, uint32_t rotation, uint32_t place)
{
    if (places[rotation] != 0)
        return -EINVAL; /* two turns of one runner in one rotation */
    places[rotation] = place;
    return 0;
}

static int ring_order_init(struct ring_order *o, const struct ring_turn *turns, uint32_t count,
                           unsigned x, unsigned y)
{
    uint32_t rotations = 0;
    for (uint32_t i = 0; i < count; i++)
        if (turns[i].phase == RING_MEASURE && turns[i].rotation >= rotations)
            rotations = turns[i].rotation + 1u;
    *o = (struct ring_order){
        .x = calloc(rotations + 2, sizeof *o->x),
        .y = calloc(rotations + 2, sizeof *o->y),
        .rotations = rotations,
    };
    if (!o->x || !o->y)
        return -ENOMEM;
    int r = 0;
    for (uint32_t i = 0; i < count && r == 0; i++) {
        if (turns[i].phase != RING_MEASURE)
            continue;
        if (turns[i].runner == x)
            r = ring_order_mark(o->x, turns[i].rotation, i + 1);
        else if (turns[i].runner == y)
            r = ring_order_mark(o->y, turns[i].rotation, i + 1);
    }
    return r;
}

/* ln of the product of two slices, NaN if one of them is no measurement. */
static double slice_log(const double *ns)
{
    for (int i = 0; i < 2; i++)
        if (!isfinite(ns[i]) || ns[i] <= 0)
            return NAN;
    return log(ns[0]) + log(ns[1]);
}

struct quadruples {
    double *at;    /* rotation */
    double *ratio; /* log ratio */
    uint32_t count;
};

static void quadruples_done(struct quadruples *q)
{
    free(q->at);
    free(q->ratio);
}

static void quadruple_take(const struct ring_order *o, uint32_t first,
                           const struct stats_ring_side *x, const struct stats_ring_side *y,
                           struct quadruples *q, struct stats_ring_ratio *ret)
{
    const uint32_t *px = o->x + first, *py = o->y + first;
    if (!px[0] || !px[1] || !py[0] || !py[1] || first + 2 > x->count || first + 2 > y->count) {
        ret->missing++;
        return;
    }
    if ((px[0] < py[0]) == (px[1] < py[1])) {
        ret->unbalanced++;
        return;
    }
    double ratio = (slice_log(x->ns + first) - slice_log(y->ns + first)) / 2;
    if (isnan(ratio)) {
        ret->excluded++;
        return;
    }
    q->at[q->count] = first + 0.5;
    q->ratio[q->count++] = ratio;
}

/* Slope between the medians of the outer thirds: a burst in one place cannot tilt it. */
static int resistant_slope(const struct quadruples *q, double *ret)
{
    uint32_t third = (q->count + 1) / 3, last = q->count - third;
    double x0, x1, y0, y1;
    int r = stats_median(q->at, third, &x0);
    if (r == 0)
        r = stats_median(q->at + last, third, &x1);
    if (r == 0)
        r = stats_median(q->ratio, third, &y0);
    if (r == 0)
        r = stats_median(q->ratio + last, third, &y1);
    if (r == 0)
        *ret = (y1 - y0) / (x1 - x0);
    return r;
}

int stats_ring_ratio(const struct ring_turn *turns, uint32_t turns_count,
                     const struct stats_ring_side *x, const struct stats_ring_side *y,
                     struct stats_ring_ratio *ret)
{
    if (turns_count > RING_TURNS_MAX || x->runner == y->runner || x->count > ROTATIONS_MAX ||
        y->count > ROTATIONS_MAX)
        return -EINVAL;
    cleanup_(ring_order_done) struct ring_order order = {0};
    cleanup_(quadruples_done) struct quadruples q = {0};
    int r = ring_order_init(&order, turns, turns_count, x->runner, y->runner);
    if (r < 0)
        return r;
    q.at = malloc((order.rotations / 2 + 1) * sizeof *q.at);
    q.ratio = malloc((order.rotations / 2 + 1) * sizeof *q.ratio);
    if (!q.at || !q.ratio)
        return -ENOMEM;
    struct stats_ring_ratio ratio = {.drift_per_rotation = NAN, .drift = NAN};
    for (uint32_t first = 0; first < order.rotations; first += 2)
        quadruple_take(&order, first, x, y, &q, &ratio);
    ratio.quadruples = q.count;
    r = stats_median(q.ratio, q.count, &ratio.log_ratio);
    if (r == 0)
        r = stats_mad(q.ratio, q.count, &ratio.log_ratio_mad);
    if (r == 0 && q.count >= DRIFT_QUADRUPLES_MIN) {
        r = resistant_slope(&q, &ratio.drift_per_rotation);
        ratio.drift = ratio.drift_per_rotation * order.rotations;
    }
    if (r == 0)
        *ret = ratio;
    return r;
}
