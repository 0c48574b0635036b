/* Where and how threads run: CPUs of the plan, scheduling class, page mode of the process. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "workloads/runner/runner.h"

int pin_process(struct runner *r)
{
    /* SCHED_BATCH: a waking successor does not preempt the runner that hands over, which stays
     * runnable for the few microseconds until it sleeps. Threads inherit it. */
    const struct sched_param none = {0};
    if (r->plan->sched_batch && sched_setscheduler(0, SCHED_BATCH, &none) < 0)
        return runner_fail(r, FAIL_SYSTEM, "SCHED_BATCH: %s", strerrordesc_np(errno));
    if (r->subject->point.pages == PAGES_4K && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0)
        return runner_fail(r, FAIL_PAGES_UNAVAILABLE,
                           "transparent huge pages cannot be disabled: %s", strerrordesc_np(errno));
    return 0;
}

int pin_thread(struct runner *r, uint32_t thread)
{
    const unsigned cpu = r->plan->cpus[thread];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= CPU_SETSIZE || sched_setaffinity(0, sizeof set, &set) < 0)
        return runner_fail(r, FAIL_PIN, "thread %u cannot run on CPU %u: %s", thread, cpu,
                           cpu >= CPU_SETSIZE ? "no such CPU" : strerrordesc_np(errno));
    int now = sched_getcpu();
    if (now != (int)cpu)
        return runner_fail(r, FAIL_PIN, "thread %u was put on CPU %u and runs on %d", thread, cpu,
                           now);
    return 0;
}
