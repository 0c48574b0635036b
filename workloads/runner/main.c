/* heapmark-runner INDEX: one trial of one allocator, started by heapmark-supervisor with the
 * descriptors of workloads/ring/ring.h. Reports through its page; stderr is a bounded log. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "workloads/runner/runner.h"

/* Say why in the page, then leave the ring, so that the others go on. */
static int main_failed(struct runner *r)
{
    uint32_t failure = atomic_load_explicit(&r->failure, memory_order_acquire);
    /* Another thread may still be writing the message it won the right to write. */
    while (failure != FAIL_NONE && !atomic_load_explicit(&r->failure_told, memory_order_acquire))
        usleep(100);
    log_error("%s: %s", runner_failure_name((enum runner_failure)failure), r->message);
    if (r->page) {
        r->page->failure = failure;
        memcpy(r->page->message, r->message, sizeof r->page->message);
        join_report(r, RUNNER_FAILED);
        turns_drop(r);
    }
    return RUNNER_EXIT_FAILED;
}

static int main_prepare(struct runner *r)
{
    int e = pin_process(r);
    if (e == 0)
        e = load_allocator(r);
    if (e == 0)
        e = crew_start(r);
    if (e == 0)
        e = heap_base(r);
    if (e == 0 && r->trial.workload->setup)
        e = r->trial.workload->setup(&r->trial);
    if (e < 0 && !runner_failed(r))
        return runner_fail(r, FAIL_SYSTEM, "%s, setup: %s", r->trial.workload->name,
                           strerrordesc_np(-e));
    return e;
}

static int main_run(struct runner *r)
{
    if (join_ring(r) < 0)
        return main_failed(r);
    join_report(r, RUNNER_MAPPED);
    int go = join_wait_gate(r);
    if (go == 2)
        return RUNNER_EXIT_OK;
    if (go < 0 || main_prepare(r) < 0)
        return main_failed(r);
    join_report(r, RUNNER_READY);
    if (turns_run(r) < 0)
        return main_failed(r);
    join_report(r, RUNNER_FINISHED);
    return RUNNER_EXIT_OK;
}

/* -1 unless argv is one digit that can be an index. */
static int main_index(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] < '0' || argv[1][1] != '\0' || argv[1][0] >= '0' + RING_RUNNERS_MAX)
        return -1;
    return argv[1][0] - '0';
}

int main(int argc, char **argv)
{
    int index = main_index(argc, argv);
    if (index < 0) {
        log_error("usage: heapmark-runner INDEX (started by heapmark-supervisor)");
        return RUNNER_EXIT_USAGE;
    }
    const pid_t parent = getppid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return RUNNER_EXIT_FAILED;
    /* The log pipe may lose its reader; that is no reason to die. */
    (void)signal(SIGPIPE, SIG_IGN);
    struct runner r = {.index = (uint32_t)index};
    /* _exit: neither the allocator's exit handlers nor the threads' are part of the trial. */
    _exit(main_run(&r));
}
