/* The probe's threaded streams over a classic allocator linked in, instrumented like this test:
 * what AddressSanitizer and ThreadSanitizer get to see of it. Built once per allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "allocators/common/classic.h"
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
    struct mallinfo2 info = classic_mallinfo2();
    assert_int_equal(info.uordblks, 0);
    assert_int_equal(info.hblks, 0);
    assert_int_equal(info.hblkhd, 0);
    (void)classic_malloc_trim(0);
    assert_int_equal(classic_mallinfo2().arena, 0); /* everything goes back to the kernel */
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
