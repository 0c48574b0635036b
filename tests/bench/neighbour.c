#include "tests/bench/neighbour.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/hash.h"

/* Bursts and pauses are exponential, cut to these bounds: shorter ones a ring would average out,
 * longer ones hit all of it. */
#define BURST_MS_MIN  20.0
#define BURST_MS_MEAN 120.0
#define BURST_MS_MAX  500.0

static uint64_t draw_ns(uint64_t seed, uint64_t index)
{
    const double uniform = ((double)(hash_mix(seed, index) >> 11) + 0.5) / 9007199254740992.0;
    const double ms = fmin(fmax(-BURST_MS_MEAN * log(uniform), BURST_MS_MIN), BURST_MS_MAX);
    return (uint64_t)(ms * 1e6);
}

static void burn(uint64_t ns)
{
    const uint64_t end = clock_monotonic_ns() + ns;
    volatile uint64_t work = 0;
    while (clock_monotonic_ns() < end)
        for (unsigned i = 0; i < 10000; i++)
            work = work + i;
}

/* SCHED_BATCH: it takes its share of the CPU, and wakes up without pushing others off at once. */
static int settle(const uint16_t *cpus, uint32_t count)
{
    const struct sched_param parameters = {.sched_priority = 0};
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = 0; i < count; i++)
        CPU_SET(cpus[i], &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0 ||
        sched_setscheduler(0, SCHED_BATCH, &parameters) < 0)
        return -errno;
    (void)setpriority(PRIO_PROCESS, 0, 0); /* refused where the bench itself is nicer: so is it */
    return 0;
}

pid_t neighbour_start(const uint16_t *cpus, uint32_t count, uint64_t seed)
{
    const pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid < 0 ? -errno : pid;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || settle(cpus, count) < 0)
        _exit(1);
    for (uint64_t i = 0;; i += 2) {
        const uint64_t pause_ns = draw_ns(seed, i + 1);
        const struct timespec pause = {0, (long)pause_ns};
        burn(draw_ns(seed, i));
        (void)nanosleep(&pause, NULL);
    }
}

int neighbour_stop(pid_t pid)
{
    int status;
    (void)kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -ECHILD;
}
