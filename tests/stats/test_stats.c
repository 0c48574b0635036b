/* daemon/stats against golden vectors (tests/golden/stats_golden.py, an independent brute-force
 * implementation), against properties that must hold for any input, and on degenerate input. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/hash.h"
#include "daemon/stats/stats.h"
#include "tests/stats/stats_test.h"
#include "tests/golden/stats_golden.inc"

/* ---- golden --------------------------------------------------------------------------------- */

static void test_golden_quantiles(void **state)
{
    (void)state;
    double got;
    EACH(g, golden_quantiles)
    {
        assert_int_equal(stats_quantile(g->values, g->count, g->q, &got), 0);
        assert_close(got, g->want, 1e-9, "quantile");
    }
    EACH(g, golden_mads)
    {
        assert_int_equal(stats_mad(g->values, g->count, &got), 0);
        assert_close(got, g->want, 1e-14, "mad");
    }
}

static void test_golden_hodges_lehmann(void **state)
{
    (void)state;
    EACH(g, golden_hls)
    {
        struct stats_estimate got;
        assert_int_equal(stats_hodges_lehmann(g->values, g->count, g->confidence, &got), 0);
        assert_close(got.value, g->value, 1e-14, g->name);
        assert_close(got.low, g->low, 1e-14, g->name);
        assert_close(got.high, g->high, 1e-14, g->name);
        assert_close(got.confidence, g->reached, 1e-12, g->name);
        assert_int_equal(got.count, g->count);
        assert_int_equal(got.excluded, 0);
    }
}

/* The list 1, 3, 9, 27 … has no equal Walsh averages, so the interval's ends show which order
 * statistic was taken. Above 33 values doubles run out: use 1..n and the confidence alone. */
static void test_golden_critical(void **state)
{
    (void)state;
    EACH(g, golden_criticals)
    {
        double values[STATS_EXACT_MAX];
        struct stats_estimate got;
        for (uint32_t i = 0; i < g->count; i++)
            values[i] = g->count <= 30 ? pow(3, i) : i;
        assert_int_equal(stats_hodges_lehmann(values, g->count, g->confidence, &got), 0);
        assert_close(got.confidence, fmax(0, 1 - 2 * g->probability), 1e-12, "critical");
        uint32_t above = 0; /* averages below the interval's low end: must be k */
        for (uint32_t i = 0; i < g->count && g->count <= 30; i++)
            for (uint32_t j = i; j < g->count; j++)
                above += (values[i] + values[j]) / 2 < got.low;
        if (g->count <= 30)
            assert_int_equal(above, g->k);
    }
}

static void test_golden_signed_rank(void **state)
{
    (void)state;
    EACH(g, golden_tests)
    {
        struct stats_signed_rank got;
        assert_int_equal(stats_signed_rank(g->values, g->count, g->shift, &got), 0);
        assert_close(got.p_greater, g->p_greater, 1e-12, g->name);
        assert_close(got.p_less, g->p_less, 1e-12, g->name);
        assert_close(got.w_plus, g->w_plus, 0, g->name);
        assert_true(got.exact);
    }
}

static void test_golden_holm(void **state)
{
    (void)state;
    EACH(g, golden_holms)
    {
        double got[LIST_MAX];
        assert_int_equal(stats_holm(g->p, g->count, got), 0);
        for (uint32_t i = 0; i < g->count; i++)
            assert_close(got[i], g->want[i], 1e-14, "holm");
        memcpy(got, g->p, sizeof got);
        assert_int_equal(stats_holm(got, g->count, got), 0); /* in place */
        for (uint32_t i = 0; i < g->count; i++)
            assert_close(got[i], g->want[i], 1e-14, "holm in place");
    }
}

/* Signs that make W+ of 1..n equal w, and what the normal approximation says of it. */
static void test_normal_approximation(void **state)
{
    (void)state;
    EACH(g, golden_tails)
    {
        double values[512];
        uint64_t left = g->w;
        for (uint32_t rank = g->count; rank > 0; rank--) {
            bool positive = left >= rank;
            values[rank - 1] = positive ? rank : -(double)rank;
            left -= positive ? rank : 0;
        }
        struct stats_signed_rank got;
        assert_int_equal(stats_signed_rank(values, g->count, 0, &got), 0);
        assert_false(got.exact);
        assert_close(got.w_plus, (double)g->w, 0, "w");
        assert_true(fabs(got.p_greater - g->probability) < 1e-3);
        assert_true(fabs(got.p_greater / g->probability - 1) < 0.05);
    }
}

