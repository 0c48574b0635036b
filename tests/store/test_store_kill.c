/* kill -9 at random moments: a child opens the store, recovers, and lets one thread play the
 * scheduler and three submit and cancel jobs; each says over a pipe what was acknowledged to it.
 * Whatever was said must be there afterwards, the database sound, and nothing be there by half.
 * HEAPMARK_KILLS sets the number of kills (100). */
#include "tests/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"
#include "daemon/base/log.h"

#define JOBS_MAX   200000
#define RINGS      3
#define SUBMITTERS 3

enum said { SAID_ADDED = 1, SAID_CANCELLED, SAID_RING, SAID_SUCCEEDED };
struct ack {
    uint32_t said; /* enum said */
    uint32_t n;    /* job */
    uint32_t rings;
};

struct child {
    struct fixture f;
    int pipe;
    unsigned first; /* number of the first new job */
    unsigned index; /* of a submitter */
};

static void say(const struct child *c, enum said said, unsigned n, unsigned rings)
{
    struct ack ack = {said, n, rings};
    if (write(c->pipe, &ack, sizeof ack) != (ssize_t)sizeof ack)
        _exit(9);
}

static void *submitter_main(void *arg)
{
    const struct child *c = arg;
    struct err e;
    for (unsigned n = c->first + c->index; n < JOBS_MAX; n += SUBMITTERS) {
        if (fixture_job_add(c->f.store, n, &e) < 0) {
            fprintf(stderr, "child: %s\n", e.message);
            _exit(7);
        }
        say(c, SAID_ADDED, n, 0);
        if (n % 5 == 0) {
            enum job_state state;
            char uuid[37];
            fixture_uuid(n, uuid);
            if (store_job_cancel(c->f.store, uuid, &state, &e) < 0)
                _exit(7);
            say(c, SAID_CANCELLED, n, 0);
        }
    }
    return NULL;
}

static int steps_done(void *ctx, const struct store_step *step)
{
    bool *done = ctx;
    if (step->repetition < RINGS)
        done[step->repetition] = step->accepted;
    return 0;
}

static int run_ring(struct child *c, const struct store_job *job, uint32_t repetition,
                    struct err *e)
{
    struct exec_request request;
    struct exec_result result;
    struct store_ring_new ring = fixture_ring(job->id, repetition);
    char uuid[37];
    int64_t id;
    int r = store_attempt_begin(c->f.store, &ring, "local", uuid, &id, e);
    fixture_result(repetition, &request, &result);
    return r < 0 ? r : store_attempt_finish(c->f.store, id, &request, &result, e);
}

static int run_job(struct child *c, const struct store_job *job, unsigned n, struct err *e)
{
    bool done[RINGS] = {false};
    struct store_view *v;
    int r = store_job_set_state(c->f.store, job->uuid, JOB_RUNNING, NULL, e);
    if (r == 0)
        r = store_view_acquire(c->f.store, 10000, &v, e);
    if (r == 0) {
        r = store_view_steps(v, job->id, steps_done, done, e);
        store_view_release(v);
    }
    for (uint32_t i = 0; r == 0 && i < RINGS; i++) {
        if (!done[i])
            r = run_ring(c, job, i, e);
        if (r == 0)
            say(c, SAID_RING, n, i + 1);
    }
    if (r == 0)
        r = store_job_set_state(c->f.store, job->uuid, JOB_SUCCEEDED, NULL, e);
    if (r == 0)
        say(c, SAID_SUCCEEDED, n, RINGS);
    return r;
}

/* Which of this test's jobs it is: its UUID begins with that. */
static unsigned job_number(const char *uuid)
{
    return (unsigned)strtoul(uuid, NULL, 16);
}

static void scheduler_main(struct child *c)
{
    for (;;) {
        struct store_job job;
        struct err e = {0};
        int r = store_job_claim(c->f.store, FIXTURE_HOST, &job, &e);
        if (r == 0)
            continue;
        unsigned n = r > 0 ? job_number(job.uuid) : 0;
        if (r > 0)
            r = run_job(c, &job, n, &e);
        if (r < 0) {
            fprintf(stderr, "child: %s\n", e.message);
            _exit(8);
        }
        store_job_done(&job);
    }
}

static void child_main(struct child *c)
{
    struct child submitters[SUBMITTERS];
    pthread_t thread;
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    if (fixture_try_open(&c->f) < 0 || store_recover(c->f.store, 1000000, &c->f.e) < 0) {
        fprintf(stderr, "child: %s\n", c->f.e.message);
        _exit(6);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = *c;
        submitters[i].index = i;
        if (pthread_create(&thread, NULL, submitter_main, &submitters[i]) != 0)
            _exit(5);
    }
    scheduler_main(c);
}

