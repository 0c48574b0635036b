/* The schedule of a ring and the check of plans. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "workloads/ring/ring.h"

static struct ring_turn turns[RING_TURNS_MAX];

/* Position of each runner in each rotation. */
static void positions(int count, uint32_t runners, uint8_t at[][RING_RUNNERS_MAX])
{
    uint8_t next[RING_ROTATIONS_MAX] = {0};
    for (int k = 0; k < count; k++)
        if (turns[k].phase == RING_MEASURE) {
            assert_true(turns[k].runner < runners);
            at[turns[k].rotation][turns[k].runner] = next[turns[k].rotation]++;
        }
}

/* A before B in one rotation, B before A in the other. */
static void assert_reversed(const uint8_t one[], const uint8_t other[], uint32_t runners)
{
    for (uint32_t a = 0; a < runners; a++)
        for (uint32_t b = a + 1; b < runners; b++)
            assert_int_equal(one[a] < one[b], other[b] < other[a]);
}

/* In each pair of rotations every two runners stand as A B … B A. */
static void every_pair_is_abba(void **state)
{
    (void)state;
    static uint8_t at[RING_ROTATIONS_MAX][RING_RUNNERS_MAX];
    for (uint32_t runners = 1; runners <= RING_RUNNERS_MAX; runners++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            int count = ring_schedule(runners, 100, 2, 3, seed, turns, RING_TURNS_MAX);
            assert_int_equal(count, (int)(runners * (100 + 2 + 3 + 1)));
            positions(count, runners, at);
            for (uint32_t rotation = 0; rotation < 100; rotation += 2)
                assert_reversed(at[rotation], at[rotation + 1], runners);
        }
}

static void everybody_has_equal_turns(void **state)
{
    (void)state;
    int count = ring_schedule(3, 200, 4, 5, 11, turns, RING_TURNS_MAX);
    unsigned seen[RING_RUN + 1][RING_RUNNERS_MAX] = {0};
    for (int k = 0; k < count; k++)
        seen[turns[k].phase][turns[k].runner]++;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(seen[RING_BUILD][i], 4);
        assert_int_equal(seen[RING_WARM][i], 5);
        assert_int_equal(seen[RING_MEASURE][i], 200);
        assert_int_equal(seen[RING_SETTLE][i], 1);
        assert_int_equal(seen[RING_RUN][i], 0);
    }
}

/* Build, warm-up, rotations in order, settle: nobody measures before everybody is warm. */
static void phases_in_order(void **state)
{
    (void)state;
    int count = ring_schedule(3, 20, 2, 2, 5, turns, RING_TURNS_MAX);
    for (int k = 1; k < count; k++) {
        assert_true(turns[k].phase >= turns[k - 1].phase);
        if (turns[k].phase == RING_MEASURE && turns[k - 1].phase == RING_MEASURE)
            assert_true(turns[k].rotation >= turns[k - 1].rotation);
        assert_true(turns[k].part < turns[k].parts);
    }
}

/* Each of the six orders comes up, about equally often, so no runner has a favoured place. */
static void orders_are_spread(void **state)
{
    (void)state;
    unsigned seen[27] = {0}, orders = 0;
    int count = ring_schedule(3, 4096, 1, 1, 77, turns, RING_TURNS_MAX);
    for (int k = 6; k + 2 < count - 3; k += 6)
        seen[turns[k].runner * 9 + turns[k + 1].runner * 3 + turns[k + 2].runner]++;
    for (unsigned i = 0; i < 27; i++) {
        orders += seen[i] > 0;
        if (seen[i])
            assert_in_range(seen[i], 250, 440);
    }
    assert_int_equal(orders, 6);
}

/* Nobody always builds or warms up first: every order of three comes up, in both phases, and the
 * two phases do not repeat each other. */
static void parts_are_spread(void **state)
{
    (void)state;
    enum { PARTS = 600 };
    static uint8_t order[2][PARTS];
    int count = ring_schedule(3, 2, PARTS, PARTS, 77, turns, RING_TURNS_MAX);
    assert_true(count > 0);
    for (unsigned phase = RING_BUILD; phase <= RING_WARM; phase++) {
        unsigned seen[27] = {0}, orders = 0;
        for (unsigned part = 0; part < PARTS; part++) {
            const struct ring_turn *t = &turns[(phase * PARTS + part) * 3];
            for (unsigned i = 0; i < 3; i++)
                assert_true(t[i].phase == phase && t[i].part == part);
            order[phase][part] = (uint8_t)(t[0].runner * 9 + t[1].runner * 3 + t[2].runner);
            seen[order[phase][part]]++;
        }
        for (unsigned i = 0; i < 27; i++) {
            orders += seen[i] > 0;
            if (seen[i])
                assert_in_range(seen[i], 60, 140);
        }
        assert_int_equal(orders, 6);
    }
    assert_memory_not_equal(order[0], order[1], PARTS);
}

