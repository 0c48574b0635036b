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

#define LIST_MAX 32

struct golden_quantile {
    uint32_t count;
    double values[LIST_MAX], q, want;
};
struct golden_mad {
    uint32_t count;
    double values[LIST_MAX], want;
};
struct golden_hl {
    const char *name;
    uint32_t count;
    double values[LIST_MAX], confidence, value, low, high, reached;
};
struct golden_critical {
    uint32_t count;
    double confidence;
    uint64_t k;
    double probability;
};
struct golden_test {
    const char *name;
    uint32_t count;
    double values[LIST_MAX], shift, p_greater, p_less, w_plus;
};
struct golden_holm {
    uint32_t count;
    double p[LIST_MAX], want[LIST_MAX];
};
struct golden_ring {
    uint32_t rotations;
    double x[LIST_MAX], y[LIST_MAX], want;
};
struct golden_tail {
    uint32_t count;
    uint64_t w;
    double probability;
};
#include "tests/golden/stats_golden.inc"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])
#define EACH(row, table) \
    for (__typeof__(&(table)[0]) row = (table); row < (table) + LENGTH(table); row++)

static void assert_close(double got, double want, double relative, const char *what)
{
    if (fabs(got - want) > relative * fmax(fabs(want), 1e-300) && fabs(got - want) > 1e-15)
        fail_msg("%s: got %.17g, want %.17g", what, got, want);
}

static void assert_nan(double x, const char *what)
{
    if (!isnan(x))
        fail_msg("%s: %g should be NaN", what, x);
}

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

/* ---- scales and cells ----------------------------------------------------------------------- */

static void test_scales(void **state)
{
    (void)state;
    const double positive[] = {1, 10, 100, 1000, 10000};
    const double with_zero[] = {0, 10, 100, 1000, 10000};
    struct stats_estimate e;
    assert_int_equal(stats_estimate_on(STATS_AUTO, positive, 5, 0.9, &e), 0);
    assert_true(e.log_scale);
    assert_close(e.value, 100, 1e-12, "geometric centre");
    assert_close(e.low, 1, 1e-12, "low");
    assert_close(e.high, 10000, 1e-12, "high");
    assert_int_equal(stats_estimate_on(STATS_AUTO, with_zero, 5, 0.9, &e), 0);
    assert_false(e.log_scale);
    assert_int_equal(e.excluded, 0);
    assert_true(e.low <= 0 && e.low >= 0);
    assert_int_equal(stats_estimate_on(STATS_LOG, with_zero, 5, 0.9, &e), 0);
    assert_int_equal(e.excluded, 1);
    assert_int_equal(e.count, 4);
    const double none[] = {0, -1};
    assert_int_equal(stats_estimate_on(STATS_LOG, none, 2, 0.9, &e), 0);
    assert_nan(e.value, "nothing positive");
    assert_int_equal(e.excluded, 2);
}

static void test_cell(void **state)
{
    (void)state;
    struct stats_cell_ring rings[12];
    struct stats_cell cell;
    for (unsigned i = 0; i < LENGTH(rings); i++)
        rings[i] = (struct stats_cell_ring){
            .value = 100 + i,
            .log_ratio = log(1.2) + 0.01 * ((double)i - 5.5),
            .log_control = (i % 2 ? 0.01 : -0.01),
        };
    rings[3].log_control = NAN; /* the control of that ring was dropped */
    rings[7].value = NAN;
    rings[7].log_ratio = NAN;
    assert_int_equal(stats_cell(rings, LENGTH(rings), 0.95, &cell), 0);
    assert_close(cell.ratio.value, 1.2, 0.01, "ratio");
    assert_true(cell.ratio.low < 1.2 && cell.ratio.high > 1.2 && cell.ratio.low > 1.1);
    assert_true(cell.control.low < 1 && cell.control.high > 1);
    assert_int_equal(cell.control.excluded, 1);
    assert_int_equal(cell.ratio.excluded, 1);
    assert_int_equal(cell.absolute.count, 11);
    assert_true(cell.absolute.log_scale && cell.ratio.log_scale && cell.control.log_scale);
    assert_close(cell.control_log_sd, 0.0105, 0.05, "noise of a ring");
}

