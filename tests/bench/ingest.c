/* Durable trials per second through the store against the same rows through bare SQLite, and the
 * latency of a 500-point series out of a million points.
 *
 * Both sides write to one file system in one run, with the same pragmas and the same two commits
 * (fsyncs) for each acknowledged step, taking turns ABBA step by step so that the drift of a shared
 * disk cancels; the number of rows is compared afterwards. What the store adds is its thread, its
 * checks and its look-ups. HEAPMARK_BENCH_DIR chooses the file system (default /var/tmp). */
#include "tests/bench/ingest.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"

#define BLOCKS        12
#define STEPS         50 /* of each side in a block; the sides alternate ABBA step by step */
#define QUERIES_COUNT 4000

struct side {
    char directory[128], path[160];
    int64_t job_id;
    uint32_t repetition; /* of the next step */
};

static void must(struct report *r, const char *what, int result, const struct err *e)
{
    if (result < 0)
        report_fail(r, "%s: %s", what, e->message);
}

/* ---- what is stored ---- */

/* gcc's analyzer loses sight of a pointer stored in the element of an array whose index it does not
 * know, and calls it leaked; exec_result_done frees them. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif
static void result_slices(uint32_t count, struct exec_runner_result *r)
{
    struct ring_slice *slices = calloc(count + 1, sizeof *slices);
    if (!slices)
        abort();
    for (uint32_t k = 0; k < count; k++)
        slices[k] = (struct ring_slice){.start_ns = 1000000000 + 3000000ull * k,
                                        .end_ns = 1000900000 + 3000000ull * k + k % 7,
                                        .ops = 20000};
    r->slices = slices;
    r->slices_count = count;
}

static void result_turns(const struct shape *shape, struct exec_result *result)
{
    uint32_t count = shape->runners * (shape->slices + 5);
    struct ring_turn *turns = calloc(count + 1, sizeof *turns);
    if (!turns)
        abort();
    for (uint32_t k = 0; k < count; k++)
        turns[k] = (struct ring_turn){.runner = (uint8_t)(k % shape->runners),
                                      .phase = RING_MEASURE,
                                      .rotation = (uint16_t)(k / shape->runners)};
    result->turns = turns;
    result->turns_count = count;
}

void ingest_result(const struct shape *shape, struct exec_request *request,
                   struct exec_result *result)
{
    *request = (struct exec_request){.subjects_count = shape->runners, .rotations = shape->slices};
    memset(result, 0, sizeof *result);
    result->runners_count = shape->runners;
    for (uint32_t i = 0; i < shape->runners; i++) {
        struct exec_runner_result *r = &result->runners[i];
        memset(r->sha256, 'a', 64);
        for (uint32_t k = 0; k < shape->metrics; k++)
            r->metrics[r->metrics_count++] =
                (struct exec_metric){.metric = (enum metric_id)k, .value = 1.5 * k};
        if (shape->vector)
            r->metrics[r->metrics_count++] =
                (struct exec_metric){.metric = METRIC_FORK_NS,
                                     .vector_count = shape->vector,
                                     .vector = calloc(shape->vector, sizeof(double))};
    }
    for (uint32_t i = 0; i < shape->runners; i++)
        result_slices(shape->slices, &result->runners[i]);
    result_turns(shape, result);
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

struct store_ring_new ingest_ring(const struct shape *shape, int64_t job_id, uint32_t repetition)
{
    struct store_ring_new ring = {
        .job_id = job_id, .repetition = repetition, .cells_count = shape->runners};
    for (uint32_t i = 0; i < shape->runners; i++) {
        ring.cells[i] = i;
        ring.roles[i] = ROLE_SUBJECT;
    }
    return ring;
}

/* ---- the store's side ---- */

static struct store *open_store(struct report *r, const char *directory)
{
    struct store_config config = {.directory = directory, .readers_count = 2};
    struct store *store = NULL;
    struct err e;
    must(r, "store_open", store_open(&config, &store, &e), &e);
    return store;
}

