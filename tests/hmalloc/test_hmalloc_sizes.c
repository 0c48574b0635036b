/* Size classes and bitmaps: pure functions against the formulas they stand for. */
#include "tests/hmalloc/hm.h"

#include "allocators/hmalloc/bits.h"
#include "allocators/hmalloc/sizes.h"

/* The formula in words: multiples of 16 to 1 KiB, then doublings in eight equal steps. */
static size_t rounded(size_t size)
{
    if (size <= 16)
        return 16;
    if (size <= 1024)
        return (size + 15) / 16 * 16;
    size_t base = 1024;
    while (size > 2 * base)
        base *= 2;
    return (size + base / 8 - 1) / (base / 8) * (base / 8);
}

static void test_every_size(void **state)
{
    (void)state;
    unsigned previous = 1;
    for (size_t size = 0; size <= SLAB_MAX; size++) {
        const unsigned class = size_class(size);
        assert_in_range(class, 1, CLASS_COUNT - 1);
        assert_in_range(class, previous, previous + 1);
        assert_int_equal(class_size(class), rounded(size));
        assert_true(size <= 128 || class_size(class) - size <= size / 8 + 15);
        previous = class;
    }
    assert_int_equal(previous, CLASS_COUNT - 1);
}

static void test_every_class(void **state)
{
    (void)state;
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        const uint32_t size = class_size(class);
        assert_int_equal(size_class(size), class);
        assert_int_equal(size % GRANULE, 0);
        if (size <= FAST_MAX)
            assert_int_equal(size, class * GRANULE);
        /* The coarse class: the next of eight per doubling; what divides one divides the other. */
        const uint32_t coarse = class_size(class_coarse(class));
        assert_true(coarse >= size && coarse - size <= size / 8);
        assert_int_equal(class_coarse(class_coarse(class)), class_coarse(class));
        for (uint32_t alignment = 1; alignment <= size; alignment *= 2)
            assert_true(size % alignment != 0 || coarse % alignment == 0);
        assert_true(class_units(class) * UNIT_SIZE / size >= 8);
        assert_true(class_units(class) * UNIT_SIZE / size <= UINT16_MAX);
    }
}

/* The reciprocal of slab.c finds the index of every block from its start; what it finds from a byte
 * inside is no block that starts there. */
static void test_every_offset(void **state)
{
    (void)state;
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        const uint32_t size = class_size(class);
        const uint32_t span = (uint32_t)(class_units(class) * UNIT_SIZE);
        const uint32_t reciprocal = (uint32_t)((((uint64_t)1 << 32) + size - 1) / size);
        for (uint32_t offset = 0; offset < span; offset++) {
            const uint64_t index = ((uint64_t)offset * reciprocal) >> 32;
            if (offset % size == 0 ? index != offset / size : index * size == offset)
                fail_msg("class %u, offset %u", class, offset);
        }
    }
}

static void check_bits(const struct bits *b, const bool *plain, uint64_t *seed)
{
    const unsigned from = (unsigned)(hm_random(seed) % CHUNK_UNITS);
    const unsigned count = (unsigned)(hm_random(seed) % (CHUNK_UNITS - from + 1));
    unsigned set = 0;
    for (unsigned i = from; i < from + count; i++)
        set += plain[i];
    assert_int_equal(bits_count(b, from, count), set);
    for (int value = 0; value < 2; value++) {
        unsigned at = from;
        while (at < CHUNK_UNITS && plain[at] != value)
            at++;
        assert_int_equal(bits_find(b, from, value), at);
    }
    assert_int_equal(bits_find(b, CHUNK_UNITS, true), CHUNK_UNITS);
}

static void test_bits(void **state)
{
    (void)state;
    struct bits b = {0};
    bool plain[CHUNK_UNITS] = {false};
    uint64_t seed = 4711;
    for (int step = 0; step < 20000; step++) {
        const unsigned from = (unsigned)(hm_random(&seed) % CHUNK_UNITS);
        unsigned count = (unsigned)(hm_random(&seed) % (step % 8 ? 70 : CHUNK_UNITS));
        if (count > CHUNK_UNITS - from)
            count = (unsigned)CHUNK_UNITS - from;
        const bool value = hm_random(&seed) % 2;
        bits_set(&b, from, count, value);
        for (unsigned i = from; i < from + count; i++)
            plain[i] = value;
        check_bits(&b, plain, &seed);
    }
    bits_set(&b, 0, CHUNK_UNITS, true);
    assert_int_equal(bits_count(&b, 0, CHUNK_UNITS), CHUNK_UNITS);
    assert_int_equal(bits_find(&b, 0, false), CHUNK_UNITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_every_class),
        cmocka_unit_test(test_every_offset),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