/* ---- properties ----------------------------------------------------------------------------- */

/* Sums of four uniforms: near enough to a bell, the same on every machine. */
static void random_list(double *values, uint32_t count, uint64_t seed)
{
    for (uint32_t i = 0; i < count; i++) {
        values[i] = 0;
        for (unsigned k = 0; k < 4; k++) {
            seed = hash_mix(seed, i + k);
            values[i] += (double)(seed >> 11) * 0x1p-53 - 0.5;
        }
    }
}

static void check_equivariance(const double *values, uint32_t count)
{
    static const struct {
        double scale, shift;
    } maps[] = {{2, 0}, {-1, 0}, {0.5, 8}, {-4, -16}};
    struct stats_estimate base, got;
    assert_int_equal(stats_hodges_lehmann(values, count, 0.9, &base), 0);
    assert_true(base.low <= base.value && base.value <= base.high);
    EACH(map, maps)
    {
        double mapped[256];
        for (uint32_t i = 0; i < count; i++)
            mapped[i] = map->scale * values[count - 1 - i] + map->shift;
        double ends[2] = {map->scale * base.low + map->shift, map->scale * base.high + map->shift};
        assert_int_equal(stats_hodges_lehmann(mapped, count, 0.9, &got), 0);
        assert_close(got.value, map->scale * base.value + map->shift, 1e-12, "value moves along");
        assert_close(got.low, ends[map->scale < 0], 1e-12, "low moves along");
        assert_close(got.high, ends[map->scale > 0], 1e-12, "high moves along");
    }
}

/* The interval holds exactly those centres the signed-rank test does not reject. */
static void check_duality(const double *values, uint32_t count)
{
    struct stats_estimate interval;
    assert_int_equal(stats_hodges_lehmann(values, count, 0.9, &interval), 0);
    double alpha = (1 - interval.confidence) / 2, width = interval.high - interval.low + 1e-6;
    const double centres[] = {interval.low - 1e-9 * width, interval.low + 1e-9 * width,
                              interval.value, interval.high - 1e-9 * width,
                              interval.high + 1e-9 * width};
    for (unsigned i = 0; i < LENGTH(centres); i++) {
        struct stats_signed_rank test;
        assert_int_equal(stats_signed_rank(values, count, centres[i], &test), 0);
        bool inside = i >= 1 && i <= 3;
        bool kept = fmin(test.p_greater, test.p_less) > alpha * (1 + 1e-9);
        assert_int_equal(inside, kept);
    }
}

static void check_p_symmetry(const double *values, uint32_t count)
{
    double negated[256];
    struct stats_signed_rank a, b;
    for (uint32_t i = 0; i < count; i++)
        negated[i] = -values[i];
    assert_int_equal(stats_signed_rank(values, count, 0, &a), 0);
    assert_int_equal(stats_signed_rank(negated, count, 0, &b), 0);
    assert_close(a.p_greater, b.p_less, 1e-12, "mirror");
    assert_true(a.p_greater + a.p_less >= 1 - 1e-12); /* the observed sum counts in both */
    assert_true(a.p_greater > 0 && a.p_greater <= 1 && a.p_less > 0 && a.p_less <= 1);
}

static void test_properties(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 240; count += count < 20 ? 1 : 44) {
        double values[256];
        random_list(values, count, count);
        check_equivariance(values, count);
        if (count <= STATS_EXACT_MAX)
            check_duality(values, count);
        check_p_symmetry(values, count);
    }
}

/* More confidence never narrows; the reached one never falls short while n allows it. */
static void test_confidence_is_monotone(void **state)
{
    (void)state;
    static const double asked[] = {0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.999999};
    for (uint32_t count = 1; count <= 250; count += count < 25 ? 1 : 75) {
        double values[256], width = -1;
        random_list(values, count, 77 + count);
        for (unsigned i = 0; i < LENGTH(asked); i++) {
            struct stats_estimate got;
            assert_int_equal(stats_hodges_lehmann(values, count, asked[i], &got), 0);
            assert_true(got.high - got.low >= width);
            width = got.high - got.low;
            bool possible = asked[i] <= 1 - pow(2, 1 - (double)count);
            assert_true(got.confidence >= (possible ? asked[i] - 1e-12 : 0));
            if (!possible)
                assert_close(got.confidence, 1 - pow(2, 1 - (double)count), 1e-12, "widest");
        }
    }
}

