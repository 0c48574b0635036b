/* What the store's tests share: a directory of their own, jobs and results with known content. */
#ifndef HEAPMARK_TESTS_STORE_FIXTURE_H
#define HEAPMARK_TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "daemon/store/store.h"

#define FIXTURE_CELLS  3
#define FIXTURE_SLICES 6
#define FIXTURE_HOST   "host-key-a"

struct fixture {
    char directory[64];
    struct store *store;
    struct err e;
};

/* A new empty directory under $TMPDIR, /dev/shm or /tmp; removed with all in it by fixture_remove.
 */
void fixture_directory(struct fixture *f);
void fixture_remove(struct fixture *f);
/* Open the store there; fails the test when that fails. */
void fixture_open(struct fixture *f);
int fixture_try_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* cmocka setup and teardown: directory and open store in *state. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Number n as a UUID. */
void fixture_uuid(unsigned n, char ret[37]);
/* A job of FIXTURE_CELLS cells: reference "glibc" and two subjects. */
void fixture_job(unsigned n, struct store_job_new *ret);
int fixture_job_add(struct store *s, unsigned n, struct err *e);
/* Add, claim and start job n; returns its id. */
int64_t fixture_job_running(struct fixture *f, unsigned n);
/* A view with a long deadline; fails the test when there is none. */
struct store_view *fixture_view(struct fixture *f);
/* Job n as stored; store_job_done it. */
void fixture_job_get(struct fixture *f, unsigned n, struct store_job *ret);
/* Ring (repetition, 0) of a job: reference, control, subject cell 1. */
struct store_ring_new fixture_ring(int64_t job_id, uint32_t repetition);
/* A result of three good runners whose numbers depend on `n`; borrows static storage. */
void fixture_result(unsigned n, struct exec_request *request, struct exec_result *result);

/* Run SQL on the closed database, as no program of ours would. */
void fixture_tamper(struct fixture *f, const char *sql);

/* The closed database is sound: integrity_check and foreign_key_check. */
void fixture_check(struct fixture *f);

#endif
