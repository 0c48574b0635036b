/* How much memory the allocator holds, and on which pages.
 *
 * The heap is anonymous plus hugetlb memory above what the process had once allocator and
 * threads were there. smaps_rollup, not status: since Linux 6.2 the counters behind status are
 * per-CPU and off by up to a batch per CPU, megabytes on a large machine; walking the page tables
 * is exact and happens only between phases. The high-water mark is the kernel's (VmHWM), reset
 * when the base is taken; ru_maxrss would be inherited over exec. It does come from those per-CPU
 * counters, up to a batch (32 pages, on large machines more) low per CPU used. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/text.h"
#include "workloads/runner/runner.h"

int trial_smaps_bytes(int pid, const char *field, uint64_t *ret_bytes)
{
    char path[64] = "/proc/self/smaps_rollup", text[4096];
    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    ssize_t n = io_read_file(AT_FDCWD, path, text, sizeof text);
    return n < 0 ? (int)n : text_kib_field(text, field, ret_bytes);
}

static int heap_hugetlb(const char *smaps, uint64_t *ret_bytes)
{
    uint64_t own = 0, shared = 0;
    int r = text_kib_field(smaps, "Private_Hugetlb", &own);
    if (r == 0)
        r = text_kib_field(smaps, "Shared_Hugetlb", &shared);
    *ret_bytes = own + shared;
    return r;
}

static int heap_now(uint64_t *ret_bytes)
{
    char smaps[4096];
    uint64_t anonymous, hugetlb;
    ssize_t n = io_read_file(AT_FDCWD, "/proc/self/smaps_rollup", smaps, sizeof smaps);
    int r = n < 0 ? (int)n : text_kib_field(smaps, "Anonymous", &anonymous);
    if (r == 0)
        r = heap_hugetlb(smaps, &hugetlb);
    if (r == 0)
        *ret_bytes = anonymous + hugetlb;
    return r;
}

int heap_base(struct runner *r)
{
    int e = heap_now(&r->heap.base_bytes);
    if (e < 0)
        return runner_fail(r, FAIL_SYSTEM, "smaps_rollup: %s", strerrordesc_np(-e));
    /* 5 resets VmHWM to the present size; without the right to, the mark of loading remains,
     * which is below any heap worth measuring. */
    (void)io_write_file(AT_FDCWD, "/proc/self/clear_refs", "5");
    return 0;
}

static uint64_t heap_above_base(const struct runner *r, uint64_t bytes)
{
    return bytes > r->heap.base_bytes ? bytes - r->heap.base_bytes : 0;
}

uint64_t trial_heap_bytes(struct trial *t)
{
    struct runner *r = t->owner;
    uint64_t bytes = 0;
    int e = heap_now(&bytes);
    if (e < 0)
        (void)runner_fail(r, FAIL_SYSTEM, "smaps_rollup: %s", strerrordesc_np(-e));
    bytes = heap_above_base(r, bytes);
    if (bytes > r->heap.seen_bytes)
        r->heap.seen_bytes = bytes;
    return bytes;
}

/* The mark is of all resident memory; files and shared memory only ever grow here, so what they
 * are now is the most they were then. hugetlb is not in it and is taken as it is now. */
uint64_t trial_heap_peak_bytes(struct trial *t)
{
    struct runner *r = t->owner;
    char status[8192], smaps[4096];
    uint64_t mark, files, shared, hugetlb = 0;
    (void)trial_heap_bytes(t);
    if (io_read_file(AT_FDCWD, "/proc/self/status", status, sizeof status) < 0 ||
        text_kib_field(status, "VmHWM", &mark) < 0 ||
        text_kib_field(status, "RssFile", &files) < 0 ||
        text_kib_field(status, "RssShmem", &shared) < 0)
        return r->heap.seen_bytes;
    if (io_read_file(AT_FDCWD, "/proc/self/smaps_rollup", smaps, sizeof smaps) >= 0)
        (void)heap_hugetlb(smaps, &hugetlb);
    const uint64_t other = files + shared;
    const uint64_t peak = heap_above_base(r, (mark > other ? mark - other : 0) + hugetlb);
    if (peak > r->heap.seen_bytes)
        r->heap.seen_bytes = peak;
    return r->heap.seen_bytes;
}

/* A heap counts as huge when at least half of it is: metadata and small arenas never are. */
static int heap_check_huge(struct runner *r, uint64_t huge, uint64_t heap)
{
    const enum page_mode mode = (enum page_mode)r->subject->point.pages;
    trial_metric(&r->trial, METRIC_HUGE_BYTES, (double)huge);
    if (mode == PAGES_THP && (huge == 0 || huge < heap / 2))
        return runner_fail(r, FAIL_PAGES_UNAVAILABLE,
                           "%llu of %llu heap bytes (%.0f %%) are on transparent huge pages, half "
                           "is needed: set /sys/kernel/mm/transparent_hugepage/enabled to always, "
                           "or use a larger heap",
                           (unsigned long long)huge, (unsigned long long)heap,
                           heap ? 100.0 * (double)huge / (double)heap : 0.0);
    if (mode != PAGES_THP && huge < heap / 2)
        return runner_fail(r, FAIL_PAGES_UNAVAILABLE,
                           "%llu of %llu heap bytes are on hugetlb pages: the allocator was not "
                           "told to use them, or too few are reserved",
                           (unsigned long long)huge, (unsigned long long)heap);
    return 0;
}

int heap_check_pages(struct runner *r)
{
    const enum page_mode mode = (enum page_mode)r->subject->point.pages;
    const bool no_heap = r->subject->flags & RING_SUBJECT_NULL;
    char smaps[4096];
    uint64_t thp = 0, hugetlb = 0;
    if (r->trial.workload->axis != AXIS_ALLOCATOR || r->trial.workload->checks_pages || no_heap)
        return 0;
    if (io_read_file(AT_FDCWD, "/proc/self/smaps_rollup", smaps, sizeof smaps) < 0 ||
        text_kib_field(smaps, "AnonHugePages", &thp) < 0 || heap_hugetlb(smaps, &hugetlb) < 0)
        return runner_fail(r, FAIL_SYSTEM, "smaps_rollup cannot be read");
    if (mode == PAGES_4K && thp + hugetlb > 0)
        return runner_fail(r, FAIL_PAGES_UNAVAILABLE, "pages 4k: %llu bytes are on huge pages",
                           (unsigned long long)thp + hugetlb);
    if (mode == PAGES_4K)
        return 0;
    return heap_check_huge(r, mode == PAGES_THP ? thp : hugetlb, trial_heap_bytes(&r->trial));
}
