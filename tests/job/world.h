/* A scheduler over a real store and a scripted executor. Whatever goes wrong here fails the running
 * cmocka test. */
#ifndef HEAPMARK_TESTS_JOB_WORLD_H
#define HEAPMARK_TESTS_JOB_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/job/scheduler.h"
#include "daemon/store/store.h"

struct world;

/* What the scripted executor does. Tests read `runs` while it goes on: a plain counter, nothing is
 * published with it. */
struct script {
    struct executor base;
    int (*behave)(struct script *s, const struct exec_request *q, struct exec_result *ret,
                  struct err *e);
    _Atomic unsigned runs;
    unsigned prefaulted;    /* runs with memory planned to be touched before */
    unsigned fail_first;    /* runs that end with ERR_IO before it works */
    double noise;           /* added to ln of the third runner's time, alternating by run */
    char crashing[48];      /* allocator that crashes */
    _Atomic bool hold;      /* wait for the interrupt instead of measuring */
    const char *outside_of; /* behave_outside: allocator that uses CPU outside its turns, */
    double outside;         /* so much, */
    unsigned outside_rings; /* in so many rings */
    unsigned failures;      /* of jemalloc so far; test_resume */
    bool disturbs;          /* and its rings' reference is slowed by it */
    unsigned hold_after;    /* behave_outside, behave_held: after this run, hold; 0: never */
    struct store *store; /* behave_settling: where it settles a step behind the scheduler's back */
    struct world *world; /* of behaviours that change its database */
};

struct world {
    char directory[64];
    unsigned seed; /* of jobs submitted from now on: 5 */
    struct store *store;
    struct events *events;
    struct script script;
    struct scheduler *scheduler;
    const char *cold_pages; /* of table-cold; NULL: the usual */
};

struct found {
    struct store_summary rows[256];
    char reasons[256][160]; /* of rows */
    unsigned count;
};

/* Every runner its allocator's time: glibc 100 ns a pair, jemalloc 50, null 40. */
int behave_well(struct script *s, const struct exec_request *q, struct exec_result *ret,
                struct err *e);

/* cmocka's assertions do not tell the analyzer that they never return; abort does. */
void *must_alloc(size_t size);

/* A directory and a script; nothing runs yet. */
struct world *world_new(void);
void world_free(struct world *w);
void world_start(struct world *w);
void world_stop(struct world *w);
/* All of it, and what a test still holds. */
void world_end(struct world *w, struct store_job *job);

/* table-churn (cells 0 glibc, 1 jemalloc, 2 null) and table-cold (3, 4, 5), seven times. */
void submit(struct world *w, char uuid[37]);
/* With `cells_missing` the store has fewer cells than the plan. */
void submit_without(struct world *w, uint32_t cells_missing, char uuid[37]);

/* Behind the store's back, through a connection of its own. */
void tamper(struct world *w, const char *sql);

void look(struct world *w, const char *uuid, struct store_job *ret);
enum job_state wait_final(struct world *w, const char *uuid, struct store_job *ret);
void wait_runs(struct world *w, unsigned runs);
void summaries(struct world *w, int64_t job_id, struct found *f);
const struct store_summary *row_of(const struct found *f, uint32_t cell, enum metric_id m);
void assert_near(double value, double wanted);

#endif