/* ---- the parent ---- */

struct known {
    bool added, cancelled, succeeded;
    unsigned rings;
};

struct parent {
    struct fixture f;
    struct known *jobs; /* JOBS_MAX */
    unsigned next;      /* above every number a child may have used */
    unsigned acks;
};

static void listen_to(struct parent *p, int pipe_fd)
{
    struct ack ack;
    while (read(pipe_fd, &ack, sizeof ack) == (ssize_t)sizeof ack) {
        assert_true(ack.n < JOBS_MAX);
        struct known *job = &p->jobs[ack.n];
        p->acks++;
        job->added |= ack.said == SAID_ADDED;
        job->cancelled |= ack.said == SAID_CANCELLED;
        job->succeeded |= ack.said == SAID_SUCCEEDED;
        if (ack.rings > job->rings)
            job->rings = ack.rings;
        if (ack.said == SAID_ADDED && ack.n >= p->next)
            p->next = ack.n + 1;
    }
}

static void kill_once(struct parent *p, uint64_t delay_us)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct child c = {.f = p->f, .pipe = fds[1], .first = p->next};
        close(fds[0]);
        child_main(&c);
    }
    close(fds[1]);
    nanosleep(&(struct timespec){.tv_nsec = (long)delay_us * 1000}, NULL);
    kill(pid, SIGKILL);
    listen_to(p, fds[0]);
    close(fds[0]);
    p->next += 64; /* what the child stored and could not say has a number, too */
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        fail_msg("the child ended by itself with %d", WEXITSTATUS(status));
}

struct check {
    struct parent *p;
    struct store_view *v;
    unsigned seen;
};

static int count_trial(void *ctx, const struct store_trial *trial)
{
    unsigned *trials = ctx;
    *trials += strcmp(trial->attempt_state, "accepted") == 0;
    return 0;
}

static int check_job(void *ctx, const struct store_job *job)
{
    struct check *check = ctx;
    unsigned n = job_number(job->uuid), trials = 0;
    struct store_trial_filter all = {.job_id = job->id, .cell_idx = -1};
    const struct known *known = &check->p->jobs[n];
    check->seen += known->added;
    assert_int_equal(job->cells_count, FIXTURE_CELLS);
    assert_true(job->steps_done >= known->rings);
    if (known->succeeded)
        assert_int_equal(job->state, JOB_SUCCEEDED);
    if (known->cancelled)
        assert_true(job->cancel_requested || job->state == JOB_SUCCEEDED);
    assert_int_equal(store_view_trials(check->v, &all, count_trial, &trials, NULL), 0);
    assert_int_equal(trials, job->steps_done * 3); /* whole rings only */
    return 0;
}

static void check_all(struct parent *p)
{
    unsigned added = 0;
    for (unsigned n = 0; n < JOBS_MAX; n++)
        added += p->jobs[n].added;
    fixture_open(&p->f);
    {
        struct store_job_filter any = {.state = -1};
        cleanup_(store_view_release_p) struct store_view *v = NULL;
        assert_int_equal(store_view_acquire(p->f.store, 60000, &v, &p->f.e), 0);
        struct check check = {.p = p, .v = v};
        assert_int_equal(store_view_jobs(v, &any, check_job, &check, &p->f.e), 0);
        assert_int_equal(check.seen, added);
    }
    fixture_close(&p->f);
    fixture_check(&p->f);
}

static void test_kill_at_random_moments(void **state)
{
    (void)state;
    const char *text = getenv("HEAPMARK_KILLS");
    unsigned kills = text ? (unsigned)strtoul(text, NULL, 10) : 100;
    struct parent p = {.jobs = calloc(JOBS_MAX, sizeof(struct known))};
    uint64_t seed = clock_monotonic_ns();
    assert_non_null(p.jobs);
    print_message("seed %llu\n", (unsigned long long)seed);
    fixture_directory(&p.f);
    for (unsigned i = 0; i < kills; i++) {
        kill_once(&p, hash_mix(seed, i) % 60000);
        /* Most of the time the next child, not we, finds what the kill left. */
        if (i % 10 == 9)
            check_all(&p);
    }
    check_all(&p);
    print_message("%u kills, %u acknowledgements, none lost\n", kills, p.acks);
    assert_true(p.acks > kills); /* else the kills came before anything happened */
    fixture_remove(&p.f);
    free(p.jobs);
}

int main(void)
{
    log_set(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill_at_random_moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