static void store_step(struct report *r, struct store *store, const struct shape *shape,
                       int64_t job_id, uint32_t repetition, const struct exec_request *request,
                       const struct exec_result *result)
{
    struct store_ring_new ring = ingest_ring(shape, job_id, repetition);
    struct err e;
    char uuid[37];
    int64_t id;
    must(r, "begin", store_attempt_begin(store, &ring, "local", uuid, &id, &e), &e);
    must(r, "finish", store_attempt_finish(store, id, request, result, &e), &e);
}

/* A store with one running job; and one step, so that builds and subjects exist. */
static void side_prepare(struct report *r, struct side *side, const char *base, const char *name,
                         const struct shape *shape)
{
    static const struct job_labels labels;
    struct store_cell_new cells[RING_RUNNERS_MAX];
    struct exec_request request;
    struct exec_result result;
    struct store_job job;
    struct err e;
    char uuid[37];
    bool replayed;
    for (uint32_t i = 0; i < RING_RUNNERS_MAX; i++)
        cells[i] = (struct store_cell_new){i, 0, "w", "", "a", "", 1, PAGES_4K, ROLE_SUBJECT};
    struct store_job_new new = {.uuid = "00000000-0000-4000-8000-000000000001",
                                .name = "",
                                .preset = "",
                                .profile = "",
                                .spec_json = "{}",
                                .labels = &labels,
                                .cells = cells,
                                .cells_count = RING_RUNNERS_MAX,
                                .principal = "local"};
    snprintf(side->directory, sizeof side->directory, "%s/%s", base, name);
    snprintf(side->path, sizeof side->path, "%s/heapmark.db", side->directory);
    struct store *store = open_store(r, side->directory);
    must(r, "add", store_job_add(store, &new, uuid, &replayed, &e), &e);
    must(r, "claim", store_job_claim(store, INGEST_HOST, &job, &e), &e);
    store_job_done(&job);
    side->job_id = job.id;
    ingest_result(shape, &request, &result);
    store_step(r, store, shape, side->job_id, side->repetition++, &request, &result);
    exec_result_done(&result);
    store_close(store);
}

/* ---- the comparison ---- */

struct race {
    struct report *r;
    const struct shape *shape;
    struct side side[2]; /* 0 store, 1 bare */
    struct store *store;
    struct bare *bare;
    struct exec_request request;
    struct exec_result result;
};

/* Seconds of one step on one side. */
static double race_step(struct race *race, int which)
{
    struct side *side = &race->side[which];
    uint64_t begin = clock_monotonic_ns();
    if (which == 0)
        store_step(race->r, race->store, race->shape, side->job_id, side->repetition,
                   &race->request, &race->result);
    else
        bare_step(race->bare, race->shape, side->job_id, side->repetition, &race->request,
                  &race->result);
    side->repetition++;
    return (double)(clock_monotonic_ns() - begin) / (double)NS_PER_S;
}

static double race_run(struct report *r, const char *base, const struct shape *shape)
{
    static const int order[] = {0, 1, 1, 0};
    struct race race = {.r = r, .shape = shape};
    double rates[2][BLOCKS], ratios[BLOCKS];
    char names[2][32], what[96];
    for (int i = 0; i < 2; i++) {
        snprintf(names[i], sizeof names[i], "%s-%s", shape->name, i ? "bare" : "store");
        side_prepare(r, &race.side[i], base, names[i], shape);
    }
    ingest_result(shape, &race.request, &race.result);
    race.store = open_store(r, race.side[0].directory);
    race.bare = bare_open(r, race.side[1].path);
    for (int k = 0; k < BLOCKS; k++) {
        double seconds[2] = {0};
        for (int i = 0; i < 2 * STEPS; i++)
            seconds[order[i % 4]] += race_step(&race, order[i % 4]);
        for (int i = 0; i < 2; i++)
            rates[i][k] = STEPS * shape->runners / seconds[i];
        ratios[k] = seconds[1] / seconds[0];
    }
    store_close(race.store);
    bare_close(race.bare);
    exec_result_done(&race.result);
    if (bare_rows(r, race.side[0].path) != bare_rows(r, race.side[1].path))
        report_fail(r, "%s: the two sides stored different numbers of rows", shape->name);
    struct report_value v = {.what = what, .unit = "trials/s", .spread = "min-max of 12 blocks"};
    for (int i = 0; i < 2; i++) {
        snprintf(what, sizeof what, "%s, %s", shape->name, i ? "bare SQLite" : "store");
        report_spread(rates[i], BLOCKS, &v);
        report_value(r, &v);
    }
    snprintf(what, sizeof what, "%s, store / bare", shape->name);
    v.unit = "ratio";
    v.spread = "min-max of 12 blocks";
    report_spread(ratios, BLOCKS, &v);
    report_value(r, &v);
    return v.median;
}

