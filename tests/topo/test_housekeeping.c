/* Whether a CPU is left for the daemon, on machines of many shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/topo/topo.h"

/* With as many threads as told a CPU is left, with one more none is; and siblings are not what
 * decides. */
static void test_housekeeping_threads(void **state)
{
    static const struct {
        const char *source;
        unsigned threads;
        bool full;
    } cases[] = {
        {"package:1 core:1 pu:1", 0, false},
        {"package:1 core:1 pu:2", 1, true},
        {"package:1 core:2 pu:1", 1, false},
        {"package:1 core:16 pu:1", 15, false},
        {"package:1 core:16 pu:2", 31, true},
        {"package:2 [numa] l3:4 core:8 pu:1", 63, false},
        {"package:2 [numa] l3:4 core:8 pu:2", 127, true},

        {"package:2 core:128 pu:1", 255, false},
        {"package:4 core:128 pu:1", 256, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_(topo_free_p) struct topo *t = NULL;
        assert_int_equal(topo_load(cases[i].source, &t, NULL), 0);
        struct topo_plan plan;
        unsigned threads = topo_housekeeping_threads(t);
        if (threads != cases[i].threads || topo_housekeeping(t) != cases[i].full)
            fail_msg("%s: %u threads, full %d", cases[i].source, threads, topo_housekeeping(t));
        struct topo_request request = {PLACE_COMPACT, threads, NULL, NULL};
        assert_true(threads == 0 ||
                    (topo_place(t, &request, &plan, NULL) == 0 && plan.housekeeping));
        request.threads = threads + 1;
        if (topo_place(t, &request, &plan, NULL) == 0)
            assert_false(plan.housekeeping);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_housekeeping_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
