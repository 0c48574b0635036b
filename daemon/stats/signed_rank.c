#include "daemon/stats/signed_rank.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/stats/stats.h"

/* Bound on the table of the exact null: many zeros push the ranks of few values up. 2.5 MB. */
#define DOUBLED_SUM_MAX (8 * STATS_EXACT_MAX * STATS_EXACT_MAX)

/* Probability of each sum 0..total when every rank is in or out with 1/2 each. Only additions of
 * positive numbers and halvings, so small tails keep their relative precision. Owned by caller. */
static double *null_distribution(const uint32_t *ranks, uint32_t count, uint64_t total)
{
    double *p = calloc(total + 1, sizeof *p);
    if (!p)
        return NULL;
    uint64_t reached = 0;
    p[0] = 1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t rank = ranks[i];
        reached += rank;
        for (uint64_t s = reached + 1; s-- > 0;)
            p[s] = 0.5 * (p[s] + (s >= rank ? p[s - rank] : 0));
    }
    return p;
}

static double normal_below(double z)
{
    return 0.5 * erfc(-z / M_SQRT2);
}

static int critical_exact(uint32_t n, double tail, uint64_t *ret_k, double *ret_probability)
{
    uint32_t ranks[STATS_EXACT_MAX];
    uint64_t total = (uint64_t)n * (n + 1) / 2;
    for (uint32_t i = 0; i < n; i++)
        ranks[i] = i + 1;
    cleanup_(free_p) double *p = null_distribution(ranks, n, total);
    if (!p)
        return -ENOMEM;
    uint64_t k = 0;
    double below = p[0];
    while (2 * (k + 1) < total && below + p[k + 1] <= tail)
        below += p[++k];
    *ret_k = k;
    *ret_probability = below;
    return 0;
}

static void critical_normal(uint32_t n, double tail, uint64_t *ret_k, double *ret_probability)
{
    double count = n, mean = count * (count + 1) / 4;
    double sd = sqrt(count * (count + 1) * (2 * count + 1) / 24);
    uint64_t low = 0, high = (uint64_t)n * (n + 1) / 4;
    while (low + 1 < high) { /* P(W <= low) <= tail or low is 0; P(W <= high) is too large */
        uint64_t middle = low + (high - low) / 2;
        if (normal_below(((double)middle + 0.5 - mean) / sd) <= tail)
            low = middle;
        else
            high = middle;
    }
    *ret_k = low;
    *ret_probability = normal_below(((double)low + 0.5 - mean) / sd);
}

int signed_rank_critical(uint32_t n, double tail, uint64_t *ret_k, double *ret_probability)
{
    if (n <= STATS_EXACT_MAX)
        return critical_exact(n, tail, ret_k, ret_probability);
    critical_normal(n, tail, ret_k, ret_probability);
    return 0;
}

struct difference {
    double size; /* |x - shift| */
    bool positive;
};

static int difference_compare(const void *a, const void *b)
{
    const struct difference *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

struct rank_sum {
    uint32_t *doubled; /* midranks × 2 of the differences that are not zero */
    uint32_t count;
    uint64_t total, plus; /* sums of doubled midranks: all, and of positive differences */
    double squares;       /* of doubled midranks */
};

/* Midranks over all differences, zeros included; zeros are then left out of the sums (Pratt). */
static void rank_differences(const struct difference *d, uint32_t count, struct rank_sum *ret)
{
    for (uint32_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && d[end].size <= d[first].size; end++)
            ;
        if (d[first].size <= 0)
            continue;
        uint32_t doubled = first + 1 + end; /* first rank + last rank, from 1 */
        for (uint32_t i = first; i < end; i++) {
            ret->doubled[ret->count++] = doubled;
            ret->total += doubled;
            ret->plus += d[i].positive ? doubled : 0;
            ret->squares += (double)doubled * doubled;
        }
    }
}

static int p_exact(const struct rank_sum *sum, struct stats_signed_rank *ret)
{
    cleanup_(free_p) double *p = null_distribution(sum->doubled, sum->count, sum->total);
    if (!p)
        return -ENOMEM;
    ret->p_less = ret->p_greater = 0;
    for (uint64_t s = 0; s <= sum->plus; s++)
        ret->p_less += p[s];
    for (uint64_t s = sum->total + 1; s-- > sum->plus;)
        ret->p_greater += p[s];
    ret->exact = true;
    return 0;
}

static void p_normal(const struct rank_sum *sum, struct stats_signed_rank *ret)
{
    double mean = (double)sum->total / 2, sd = sqrt(sum->squares) / 2, w = (double)sum->plus;
    ret->p_less = normal_below((w + 1 - mean) / sd); /* doubled ranks: 1 is half a rank */
    ret->p_greater = normal_below(-(w - 1 - mean) / sd);
}

int stats_signed_rank(const double *values, uint32_t count, double shift,
                      struct stats_signed_rank *ret)
{
    if (count > STATS_COUNT_MAX || !isfinite(shift))
        return -EINVAL;
    cleanup_(free_p) struct difference *d = malloc(((size_t)count + 1) * sizeof *d);
    cleanup_(free_p) uint32_t *doubled = malloc(((size_t)count + 1) * sizeof *doubled);
    if (!d || !doubled)
        return -ENOMEM;
    struct stats_signed_rank test = {.p_greater = 1, .p_less = 1, .exact = true};
    struct rank_sum sum = {.doubled = doubled};
    for (uint32_t i = 0; i < count; i++) {
        double difference = values[i] - shift;
        if (isfinite(difference))
            d[test.count++] = (struct difference){fabs(difference), difference > 0};
    }
    test.excluded = count - test.count;
    qsort(d, test.count, sizeof *d, difference_compare);
    rank_differences(d, test.count, &sum);
    test.zeros = test.count - sum.count;
    test.w_plus = (double)sum.plus / 2;
    int r = 0;
    if (sum.count > STATS_EXACT_MAX || sum.total > DOUBLED_SUM_MAX) {
        test.exact = false;
        p_normal(&sum, &test);
    } else if (sum.count > 0) {
        r = p_exact(&sum, &test);
    }
    test.p_less = fmin(test.p_less, 1);
    test.p_greater = fmin(test.p_greater, 1);
    if (r == 0)
        *ret = test;
    return r;
}

static int p_order(const void *a, const void *b, void *p)
{
    double x = ((const double *)p)[*(const uint32_t *)a];
    double y = ((const double *)p)[*(const uint32_t *)b];
    return (x > y) - (x < y);
}

int stats_holm(const double *p, uint32_t count, double *ret_adjusted)
{
    if (count > STATS_COUNT_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        if (!(p[i] >= 0 && p[i] <= 1))
            return -EINVAL;
    cleanup_(free_p) uint32_t *order = malloc(((size_t)count + 1) * sizeof *order);
    cleanup_(free_p) double *copy = malloc(((size_t)count + 1) * sizeof *copy);
    if (!order || !copy)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        order[i] = i;
        copy[i] = p[i];
    }
    qsort_r(order, count, sizeof *order, p_order, copy);
    double largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        largest = fmax(largest, fmin(1, copy[order[i]] * (count - i)));
        ret_adjusted[order[i]] = largest;
    }
    return 0;
}