/* ---- series ---- */

static int take_point(void *ctx, const struct store_point *point)
{
    unsigned *count = ctx;
    *count += point->value > 0 && point->job_uuid[0] && point->sha256[0];
    return 0;
}

static double series_run(struct report *r, const char *base)
{
    static double ms[QUERIES_COUNT];
    char directory[128], path[160];
    snprintf(directory, sizeof directory, "%s/points", base);
    snprintf(path, sizeof path, "%s/heapmark.db", directory);
    store_close(open_store(r, directory));
    bare_points(r, path, SERIES_COUNT, POINTS_COUNT);
    struct store *store = open_store(r, directory);
    for (unsigned i = 0; i < QUERIES_COUNT; i++) {
        struct store_view *v;
        struct err e;
        unsigned count = 0;
        int64_t series = (int64_t)(hash_mix(1, i) % SERIES_COUNT) + 1;
        uint64_t begin = clock_monotonic_ns();
        must(r, "view", store_view_acquire(store, 10000, &v, &e), &e);
        must(r, "points", store_view_points(v, series, 0, 0, 0, take_point, &count, &e), &e);
        store_view_release(v);
        ms[i] = (double)(clock_monotonic_ns() - begin) / (double)NS_PER_MS;
        if (count != POINTS_COUNT)
            report_fail(r, "series %lld has %u points", (long long)series, count);
    }
    store_close(store);
    struct report_value v = {.what = "series of 500 points out of 1000000, median",
                             .unit = "ms",
                             .spread = "min-max of 4000 queries"};
    report_spread(ms, QUERIES_COUNT, &v);
    report_value(r, &v);
    v.what = "the same, 99th percentile";
    v.median = ms[QUERIES_COUNT * 99 / 100];
    report_value(r, &v);
    return v.median;
}

/* ---- main ---- */

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char child[512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (unlink(child) < 0)
            remove_tree(child);
    }
    if (d)
        closedir(d);
    (void)rmdir(path);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {"ring of 3, 40 slices", 3, 40, 14, 0},
        {"one-shot trial", 1, 0, 8, 100},
    };
    struct report *r = report_new("ingest", argc, argv);
    const char *parent = getenv("HEAPMARK_BENCH_DIR");
    char base[96];
    snprintf(base, sizeof base, "%.60s/heapmark-bench-XXXXXX", parent ? parent : "/var/tmp");
    if (!mkdtemp(base))
        report_fail(r, "a directory in %s: %s", base, strerror(errno));
    report_say(r, "files in %s, SQLite %s, synchronous=FULL, two commits a step", base,
               store_sqlite_version());
    double worst = INFINITY;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        worst = fmin(worst, race_run(r, base, &shapes[i]));
    double p99_ms = series_run(r, base);
    remove_tree(base);
    report_target(r, "500-point series from 1 M points, p99 in ms", p99_ms, "<=", 5);
    report_target(r, "ingest ratio to bare SQLite", worst, ">=", 0.8);
    return report_end(r);
}