static void test_exact_and_normal_meet(void **state)
{
    (void)state;
    double values[201];
    struct stats_estimate exact, normal;
    for (uint32_t i = 0; i < LENGTH(values); i++)
        values[i] = i;
    assert_int_equal(stats_hodges_lehmann(values, 200, 0.95, &exact), 0);
    assert_int_equal(stats_hodges_lehmann(values, 201, 0.95, &normal), 0);
    assert_true(fabs((normal.high - normal.low) - (exact.high - exact.low)) <= 1);
    assert_true(fabs(normal.confidence - exact.confidence) < 1e-3);
}

/* ---- degenerate input ----------------------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    double got = 1;
    struct stats_estimate e;
    struct stats_moments m;
    struct stats_signed_rank test;
    struct stats_cell cell;
    assert_int_equal(stats_median(NULL, 0, &got), 0);
    assert_nan(got, "median of nothing");
    assert_int_equal(stats_mad(NULL, 0, &got), 0);
    assert_nan(got, "mad of nothing");
    assert_int_equal(stats_hodges_lehmann(NULL, 0, 0.95, &e), 0);
    assert_nan(e.value, "value");
    assert_nan(e.low, "low");
    assert_nan(e.high, "high");
    assert_true(e.confidence <= 0 && e.count == 0);
    assert_int_equal(stats_moments(NULL, 0, &m), 0);
    assert_nan(m.mean, "mean");
    assert_nan(m.sd, "sd");
    assert_int_equal(stats_signed_rank(NULL, 0, 0, &test), 0);
    assert_true(test.p_greater >= 1 && test.p_less >= 1);
    assert_int_equal(stats_holm(NULL, 0, NULL), 0);
    assert_int_equal(stats_cell(NULL, 0, 0.95, &cell), 0);
    assert_nan(cell.ratio.value, "ratio of nothing");
    assert_nan(cell.control_log_sd, "sd of nothing");
}

static void test_one_value(void **state)
{
    (void)state;
    const double value[] = {-3};
    struct stats_estimate e;
    struct stats_moments m;
    struct stats_signed_rank test;
    assert_int_equal(stats_hodges_lehmann(value, 1, 0.95, &e), 0);
    assert_true(e.value <= -3 && e.value >= -3 && e.low >= -3 && e.high <= -3);
    assert_true(e.confidence <= 0); /* one value says nothing about spread */
    assert_int_equal(stats_moments(value, 1, &m), 0);
    assert_close(m.mean, -3, 0, "mean");
    assert_nan(m.sd, "sd of one");
    assert_int_equal(stats_signed_rank(value, 1, 0, &test), 0);
    assert_close(test.p_less, 0.5, 0, "p_less");
    assert_close(test.p_greater, 1, 0, "p_greater");
}

static void test_not_finite_is_left_out(void **state)
{
    (void)state;
    const double dirty[] = {NAN, 3, INFINITY, 1, -INFINITY, 2, NAN};
    const double clean[] = {1, 2, 3};
    struct stats_estimate a, b;
    struct stats_moments m;
    struct stats_signed_rank test;
    double median;
    assert_int_equal(stats_hodges_lehmann(dirty, 7, 0.5, &a), 0);
    assert_int_equal(stats_hodges_lehmann(clean, 3, 0.5, &b), 0);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.excluded, 4);
    assert_close(a.low, b.low, 0, "low");
    assert_close(a.high, b.high, 0, "high");
    assert_int_equal(stats_moments(dirty, 7, &m), 0);
    assert_int_equal(m.excluded, 4);
    assert_close(m.sd, 1, 1e-15, "sd");
    assert_int_equal(stats_signed_rank(dirty, 7, 0, &test), 0);
    assert_int_equal(test.excluded, 4);
    assert_int_equal(stats_median(dirty, 7, &median), 0);
    assert_close(median, 2, 0, "median");
    const double nothing[] = {NAN, INFINITY};
    assert_int_equal(stats_median(nothing, 2, &median), 0);
    assert_nan(median, "nothing finite");
}