/* ---- rings ---------------------------------------------------------------------------------- */

#define ROTATIONS 32

struct ring_fixture {
    struct ring_turn turns[4096];
    uint32_t turns_count;
    double ns[3][ROTATIONS];
};

static void ring_fixture(struct ring_fixture *f, uint32_t rotations, uint64_t seed)
{
    int n = ring_schedule(3, rotations, 2, 2, seed, f->turns, LENGTH(f->turns));
    assert_true(n > 0);
    f->turns_count = (uint32_t)n;
    for (unsigned runner = 0; runner < 3; runner++)
        for (unsigned r = 0; r < ROTATIONS; r++)
            f->ns[runner][r] = 10;
}

static struct stats_ring_side side(const struct ring_fixture *f, uint8_t runner, uint32_t count)
{
    return (struct stats_ring_side){runner, f->ns[runner], count};
}

static struct stats_ring_ratio ratio_of(const struct ring_fixture *f, uint8_t x, uint32_t x_count,
                                        uint8_t y, uint32_t y_count)
{
    struct stats_ring_side a = side(f, x, x_count), b = side(f, y, y_count);
    struct stats_ring_ratio got;
    assert_int_equal(stats_ring_ratio(f->turns, f->turns_count, &a, &b, &got), 0);
    return got;
}

static void test_ring_golden(void **state)
{
    (void)state;
    EACH(g, golden_rings)
    {
        struct ring_fixture f;
        ring_fixture(&f, g->rotations, 5);
        memcpy(f.ns[2], g->x, sizeof g->x);
        memcpy(f.ns[0], g->y, sizeof g->y);
        struct stats_ring_ratio got = ratio_of(&f, 2, g->rotations, 0, g->rotations);
        assert_close(got.log_ratio, g->want, 1e-12, "ring");
        assert_int_equal(got.quadruples, g->rotations / 2);
        assert_int_equal(got.missing + got.excluded + got.unbalanced, 0);
        struct stats_ring_ratio back = ratio_of(&f, 0, g->rotations, 2, g->rotations);
        assert_close(back.log_ratio, -g->want, 1e-12, "antisymmetric");
    }
}

/* Noise that grows linearly from turn to turn is what ABBA cancels. */
static void test_ring_cancels_linear_drift(void **state)
{
    (void)state;
    struct ring_fixture f;
    ring_fixture(&f, ROTATIONS, 99);
    for (uint32_t i = 0; i < f.turns_count; i++)
        if (f.turns[i].phase == RING_MEASURE)
            f.ns[f.turns[i].runner][f.turns[i].rotation] = 10 * exp(0.02 * i);
    struct stats_ring_ratio got = ratio_of(&f, 1, ROTATIONS, 0, ROTATIONS);
    assert_true(fabs(got.log_ratio) < 1e-12 && got.log_ratio_mad < 1e-12);
    assert_true(fabs(got.drift) < 1e-10);
}

static void test_ring_drift(void **state)
{
    (void)state;
    struct ring_fixture f;
    ring_fixture(&f, ROTATIONS, 3);
    for (unsigned r = 0; r < ROTATIONS; r++)
        f.ns[2][r] = 10 * exp(0.001 * r);
    f.ns[2][6] = 1000; /* one burst: the resistant line does not care */
    struct stats_ring_ratio got = ratio_of(&f, 2, ROTATIONS, 0, ROTATIONS);
    assert_close(got.drift_per_rotation, 0.001, 0.02, "slope");
    assert_close(got.drift, 0.032, 0.02, "over the ring");
    assert_nan(ratio_of(&f, 2, 10, 0, 10).drift, "five quadruples are too few for a slope");
}

static void test_ring_dropped_runner(void **state)
{
    (void)state;
    struct ring_fixture f;
    ring_fixture(&f, ROTATIONS, 11);
    struct stats_ring_ratio got = ratio_of(&f, 2, 9, 0, ROTATIONS); /* 9: half a quadruple */
    assert_int_equal(got.quadruples, 4);
    assert_int_equal(got.missing, ROTATIONS / 2 - 4);
    got = ratio_of(&f, 2, ROTATIONS, 0, 1);
    assert_int_equal(got.quadruples, 0);
    assert_nan(got.log_ratio, "nothing measured");
    assert_nan(got.log_ratio_mad, "nothing measured");
}

