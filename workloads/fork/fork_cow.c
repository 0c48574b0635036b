/* fork-cow: what the first writes after a fork cost. The heap is built by the allocator under
 * test; after fork() parent or child writes one byte into many pages that both share, and each
 * write makes the kernel copy. The other process sleeps meanwhile and then looks whether it still
 * sees the old values.
 *
 * The list of places is read through once before the clock starts: the writer's mapping of it is
 * as fresh as its heap's, and its faults are not the heap's. The first reading of smaps is thrown
 * away for the same reason: it copies the pages of the stack it runs on. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "workloads/fork/cow_targets.h"
#include "workloads/fork/fork_heap.h"
#include "workloads/pages/smaps.h"

enum { COW_WRITER = FORK_HEAP_PARAMS, COW_STRIDE, COW_FRACTION };
enum { WRITER_PARENT, WRITER_CHILD };

static const char *const writer_choices[] = {"parent", "child", NULL};
static const char *const stride_choices[] = {"4KiB", "64KiB", "2MiB", NULL};
static const uint64_t stride_bytes[] = {UINT64_C(4) << 10, UINT64_C(64) << 10, UINT64_C(2) << 20};

static const struct param_row cow_params[] = {
    FORK_HEAP_ROWS,
    [COW_WRITER] =
        PARAM_ROW_ENUM("writer", WRITER_PARENT, writer_choices, "Who writes after the fork."),
    [COW_STRIDE] = PARAM_ROW_ENUM("stride_bytes", 0, stride_choices,
                                  "Distance from one written byte to the next."),
    [COW_FRACTION] = PARAM_ROW_U64("fraction_pct", 25, 1, 100, "%",
                                   "Share of the heap, from its oldest block, that is written."),
};

static const enum metric_id cow_metrics[] = {
    METRIC_COW_NS_PER_WRITE,  METRIC_COW_BASE_NS_PER_WRITE,
    METRIC_COW_AMPLIFICATION, METRIC_PRIVATE_DIRTY_BYTES,
    METRIC_HUGE_LOST_BYTES,   METRIC_MINOR_FAULTS,
    METRIC_MAJOR_FAULTS,      METRIC_HEAP_BYTES,
    METRIC_HUGE_BYTES,        METRIC_INVOLUNTARY_SWITCHES,
    METRIC_MIGRATIONS,        TRIAL_ALLOCATOR_METRICS,
};

struct cow_pages {
    struct smaps_sum sum;
    int error;
};

struct cow_state {
    struct fork_heap *heap;
    unsigned char **targets;
    uint64_t targets_count;
    _Atomic uint32_t go; /* futex. Release by the parent when it has written, acquire by child */
    /* Written by the writer, read by the parent after the child's exit. */
    struct cow_pages before, after;
    uint64_t write_ns, base_ns;
    struct rusage usage_before, usage_after;
};

static uint64_t cow_stride(const struct trial *t)
{
    return stride_bytes[t->point->params[COW_STRIDE].u];
}

/* With the copies: both processes are charged to one limit. */
static uint64_t cow_heap_bytes(const struct workload_point *point)
{
    const uint64_t heap = fork_heap_bytes(point);
    return heap + COW_PAGE * cow_targets_max(heap, stride_bytes[point->params[COW_STRIDE].u],
                                             point->params[COW_FRACTION].u);
}

static int cow_setup(struct trial *t)
{
    struct cow_state *s = trial_shared(t, sizeof *s);
    if (!s)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness");
    t->state = s;
    const uint64_t max =
        cow_targets_max(fork_heap_bytes(t->point), cow_stride(t), t->point->params[COW_FRACTION].u);
    s->targets = trial_shared(t, max * sizeof s->targets[0]);
    if (!s->targets)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness");
    return fork_heap_setup(t, &s->heap);
}

static uint64_t cow_write(const struct cow_state *s, unsigned after)
{
    const uint64_t start_ns = clock_monotonic_ns();
    for (uint64_t i = 0; i < s->targets_count; i++)
        *(volatile unsigned char *)s->targets[i] = cow_value(i, after);
    return clock_monotonic_ns() - start_ns;
}

static bool cow_holds(const struct cow_state *s, unsigned after)
{
    for (uint64_t i = 0; i < s->targets_count; i++)
        if (*s->targets[i] != cow_value(i, after))
            return false;
    return true;
}

static void cow_read_pages(struct cow_pages *ret)
{
    ret->error = smaps_private(&ret->sum);
}

/* In the writer. No malloc, no trial_fail: the page of a child is not the trial's. */
static void cow_measure(struct cow_state *s)
{
    for (uint64_t i = 0; i < s->targets_count; i += COW_PAGE / sizeof s->targets[0])
        (void)*(unsigned char *volatile *)&s->targets[i];
    cow_read_pages(&s->before);
    cow_read_pages(&s->before);
    (void)getrusage(RUSAGE_SELF, &s->usage_before);
    (void)getrusage(RUSAGE_SELF, &s->usage_before);
    s->write_ns = cow_write(s, 1);
    (void)getrusage(RUSAGE_SELF, &s->usage_after);
    cow_read_pages(&s->after);
}

