/* Rings, cells and scales of daemon/stats. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/stats/stats.h"
#include "tests/stats/stats_test.h"
#include "tests/golden/stats_rings_golden.inc"

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

/* ---- who is best ---------------------------------------------------------------------------- */

#define CONTESTANTS_MAX 4

struct standings_case {
    const char *why, *want; /* want: a letter each, "-" none, B best, T tied, b behind, u unsure */
    bool lower_is_better;
    struct {
        double ratio, low, high;
        uint32_t values;
        bool baseline;
    } of[CONTESTANTS_MAX];
};

#define REFERENCE          \
    {                      \
        1, 1, 1, 10, false \
    }
#define RATIO(r, l, h)     \
    {                      \
        r, l, h, 10, false \
    }

static const struct standings_case standings_cases[] = {
    {"the best ratio", "bbB", false, {REFERENCE, RATIO(1.2, 1.1, 1.3), RATIO(2, 1.9, 2.1)}},
    {"the reference can be best", "Bb", false, {REFERENCE, RATIO(0.8, 0.7, 0.9)}},
    {"and be overlapped", "TT", false, {REFERENCE, RATIO(1.01, 0.9, 1.1)}},
    {"from below too", "TT", false, {REFERENCE, RATIO(0.95, 0.9, 1)}},
    {"touching is not apart", "bTT", false, {REFERENCE, RATIO(2, 1.8, 2.2), RATIO(1.7, 1.6, 1.8)}},
    {"each against the leader alone",
     "bTTb",
     false,
     {REFERENCE, RATIO(2, 1.8, 2.2), RATIO(1.7, 1.5, 1.85), RATIO(1.5, 1.4, 1.6)}},
    {"lower is better", "bbB", true, {REFERENCE, RATIO(1.2, 1.1, 1.3), RATIO(0.5, 0.4, 0.6)}},
    {"lower, the reference", "Bb", true, {REFERENCE, RATIO(1.2, 1.1, 1.3)}},
    {"five values say nothing", "uu", false, {{1, 1, 1, 5, false}, {3, 2.9, 3.1, 5, false}}},
    {"six do", "bB", false, {{1, 1, 1, 6, false}, {3, 2.9, 3.1, 6, false}}},
    {"a rival without interval forbids the best",
     "b-u",
     false,
     {REFERENCE, RATIO(3, 2.9, 3.1), RATIO(2, NAN, NAN)}},
    {"and one without a ratio", "-u", false, {REFERENCE, RATIO(NAN, 1, 2)}},
    {"but not the tie",
     "bTTu",
     false,
     {REFERENCE, RATIO(3, 2.9, 3.1), RATIO(2.9, 2.8, 3), RATIO(2, NAN, NAN)}},
    {"a baseline takes no part",
     "bB-",
     false,
     {REFERENCE, RATIO(3, 2.9, 3.1), {9, 8, 10, 10, true}}},
    {"not even unsure", "bB-", false, {REFERENCE, RATIO(3, 2.9, 3.1), {9, NAN, NAN, 2, true}}},
    {"nobody to beat", "-", false, {REFERENCE}},
    {"nor to be unsure about", "-", false, {{1, 1, 1, 2, false}}},
    {"but a baseline", "--", false, {REFERENCE, {9, 8, 10, 10, true}}},
    {"nobody at all", "", false, {REFERENCE}},
};

static void test_standings(void **state)
{
    (void)state;
    static const char letters[STATS_STANDING_COUNT_] = {'-', 'B', 'T', 'b', 'u'};
    for (unsigned i = 0; i < LENGTH(standings_cases); i++) {
        const struct standings_case *c = &standings_cases[i];
        struct stats_contestant contestants[CONTESTANTS_MAX];
        enum stats_standing got[CONTESTANTS_MAX];
        char text[CONTESTANTS_MAX + 1] = "";
        const uint32_t count = (uint32_t)strlen(c->want);
        for (uint32_t k = 0; k < count; k++)
            contestants[k] = (struct stats_contestant){
                .ratio = c->of[k].ratio,
                .low = c->of[k].low,
                .high = c->of[k].high,
                .judged = stats_judged(c->of[k].values, 0.95),
                .takes_part = !c->of[k].baseline,
            };
        stats_standings(contestants, count, !c->lower_is_better, got);
        for (uint32_t k = 0; k < count; k++)
            text[k] = letters[got[k]];
        if (strcmp(text, c->want) != 0)
            fail_msg("%s: %s, not %s", c->why, text, c->want);
    }
    assert_false(stats_judged(50, 0.89));
    assert_false(stats_judged(50, NAN));
    assert_true(stats_judged(6, 0.9));
    assert_null(stats_standing_name(STATS_STANDING_NONE));
    for (unsigned i = STATS_STANDING_NONE + 1; i < STATS_STANDING_COUNT_; i++)
        assert_non_null(stats_standing_name((enum stats_standing)i));
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
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_cell),
        cmocka_unit_test(test_standings),
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
