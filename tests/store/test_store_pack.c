/* Packed blobs: round trips at the edges, and damage of every kind. */
#include "tests/store/fixture.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/pack.h"

static const struct ring_slice slices[] = {
    {0, 0, 0, 0, 0},
    {UINT64_MAX, 0, UINT64_MAX, UINT32_MAX, UINT32_MAX},
    {1, UINT64_MAX, 1, 0, UINT32_MAX},
    {UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1, 127, 127, 128},
    {5, 4, 3, 2, 1},
};
#define SLICES_COUNT (sizeof slices / sizeof slices[0])

static void test_slices_round_trip(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= SLICES_COUNT; n++) {
        struct ring_slice back[SLICES_COUNT];
        uint8_t *data;
        size_t size;
        assert_int_equal(pack_slices(slices, n, &data, &size), 0);
        assert_int_equal(unpack_slices(data, size, back, n), 0);
        assert_memory_equal(back, slices, n * sizeof slices[0]);
        free(data);
    }
}

static void test_turns_round_trip(void **state)
{
    static const struct ring_turn turns[] = {{0, 0, 0, 0, 0},
                                             {UINT8_MAX, UINT8_MAX, UINT16_MAX, UINT16_MAX, 0},
                                             {2, RING_SETTLE, 1, 128, UINT16_MAX}};
    struct ring_turn back[3];
    uint8_t *data;
    size_t size;
    (void)state;
    assert_int_equal(pack_turns(turns, 3, &data, &size), 0);
    assert_int_equal(unpack_turns(data, size, back, 3), 0);
    assert_memory_equal(back, turns, sizeof turns);
    assert_int_equal(unpack_turns(data, size, back, 2), -EBADMSG);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(unpack_turns(data, cut, back, 3), -EBADMSG);
    free(data);
}

static void test_doubles_round_trip(void **state)
{
    const double values[] = {0, -0.0, INFINITY, -INFINITY, 1e308, 5e-324};
    double back[7];
    uint8_t *data;
    size_t size;
    (void)state;
    assert_int_equal(pack_doubles(values, 6, &data, &size), 0);
    assert_int_equal(size, 48);
    assert_int_equal(unpack_doubles(data, size, back, 6), 0);
    assert_memory_equal(back, values, sizeof values);
    static const struct {
        size_t size;
        uint32_t count;
    } bad[] = {{48, 5}, {48, 7}, {47, 6}, {47, 5}, {0, 1}, {8, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(unpack_doubles(data, bad[i].size, back, bad[i].count), -EBADMSG);
    free(data);
}

static void test_damaged_slices(void **state)
{
    struct ring_slice back[SLICES_COUNT + 1];
    uint8_t *data;
    size_t size;
    (void)state;
    assert_int_equal(pack_slices(slices, SLICES_COUNT, &data, &size), 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(unpack_slices(data, cut, back, SLICES_COUNT), -EBADMSG);
    assert_int_equal(unpack_slices(data, size, back, SLICES_COUNT - 1), -EBADMSG);
    assert_int_equal(unpack_slices(data, size, back, SLICES_COUNT + 1), -EBADMSG);
    free(data);
    static const uint8_t endless[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(unpack_slices(endless, sizeof endless, back, 1), -EBADMSG);
    /* a count of switches beyond 32 bits */
    static const uint8_t wide[] = {0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x10, 0};
    assert_int_equal(unpack_slices(wide, sizeof wide, back, 1), -EBADMSG);
}

/* Every byte to every value: an answer or an error, never a stray access (the sanitizers watch). */
static void test_every_byte_changed(void **state)
{
    struct ring_slice back[SLICES_COUNT];
    uint8_t *data;
    size_t size;
    unsigned refused = 0;
    (void)state;
    assert_int_equal(pack_slices(slices, SLICES_COUNT, &data, &size), 0);
    for (size_t at = 0; at < size; at++) {
        uint8_t old = data[at];
        for (unsigned value = 0; value < 256; value++) {
            data[at] = (uint8_t)value;
            refused += unpack_slices(data, size, back, SLICES_COUNT) < 0;
        }
        data[at] = old;
    }
    assert_true(refused > size);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_round_trip),  cmocka_unit_test(test_turns_round_trip),
        cmocka_unit_test(test_doubles_round_trip), cmocka_unit_test(test_damaged_slices),
        cmocka_unit_test(test_every_byte_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
