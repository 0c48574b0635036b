/* What every `./dev bench NAME` prints: the machine, a table of values with their spread, and one
 * line per target, "target: WHAT: VALUE OP BOUND: met|missed"; with --json the same as one JSON
 * object. A missed target is not a failure: a benchmark fails only when it could not measure. */
#ifndef HEAPMARK_TESTS_BENCH_REPORT_H
#define HEAPMARK_TESTS_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

struct report;

/* argv: "--json" or nothing; anything else prints usage and exits 2. */
struct report *report_new(const char *name, int argc, char **argv);

/* A sentence for people; not in the JSON. */
void report_say(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One value: its median and spread (low, high: what the caller says `spread` is, e.g. "min-max of
 * 7 runs"). */
struct report_value {
    const char *what, *unit, *spread;
    double median, low, high;
};
void report_value(struct report *r, const struct report_value *value);

/* op: "<=" or ">=". */
void report_target(struct report *r, const char *what, double value, const char *op, double bound);

/* Could not measure: prints why and exits 1. */
_Noreturn void report_fail(struct report *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Print what is left; returns the exit status 0. Frees r. */
int report_end(struct report *r);

/* Median, minimum and maximum of values[count] (sorted in place) into *v. */
void report_spread(double *values, size_t count, struct report_value *v);

#endif