static void test_ring_bad_slices(void **state)
{
    (void)state;
    static const double bad[] = {0, -1, NAN, INFINITY};
    for (unsigned i = 0; i < LENGTH(bad); i++) {
        struct ring_fixture f;
        ring_fixture(&f, ROTATIONS, 12);
        f.ns[2][5] = bad[i];
        f.ns[0][20] = bad[i];
        struct stats_ring_ratio got = ratio_of(&f, 2, ROTATIONS, 0, ROTATIONS);
        assert_int_equal(got.excluded, 2);
        assert_int_equal(got.quadruples, ROTATIONS / 2 - 2);
        assert_true(fabs(got.log_ratio) < 1e-15);
    }
}

static void test_ring_unbalanced(void **state)
{
    (void)state;
    struct ring_fixture f = {.turns_count = 0};
    for (uint16_t rotation = 0; rotation < 4; rotation++)
        for (uint8_t place = 0; place < 2; place++) {
            uint8_t runner = rotation < 3 ? place : 1 - place; /* AB AB, AB BA */
            f.turns[f.turns_count++] = (struct ring_turn){
                .runner = runner, .phase = RING_MEASURE, .parts = 1, .rotation = rotation};
            f.ns[runner][rotation] = 10;
        }
    struct stats_ring_ratio got = ratio_of(&f, 1, 4, 0, 4);
    assert_int_equal(got.unbalanced, 1);
    assert_int_equal(got.quadruples, 1);
}

static void test_ring_arguments(void **state)
{
    (void)state;
    struct ring_fixture f;
    ring_fixture(&f, 4, 1);
    struct stats_ring_ratio got = {.quadruples = 42};
    struct stats_ring_side a = side(&f, 1, 4), b = side(&f, 0, 4);
    assert_int_equal(stats_ring_ratio(f.turns, f.turns_count, &a, &a, &got), -EINVAL);
    assert_int_equal(stats_ring_ratio(f.turns, RING_TURNS_MAX + 1, &a, &b, &got), -EINVAL);
    struct stats_ring_side long_side = {.runner = 1, .ns = f.ns[1], .count = 70000};
    assert_int_equal(stats_ring_ratio(f.turns, f.turns_count, &long_side, &b, &got), -EINVAL);
    for (uint32_t i = 0; i < f.turns_count; i++) /* one runner twice in a rotation */
        if (f.turns[i].phase == RING_MEASURE && f.turns[i].runner == 1)
            f.turns[i].rotation = 2;
    assert_int_equal(stats_ring_ratio(f.turns, f.turns_count, &a, &b, &got), -EINVAL);
    assert_int_equal(got.quadruples, 42);
    assert_int_equal(stats_ring_ratio(NULL, 0, &a, &b, &got), 0); /* no turns: nothing measured */
    assert_int_equal(got.quadruples, 0);
    assert_nan(got.log_ratio, "no turns");
}

static void test_ring_value(void **state)
{
    (void)state;
    const double ns[] = {NAN, 5, 0, 7, -1, 6, INFINITY};
    double value;
    uint32_t used;
    assert_int_equal(stats_ring_value(ns, 7, &value, &used), 0);
    assert_close(value, 6, 0, "median of slices");
    assert_int_equal(used, 3);
    assert_int_equal(stats_ring_value(ns, 1, &value, &used), 0);
    assert_nan(value, "no slice");
    assert_int_equal(used, 0);
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
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_cell),
        cmocka_unit_test(test_ring_golden),
        cmocka_unit_test(test_ring_cancels_linear_drift),
        cmocka_unit_test(test_ring_drift),
        cmocka_unit_test(test_ring_dropped_runner),
        cmocka_unit_test(test_ring_bad_slices),
        cmocka_unit_test(test_ring_unbalanced),
        cmocka_unit_test(test_ring_arguments),
        cmocka_unit_test(test_ring_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
