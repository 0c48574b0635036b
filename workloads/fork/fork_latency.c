/* fork-latency: what a fork costs a process with a heap of a given size. The heap is built by the
 * allocator under test, so its page tables, the number of its mappings and its fork handlers are
 * what is paid for. Each call: fork, the child exits at once, the parent waits.
 *
 * One process on one CPU: the child starts when the parent waits. vfork lends its memory to the
 * child instead of copying page tables, so its time includes the child's exit; it is the floor.
 * posix_spawn lends it too, until the child has become another program (heapmark-nothing, which
 * lies beside the runner): what a program pays that starts others.
 * Two calls before the measured ones are not counted: they fill the kernel's caches of page
 * tables and task structures. */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "workloads/fork/fork_heap.h"

enum { LATENCY_CALLS = FORK_HEAP_PARAMS, LATENCY_METHOD };
enum { METHOD_FORK, METHOD_VFORK, METHOD_SPAWN };

#define CALLS_MAX     2000
#define WARM_CALLS    2
#define P99_CALLS_MIN 100 /* fewer calls do not have a 99th percentile */

static const char *const method_choices[] = {"fork", "vfork", "posix_spawn", NULL};

static const struct param_row latency_params[] = {
    FORK_HEAP_ROWS,
    [LATENCY_CALLS] = PARAM_ROW_U64("calls", 30, 1, CALLS_MAX, "calls",
                                    "Measured calls; 100 or more also give a 99th percentile."),
    [LATENCY_METHOD] = PARAM_ROW_ENUM("method", METHOD_FORK, method_choices,
                                      "fork copies the page tables, vfork lends the memory, "
                                      "posix_spawn lends it and runs another program."),
};

static const enum metric_id latency_metrics[] = {
    METRIC_FORK_NS,       METRIC_FORK_WAIT_NS,         METRIC_FORK_P99_NS, METRIC_FORK_MAX_NS,
    METRIC_FORK_CALLS_NS, METRIC_HEAP_BYTES,           METRIC_HUGE_BYTES,  METRIC_MINOR_FAULTS,
    METRIC_MAJOR_FAULTS,  METRIC_INVOLUNTARY_SWITCHES, METRIC_MIGRATIONS,  TRIAL_ALLOCATOR_METRICS,
};

struct latency_state {
    char program[PATH_MAX]; /* posix_spawn: what it runs */
    struct fork_heap *heap;
    double fork_ns[CALLS_MAX], wait_ns[CALLS_MAX], sorted[CALLS_MAX];
};

/* heapmark-nothing, in the directory of this program. */
static int latency_find_program(struct trial *t, char *path, size_t size)
{
    static const char name[] = "heapmark-nothing";
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof name);
    if (n < 0 || (size_t)n >= size - sizeof name)
        return trial_fail(t, FAIL_SYSTEM, "/proc/self/exe: %s",
                          strerrordesc_np(n < 0 ? errno : ENAMETOOLONG));
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    memcpy(slash ? slash + 1 : path, name, sizeof name);
    return 0;
}

static int latency_setup(struct trial *t)
{
    struct latency_state *s = trial_shared(t, sizeof *s);
    if (!s)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness");
    t->state = s;
    if (t->point->params[LATENCY_METHOD].u == METHOD_SPAWN) {
        int r = latency_find_program(t, s->program, sizeof s->program);
        if (r < 0)
            return r;
    }
    return fork_heap_setup(t, &s->heap);
}

/* Apart, so that the child of vfork returns into nothing of the caller's frame. */
static __attribute__((noinline)) pid_t latency_vfork(void)
{
    pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): what is measured */
    if (pid == 0)
        _exit(0);
    return pid;
}

static pid_t latency_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid;
}

/* A process id, or -1 and errno as fork does. */
static pid_t latency_spawn(char *program)
{
    char *argv[] = {program, NULL}, *env[] = {NULL};
    pid_t pid;
    int error = posix_spawn(&pid, program, NULL, NULL, argv, env);
    if (error == 0)
        return pid;
    errno = error;
    return -1;
}