static void test_extreme_magnitudes(void **state)
{
    (void)state;
    const double huge[] = {-DBL_MAX, DBL_MAX, DBL_MAX, -DBL_MAX, 0};
    const double tiny[] = {DBL_TRUE_MIN, DBL_MIN, -0.0, 0.0};
    struct stats_estimate e;
    double q;
    assert_int_equal(stats_hodges_lehmann(huge, 5, 0.9, &e), 0);
    assert_true(isfinite(e.value) && isfinite(e.low) && isfinite(e.high));
    assert_int_equal(stats_quantile(huge, 5, 0.3, &q), 0);
    assert_true(isfinite(q));
    assert_int_equal(stats_hodges_lehmann(tiny, 4, 0.5, &e), 0);
    assert_true(e.low >= 0 && e.high <= DBL_MIN && !signbit(e.low));
}

static void test_arguments_refused(void **state)
{
    (void)state;
    static const double bad_confidence[] = {0, 1, -0.1, 1.5, NAN, INFINITY};
    static const double bad_p[] = {-0.01, 1.01, NAN, INFINITY};
    const double x[] = {1, 2};
    double got = 42;
    struct stats_estimate e = {.value = 42};
    struct stats_signed_rank test = {.p_less = 42};
    for (unsigned i = 0; i < LENGTH(bad_confidence); i++) {
        assert_int_equal(stats_hodges_lehmann(x, 2, bad_confidence[i], &e), -EINVAL);
        assert_int_equal(stats_estimate_on(STATS_LOG, x, 2, bad_confidence[i], &e), -EINVAL);
    }
    for (unsigned i = 0; i < LENGTH(bad_p); i++) {
        const double p[] = {0.5, bad_p[i]};
        assert_int_equal(stats_holm(p, 2, &got), -EINVAL);
        assert_int_equal(stats_quantile(x, 2, bad_p[i], &got), -EINVAL);
    }
    assert_int_equal(stats_signed_rank(x, 2, NAN, &test), -EINVAL);
    assert_int_equal(stats_signed_rank(x, 2, INFINITY, &test), -EINVAL);
    assert_int_equal(stats_median(x, STATS_COUNT_MAX + 1, &got), -EINVAL);
    assert_int_equal(stats_mad(x, UINT32_MAX, &got), -EINVAL);
    assert_int_equal(stats_hodges_lehmann(x, UINT32_MAX, 0.9, &e), -EINVAL);
    assert_true(got > 41 && e.value > 41 && test.p_less > 41); /* nothing was written */
}

/* Thousands of zeros push the ranks of two values up: the table must stay bounded. */
static void test_many_zeros(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    double *values = calloc(COUNT, sizeof *values);
    assert_non_null(values);
    values[0] = 1;
    values[1] = 2;
    struct stats_signed_rank test;
    assert_int_equal(stats_signed_rank(values, COUNT, 0, &test), 0);
    assert_false(test.exact);
    assert_int_equal(test.zeros, COUNT - 2);
    assert_true(test.p_greater > 0.05 && test.p_greater < 0.5);
    free(values);
}

static void test_large_list(void **state)
{
    (void)state;
    enum { COUNT = 20000 }; /* 200 million Walsh averages, none stored */
    double *values = malloc(COUNT * sizeof *values);
    assert_non_null(values);
    for (unsigned i = 0; i < COUNT; i++)
        values[(i * 7919u) % COUNT] = i;
    struct stats_estimate e;
    assert_int_equal(stats_hodges_lehmann(values, COUNT, 0.95, &e), 0);
    assert_close(e.value, (COUNT - 1) / 2.0, 0, "centre");
    assert_true(e.confidence >= 0.95);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_quantiles),
        cmocka_unit_test(test_golden_hodges_lehmann),
        cmocka_unit_test(test_golden_critical),
        cmocka_unit_test(test_golden_signed_rank),
        cmocka_unit_test(test_golden_holm),
        cmocka_unit_test(test_normal_approximation),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_confidence_is_monotone),
        cmocka_unit_test(test_exact_and_normal_meet),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_one_value),
        cmocka_unit_test(test_not_finite_is_left_out),
        cmocka_unit_test(test_extreme_magnitudes),
        cmocka_unit_test(test_arguments_refused),
        cmocka_unit_test(test_many_zeros),
        cmocka_unit_test(test_large_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
