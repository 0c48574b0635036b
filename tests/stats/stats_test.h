/* Rows of the golden vectors, and comparisons that say what differed. */
#ifndef HEAPMARK_TESTS_STATS_STATS_TEST_H
#define HEAPMARK_TESTS_STATS_STATS_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <math.h>

#include <cmocka.h>

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

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])
#define EACH(row, table) \
    for (__typeof__(&(table)[0]) row = (table); row < (table) + LENGTH(table); row++)

static inline void assert_close(double got, double want, double relative, const char *what)
{
    if (fabs(got - want) > relative * fmax(fabs(want), 1e-300) && fabs(got - want) > 1e-15)
        fail_msg("%s: got %.17g, want %.17g", what, got, want);
}

static inline void assert_nan(double x, const char *what)
{
    if (!isnan(x))
        fail_msg("%s: %g should be NaN", what, x);
}

#endif
