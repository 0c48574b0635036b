/* A scripted life of a store for fault tests: what was acknowledged, and whether it is there. */
#ifndef HEAPMARK_TESTS_STORE_SCENARIO_H
#define HEAPMARK_TESTS_STORE_SCENARIO_H

#include "tests/store/fixture.h"

struct scenario {
    struct fixture f;
    bool opened, job1, claimed, running, begun, finished, summarised, succeeded, job2, token, read;
    int64_t job_id, attempt_id;
    /* The first error anything returned; code ERR_NONE when all went well. */
    struct err first;
    unsigned failures;
    bool only_no_space; /* every error of a change was ERR_NO_SPACE */
};

/* Open the store in s->f.directory, do everything once, close it. Steps that lack their
 * precondition are left out. Never fails the test itself. */
void scenario_run(struct scenario *s);
/* Open again, without faults, and check that all that was acknowledged is there, that nothing is
 * there by half, and that the database is sound. */
void scenario_verify(struct scenario *s);

#endif