static pid_t latency_start(struct trial *t)
{
    struct latency_state *s = t->state;
    switch (t->point->params[LATENCY_METHOD].u) {
    case METHOD_VFORK:
        return latency_vfork();
    case METHOD_SPAWN:
        return latency_spawn(s->program);
    default:
        return latency_fork();
    }
}

static int latency_call(struct trial *t, double *ret_fork_ns, double *ret_wait_ns)
{
    const uint64_t start_ns = clock_monotonic_ns();
    pid_t pid = latency_start(t);
    const uint64_t forked_ns = clock_monotonic_ns();
    if (pid < 0)
        return trial_fail(t, FAIL_SYSTEM, "%s: %s",
                          method_choices[t->point->params[LATENCY_METHOD].u],
                          strerrordesc_np(errno));
    int r = fork_wait(t, pid, "exit");
    *ret_fork_ns = (double)(forked_ns - start_ns);
    *ret_wait_ns = (double)(clock_monotonic_ns() - start_ns);
    return r;
}

static void sort(double *values, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++) {
        const double value = values[i];
        uint64_t k = i;
        for (; k > 0 && values[k - 1] > value; k--)
            values[k] = values[k - 1];
        values[k] = value;
    }
}

static double median(const double *sorted, uint64_t count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

static void latency_report(struct trial *t, struct latency_state *s, uint64_t calls)
{
    memcpy(s->sorted, s->wait_ns, calls * sizeof s->sorted[0]);
    sort(s->sorted, calls);
    trial_metric(t, METRIC_FORK_WAIT_NS, median(s->sorted, calls));
    memcpy(s->sorted, s->fork_ns, calls * sizeof s->sorted[0]);
    sort(s->sorted, calls);
    trial_metric(t, METRIC_FORK_NS, median(s->sorted, calls));
    trial_metric(t, METRIC_FORK_MAX_NS, s->sorted[calls - 1]);
    if (calls >= P99_CALLS_MIN) /* nearest rank: the smallest value that 99% do not exceed */
        trial_metric(t, METRIC_FORK_P99_NS, s->sorted[(calls * 99 + 99) / 100 - 1]);
    trial_vector(t, METRIC_FORK_CALLS_NS, s->fork_ns, (uint32_t)calls);
}

static int latency_run(struct trial *t, uint32_t thread)
{
    struct latency_state *s = t->state;
    const uint64_t calls = t->point->params[LATENCY_CALLS].u;
    if (thread != 0)
        return 0;
    int r = fork_heap_build(t, s->heap);
    double unused[2];
    for (int i = 0; i < WARM_CALLS && r == 0; i++)
        r = latency_call(t, &unused[0], &unused[1]);
    for (uint64_t i = 0; i < calls && r == 0; i++)
        r = latency_call(t, &s->fork_ns[i], &s->wait_ns[i]);
    if (r == 0)
        latency_report(t, s, calls);
    return r;
}

static int latency_verify(struct trial *t, uint32_t thread)
{
    struct latency_state *s = t->state;
    return thread == 0 ? fork_heap_verify(t, s->heap) : 0;
}

static int latency_teardown(struct trial *t, uint32_t thread)
{
    struct latency_state *s = t->state;
    if (thread == 0)
        fork_heap_free(t, s->heap);
    return 0;
}

const struct workload fork_latency = {
    .name = "fork-latency",
    .family = "fork",
    .summary = "fork, child exit and wait in a process whose heap the allocator built.",
    .kind = WORKLOAD_ONESHOT,
    .axis = AXIS_ALLOCATOR,
    .tape = TAPE_NONE,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP),
    .threads_max = 1,
    .params = latency_params,
    .params_count = sizeof latency_params / sizeof latency_params[0],
    .metrics = latency_metrics,
    .metrics_count = sizeof latency_metrics / sizeof latency_metrics[0],
    .checks_pages = true,
    .heap_bytes = fork_heap_bytes,
    .setup = latency_setup,
    .run = latency_run,
    .verify = latency_verify,
    .teardown = latency_teardown,
};