/* The child, until its exit status. 0 when it sees what it should. */
static int cow_child(struct cow_state *s, bool writes, bool contents, int ready_fd)
{
    if (writes)
        cow_measure(s);
    else if (write(ready_fd, "", 1) != 1)
        return 2;
    while (!writes && atomic_load_explicit(&s->go, memory_order_acquire) == 0)
        syscall(SYS_futex, &s->go, FUTEX_WAIT, 0, NULL, NULL, 0);
    return contents && !cow_holds(s, writes ? 1 : 0) ? 3 : 0;
}

/* The parent as the writer: first the child's own copying (its stack) must be over, which would
 * give pages back to the parent in the middle of the count. End of file: the child is dead. */
static void cow_parent_writes(struct cow_state *s, int ready_fd)
{
    char byte;
    ssize_t n;
    do
        n = read(ready_fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n != 1)
        return;
    cow_measure(s);
    atomic_store_explicit(&s->go, 1, memory_order_release);
    syscall(SYS_futex, &s->go, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int cow_fork(struct trial *t, struct cow_state *s)
{
    const bool child_writes = t->point->params[COW_WRITER].u == WRITER_CHILD;
    const bool contents = !(t->alloc.flags & RING_SUBJECT_NULL);
    const pid_t parent = getpid();
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return trial_fail(t, FAIL_SYSTEM, "pipe: %s", strerrordesc_np(errno));
    pid_t pid = fork();
    if (pid == 0) {
        close(ready[0]);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
            _exit(2);
        _exit(cow_child(s, child_writes, contents, ready[1]));
    }
    const int error = errno;
    close(ready[1]);
    if (pid > 0 && !child_writes)
        cow_parent_writes(s, ready[0]);
    close(ready[0]);
    if (pid < 0)
        return trial_fail(t, FAIL_SYSTEM, "fork: %s", strerrordesc_np(error));
    return fork_wait(t, pid, child_writes ? "write its copy and find it" : "find the old values");
}

static int cow_report(struct trial *t, const struct cow_state *s)
{
    const int error = s->before.error ? s->before.error : s->after.error;
    if (error < 0)
        return trial_fail(t, FAIL_SYSTEM, "smaps_rollup: %s", strerrordesc_np(-error));
    const double writes = (double)s->targets_count;
    const double dirty =
        (double)s->after.sum.private_dirty_bytes - (double)s->before.sum.private_dirty_bytes;
    trial_metric(t, METRIC_COW_NS_PER_WRITE, (double)s->write_ns / writes);
    trial_metric(t, METRIC_COW_BASE_NS_PER_WRITE, (double)s->base_ns / writes);
    trial_metric(t, METRIC_COW_AMPLIFICATION, dirty / (writes * COW_PAGE));
    trial_metric(t, METRIC_PRIVATE_DIRTY_BYTES, dirty);
    trial_metric(t, METRIC_HUGE_LOST_BYTES,
                 (double)s->before.sum.anon_huge_bytes - (double)s->after.sum.anon_huge_bytes);
    trial_metric(t, METRIC_MINOR_FAULTS,
                 (double)(s->usage_after.ru_minflt - s->usage_before.ru_minflt));
    trial_metric(t, METRIC_MAJOR_FAULTS,
                 (double)(s->usage_after.ru_majflt - s->usage_before.ru_majflt));
    return 0;
}

static int cow_run(struct trial *t, uint32_t thread)
{
    struct cow_state *s = t->state;
    if (thread != 0)
        return 0;
    int r = fork_heap_build(t, s->heap);
    if (r < 0)
        return r;
    s->targets_count =
        cow_targets(s->heap, cow_stride(t), t->point->params[COW_FRACTION].u, s->targets);
    (void)cow_write(s, 0); /* the measured base is of pages and list already warm */
    s->base_ns = cow_write(s, 0);
    r = cow_fork(t, s);
    return r < 0 ? r : cow_report(t, s);
}

static int cow_verify(struct trial *t, uint32_t thread)
{
    const struct cow_state *s = t->state;
    const bool wrote = t->point->params[COW_WRITER].u == WRITER_PARENT;
    if (thread != 0 || t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    if (!cow_holds(s, wrote ? 1 : 0))
        return trial_fail(t, FAIL_VERIFY, "after the fork the parent does not see %s values",
                          wrote ? "its own" : "the old");
    return fork_heap_verify(t, s->heap);
}

static int cow_teardown(struct trial *t, uint32_t thread)
{
    struct cow_state *s = t->state;
    if (thread == 0)
        fork_heap_free(t, s->heap);
    return 0;
}

const struct workload fork_cow = {
    .name = "fork-cow",
    .family = "fork",
    .summary = "First writes after a fork: time, faults and memory of copy on write.",
    .kind = WORKLOAD_ONESHOT,
    .axis = AXIS_ALLOCATOR,
    .tape = TAPE_NONE,
    .pages_mask = PAGES_BIT(PAGES_4K) | PAGES_BIT(PAGES_THP),
    .threads_max = 1,
    .params = cow_params,
    .params_count = sizeof cow_params / sizeof cow_params[0],
    .metrics = cow_metrics,
    .metrics_count = sizeof cow_metrics / sizeof cow_metrics[0],
    .checks_pages = true,
    .heap_bytes = cow_heap_bytes,
    .setup = cow_setup,
    .run = cow_run,
    .verify = cow_verify,
    .teardown = cow_teardown,
};