/* How a ring was built says nothing about its slices: the rotations are the same turns. */
static void rotations_ignore_parts(void **state)
{
    (void)state;
    static struct ring_turn other[RING_TURNS_MAX];
    assert_true(ring_schedule(3, 100, 1, 1, 9, turns, RING_TURNS_MAX) > 0);
    assert_true(ring_schedule(3, 100, 8, 5, 9, other, RING_TURNS_MAX) > 0);
    assert_memory_equal(&turns[3 * 2], &other[3 * 13], 300 * sizeof turns[0]);
}

static void same_seed_same_turns(void **state)
{
    (void)state;
    static struct ring_turn again[RING_TURNS_MAX];
    int count = ring_schedule(3, 100, 2, 2, 5, turns, RING_TURNS_MAX);
    assert_int_equal(ring_schedule(3, 100, 2, 2, 5, again, RING_TURNS_MAX), count);
    assert_memory_equal(turns, again, (size_t)count * sizeof turns[0]);
    assert_int_equal(ring_schedule(3, 100, 2, 2, 6, again, RING_TURNS_MAX), count);
    assert_memory_not_equal(turns, again, (size_t)count * sizeof turns[0]);
}

static void oneshot_runs_once(void **state)
{
    (void)state;
    assert_int_equal(ring_schedule(1, 0, 4, 4, 0, turns, RING_TURNS_MAX), 1);
    assert_int_equal(turns[0].phase, RING_RUN);
}

static void largest_schedule_fits(void **state)
{
    (void)state;
    assert_true(ring_schedule(3, RING_ROTATIONS_MAX, 16, 16, 0, turns, RING_TURNS_MAX) > 0);
}

static void bad_schedules(void **state)
{
    (void)state;
    static const struct {
        uint32_t runners, rotations, build, warm, capacity;
        int want;
    } rows[] = {
        {0, 10, 1, 1, RING_TURNS_MAX, -EINVAL},
        {4, 10, 1, 1, RING_TURNS_MAX, -EINVAL},
        {3, 11, 1, 1, RING_TURNS_MAX, -EINVAL},
        {3, RING_ROTATIONS_MAX + 2, 1, 1, RING_TURNS_MAX, -EINVAL},
        {3, 10, 65536, 1, RING_TURNS_MAX, -EINVAL},
        {3, 10, 1, 65536, RING_TURNS_MAX, -EINVAL},
        {3, 10, 1, 1, 0, -ENOSPC},
        {3, 10, 1, 1, 5, -ENOSPC},
        {3, 10, 1, 1, 3 * 12 + 2, -ENOSPC},
        {3, 10, 1, 1, 3 * 13 - 1, -ENOSPC},
        {3, 0, 1, 1, 2, -ENOSPC},
        {3, 10, 1, 1, 3 * 13, 39},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(ring_schedule(rows[i].runners, rows[i].rotations, rows[i].build,
                                       rows[i].warm, 1, turns, rows[i].capacity),
                         rows[i].want);
}

/* A plan is checked against its own size; what each lie does to a runner is test_runner.py's. */
static void plan_sizes(void **state)
{
    (void)state;
    const int count = ring_schedule(1, 2, 1, 1, 1, turns, RING_TURNS_MAX);
    const uint64_t size = ring_plan_size((uint32_t)count);
    struct ring_plan *p = calloc(1, size);
    assert_non_null(p);
    p->magic = RING_MAGIC;
    text_copy(p->build_id, sizeof p->build_id, ring_build_id());
    p->workload = (uint32_t)workload_index("table-warm");
    p->runners_count = 1;
    p->turns_count = (uint32_t)count;
    p->rotations = 2;
    p->subjects[0].library_fd = -1;
    p->subjects[0].point.threads = 1;
    memcpy(p->turns, turns, (size_t)count * sizeof turns[0]);
    assert_int_equal(ring_plan_check(p, size), 0);
    assert_int_equal(ring_plan_check(p, size - 1), -EPROTO);
    assert_int_equal(ring_plan_check(p, sizeof *p - 1), -EPROTO);
    assert_int_equal(ring_plan_check(p, 0), -EPROTO);
    free(p);
}

static void failures_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < FAIL_COUNT_; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(runner_failure_name((enum runner_failure)i),
                                    runner_failure_name((enum runner_failure)k));
    assert_string_equal(runner_failure_name((enum runner_failure)999), "protocol");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_is_abba),
        cmocka_unit_test(everybody_has_equal_turns),
        cmocka_unit_test(phases_in_order),
        cmocka_unit_test(orders_are_spread),
        cmocka_unit_test(parts_are_spread),
        cmocka_unit_test(rotations_ignore_parts),
        cmocka_unit_test(same_seed_same_turns),
        cmocka_unit_test(oneshot_runs_once),
        cmocka_unit_test(largest_schedule_fits),
        cmocka_unit_test(bad_schedules),
        cmocka_unit_test(plan_sizes),
        cmocka_unit_test(failures_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
