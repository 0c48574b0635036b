#include "daemon/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/stats/signed_rank.h"
#include "daemon/stats/sorted.h"

/* Halves first: the sum of two large values would overflow. Monotone in both. */
static double walsh(double a, double b)
{
    return 0.5 * a + 0.5 * b;
}

/* Walsh averages <= bound. On an ascending list the partner's limit only moves down. */
static uint64_t walsh_count(const struct sorted *s, double bound)
{
    uint64_t count = 0;
    int64_t j = (int64_t)s->count - 1;
    for (int64_t i = 0; i <= j; i++) {
        while (j >= i && walsh(s->values[i], s->values[j]) > bound)
            j--;
        if (j >= i)
            count += (uint64_t)(j - i + 1);
    }
    return count;
}

/* Doubles in the order of their values as integers, so that bisection ends after 64 steps. */
static int64_t double_key(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? INT64_MIN - bits : bits;
}

static double key_double(int64_t key)
{
    int64_t bits = key < 0 ? INT64_MIN - key : key;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The k-th smallest Walsh average (k from 1), exactly, without storing n(n+1)/2 of them: the
 * smallest double with at least k averages at or below it. */
static double walsh_select(const struct sorted *s, uint64_t k)
{
    int64_t low = double_key(s->values[0]), high = double_key(s->values[s->count - 1]);
    while (low < high) {
        int64_t middle = low + (int64_t)(((uint64_t)high - (uint64_t)low) / 2);
        if (walsh_count(s, key_double(middle)) >= k)
            high = middle;
        else
            low = middle + 1;
    }
    return key_double(low) + 0.0; /* never -0 */
}

static int hodges_lehmann(const struct sorted *s, double confidence, struct stats_estimate *ret)
{
    *ret = (struct stats_estimate){.value = NAN, .low = NAN, .high = NAN, .count = s->count};
    ret->excluded = s->excluded;
    if (s->count == 0)
        return 0;
    uint64_t total = (uint64_t)s->count * (s->count + 1) / 2, k;
    double tail;
    int r = signed_rank_critical(s->count, (1 - confidence) / 2, &k, &tail);
    if (r < 0)
        return r;
    ret->value = walsh(walsh_select(s, (total + 1) / 2), walsh_select(s, total / 2 + 1));
    ret->low = walsh_select(s, k + 1);
    ret->high = walsh_select(s, total - k);
    ret->confidence = fmax(0, 1 - 2 * tail);
    return 0;
}

static bool confidence_ok(double confidence)
{
    return confidence > 0 && confidence < 1;
}

int stats_hodges_lehmann(const double *values, uint32_t count, double confidence,
                         struct stats_estimate *ret)
{
    if (!confidence_ok(confidence))
        return -EINVAL;
    cleanup_(sorted_done) struct sorted s = {0};
    struct stats_estimate estimate;
    int r = sorted_init(&s, values, count);
    if (r == 0)
        r = hodges_lehmann(&s, confidence, &estimate);
    if (r == 0)
        *ret = estimate;
    return r;
}

/* Logarithms of an ascending list; what is not above 0 leaves it. */
static void sorted_log(struct sorted *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->values[i] > 0)
            s->values[kept++] = log(s->values[i]);
    s->excluded += s->count - kept;
    s->count = kept;
}

int stats_estimate_on(enum stats_scale scale, const double *values, uint32_t count,
                      double confidence, struct stats_estimate *ret)
{
    if (!confidence_ok(confidence))
        return -EINVAL;
    cleanup_(sorted_done) struct sorted s = {0};
    struct stats_estimate estimate;
    int r = sorted_init(&s, values, count);
    if (r < 0)
        return r;
    bool log_scale = scale == STATS_LOG;
    if (scale == STATS_AUTO)
        log_scale = s.count > 0 && s.values[0] > 0;
    if (log_scale)
        sorted_log(&s);
    r = hodges_lehmann(&s, confidence, &estimate);
    if (r < 0)
        return r;
    if (log_scale) {
        estimate.value = exp(estimate.value);
        estimate.low = exp(estimate.low);
        estimate.high = exp(estimate.high);
    }
    estimate.log_scale = log_scale;
    *ret = estimate;
    return 0;
}
