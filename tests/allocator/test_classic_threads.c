/* The probe's threaded streams over the classic engine linked in, instrumented like this test:
 * what AddressSanitizer and ThreadSanitizer get to see of it. Built once per policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "allocators/classic/heap.h"
#include "tests/allocator/probe.h"

void *probe_symbol(struct probe *p, const char *name)
{
    (void)p;
    assert_string_equal(name, "classic_check");
    return (void *)classic_check;
}

static void run(const char *threads)
{
    struct probe p = {
        .adapter = "classic",
        .malloc = classic_malloc,
        .free = classic_free,
        .calloc = classic_calloc,
        .realloc = classic_realloc,
        .aligned_alloc = classic_aligned_alloc,
        .usable_size = classic_malloc_usable_size,
    };
    const char *failed = probe_stream(&p, threads);
    if (failed)
        fail_msg("expected %s", failed);
    assert_int_equal(heap.used_count, 0);
    assert_int_equal(heap.large_count, 0);
    assert_int_equal(heap.large_bytes, 0);
    assert_true(heap.regions_count <= 1);
}

static void test_one_thread(void **state)
{
    (void)state;
    run("1");
}

static void test_four_threads(void **state)
{
    (void)state;
    run("4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_four_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
