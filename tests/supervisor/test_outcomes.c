/* Rings of real processes under the real supervisor: whatever one runner does, the others go on,
 * the outcome says what it did, and nothing of it is left. Also run inside a virtual machine with
 * cgroup v2 only (qemu_v2.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/supervisor/client.h"

#define NEEDS_UID    1u /* meaningful only when runners have their own uid */
#define NEEDS_MEMORY 2u
#define SHORT_TURN   4u

static const struct {
    const char *mode;
    enum wire_outcome outcome;
    int exit_status, signal;
    unsigned flags;
} misbehaviours[] = {
    {"normal", OUTCOME_OK, 0, 0, 0},
    {"reach", OUTCOME_OK, 0, 0, NEEDS_UID},
    {"flood", OUTCOME_OK, 0, 0, 0},
    {"orphan", OUTCOME_OK, 0, 0, 0},
    {"orphan-crash", OUTCOME_CRASHED, -1, SIGABRT, 0},
    {"crash", OUTCOME_CRASHED, -1, SIGABRT, 0},
    {"exit-3", OUTCOME_EXITED, 3, 0, 0},
    {"exit-unmapped", OUTCOME_EXITED, 3, 0, 0},
    {"exit-0", OUTCOME_PROTOCOL, 0, 0, 0},
    {"finish-early", OUTCOME_PROTOCOL, 0, 0, 0},
    {"failed", OUTCOME_FAILED, 10, 0, 0},
    {"hang", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"spin", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"never-ready", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"ignore-term", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"linger", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"fork-bomb", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"never-map", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-ahead", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-beyond", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-back", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-done", OUTCOME_TURN_TIMEOUT, -1, SIGKILL, SHORT_TURN},
    {"lie-dropped", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-state", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"lie-state-back", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"scribble", OUTCOME_PROTOCOL, -1, SIGKILL, 0},
    {"oom", OUTCOME_OOM, -1, SIGKILL, NEEDS_MEMORY},
};

static void check_runner(const char *mode, unsigned i, const struct wire_runner_done *d,
                         enum wire_outcome outcome, int exit_status, int signal_number)
{
    if (d->outcome != outcome || d->exit_status != exit_status || d->signal != signal_number)
        fail_msg("%s, runner %u: %s, exit %d, signal %d, turns %u; expected %s, %d, %d", mode, i,
                 wire_outcome_name((enum wire_outcome)d->outcome), d->exit_status, d->signal,
                 d->turns_done, wire_outcome_name(outcome), exit_status, signal_number);
}

static void misbehaviour_run(struct client *c, size_t k)
{
    unsigned flags = misbehaviours[k].flags;
    if ((flags & NEEDS_UID && !(c->hello.isolation & ISOLATION_UID)) ||
        (flags & NEEDS_MEMORY && !(c->hello.isolation & ISOLATION_CGROUP_MEMORY))) {
        print_message("not possible here: %s\n", misbehaviours[k].mode);
        return;
    }
    const char *const modes[] = {"normal", misbehaviours[k].mode, "normal"};
    struct wire_launch q;
    client_fake_launch(&q, 3, modes);
    if (flags & SHORT_TURN)
        q.turn_ms_max = 1000;
    if (flags & NEEDS_MEMORY)
        q.memory_limit_bytes = 64u << 20;
    struct wire_done done;
    client_run(c, &q, &done);
    check_runner(misbehaviours[k].mode, 0, &done.runners[0], OUTCOME_OK, 0, 0);
    check_runner(misbehaviours[k].mode, 1, &done.runners[1], misbehaviours[k].outcome,
                 misbehaviours[k].exit_status, misbehaviours[k].signal);
    check_runner(misbehaviours[k].mode, 2, &done.runners[2], OUTCOME_OK, 0, 0);
    assert_int_equal(done.runners[1].oom_kills > 0, misbehaviours[k].outcome == OUTCOME_OOM);
    client_assert_clean(c);
}

static void run_all(const struct client_options *options)
{
    struct client c;
    client_start(&c, options);
    for (size_t k = 0; k < sizeof misbehaviours / sizeof misbehaviours[0]; k++)
        misbehaviour_run(&c, k);
    /* All of it in one worker: nothing above made it die. */
    client_send(&c, WIRE_PING, 7, NULL, NULL, 0);
    client_hello(&c);
    assert_int_equal(c.hello.generation, 1);
    client_stop(&c);
}

static void test_misbehaviours(void **state)
{
    (void)state;
    run_all(&(struct client_options){0});
}

static void test_misbehaviours_as_nobody(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    run_all(&(struct client_options){.as_nobody = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misbehaviours),
        cmocka_unit_test(test_misbehaviours_as_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
