/* The parts of `./dev bench ingest`: what is stored, and the two ways to store it. `bench api` has
 * its million points from here too (points.c). */
#ifndef HEAPMARK_TESTS_BENCH_INGEST_H
#define HEAPMARK_TESTS_BENCH_INGEST_H

#include "daemon/store/store.h"
#include "tests/bench/report.h"

/* A step as the scheduler stores it. */
struct shape {
    const char *name;
    uint32_t runners, slices, metrics, vector; /* vector: doubles of one more metric; 0 none */
};

#define INGEST_HOST  "bench-host"
#define SERIES_COUNT 2000
#define POINTS_COUNT 500 /* of each series */

/* The result of one step of that shape; borrows memory of the process that is never freed. */
void ingest_result(const struct shape *shape, struct exec_request *request,
                   struct exec_result *result);
struct store_ring_new ingest_ring(const struct shape *shape, int64_t job_id, uint32_t repetition);

/* The same rows by statements prepared once, two transactions a step as in the store, on a file
 * made by the store: no threads, no checks, no look-ups. The floor. */
struct bare;
struct bare *bare_open(struct report *r, const char *path);
void bare_step(struct bare *b, const struct shape *shape, int64_t job_id, uint32_t repetition,
               const struct exec_request *request, const struct exec_result *result);
void bare_close(struct bare *b);
/* Rows of all tables together. */
int64_t bare_rows(struct report *r, const char *path);
/* Points straight into a closed store; ids of series are 1…series_count. */
void bare_points(struct report *r, const char *path, int series_count, int points_count);

#endif
