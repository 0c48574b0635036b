/* What the kernel and the CPU count for a thread. Involuntary switches come from getrusage,
 * migrations from a software event (from sched_getcpu where perf is closed to us), TLB misses from
 * the CPU where it has the event and somebody asked. What is missing is absent, with the
 * reason (turns.c); it never reads as zero. */
#include <errno.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/log.h"
#include "workloads/runner/runner.h"

static int perf_event(uint32_t type, uint64_t config)
{
    struct perf_event_attr attr = {
        .type = type,
        .size = sizeof attr,
        .config = config,
        .exclude_kernel = type != PERF_TYPE_SOFTWARE,
        .exclude_hv = 1,
    };
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0 && type == PERF_TYPE_SOFTWARE && (errno == EACCES || errno == EPERM)) {
        attr.exclude_kernel = 1;
        fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
    return fd < 0 ? -errno : fd;
}

void perf_open(struct runner *r, struct crew_thread *t)
{
    const uint64_t dtlb = PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 |
                          PERF_COUNT_HW_CACHE_RESULT_MISS << 16;
    t->perf.cpu = r->plan->cpus[t->index];
    t->perf.migrations_fd = perf_event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS);
    t->perf.dtlb_fd = -1;
    if (trial_lists(&r->trial, METRIC_DTLB_MISSES_PER_ACCESS))
        t->perf.dtlb_fd = perf_event(PERF_TYPE_HW_CACHE, dtlb);
    if (t->index != 0)
        return;
    if (t->perf.migrations_fd < 0)
        log_info("no migration events: %s; counting by sched_getcpu",
                 strerrordesc_np(-t->perf.migrations_fd));
}

static uint64_t perf_value(int fd)
{
    uint64_t value = 0;
    return fd >= 0 && read(fd, &value, sizeof value) == sizeof value ? value : 0;
}

struct perf_sample perf_read(struct crew_thread *t)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_THREAD, &usage);
    if (t->perf.migrations_fd < 0 && sched_getcpu() != t->perf.cpu)
        t->perf.moved++;
    return (struct perf_sample){
        .involuntary_switches = (uint64_t)usage.ru_nivcsw,
        .migrations =
            t->perf.migrations_fd >= 0 ? perf_value(t->perf.migrations_fd) : t->perf.moved,
        .dtlb_misses = perf_value(t->perf.dtlb_fd),
    };
}
