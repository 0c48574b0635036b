#include "workloads/pages/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/base/clock.h"
#include "daemon/base/io.h"
#include "workloads/pages/smaps.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define SMALL_PAGE   4096u
#define HUGE_SHIFT   26 /* MAP_HUGE_SHIFT */
#define COLLAPSE_MAX 8
#define THP_DIR      "/sys/kernel/mm/transparent_hugepage/"

static bool is_hugetlb(enum page_mode mode)
{
    return mode == PAGES_HUGETLB_2M || mode == PAGES_HUGETLB_1G;
}

uint64_t mapping_size(uint64_t bytes, enum page_mode mode)
{
    const uint64_t page = page_mode_bytes(mode);
    return (bytes + page - 1) / page * page;
}

uint64_t mapping_hugetlb_pages(uint64_t bytes, enum page_mode mode)
{
    return is_hugetlb(mode) ? mapping_size(bytes, mode) / page_mode_bytes(mode) : 0;
}

static int hugetlb_refused(struct trial *t, const struct mapping *m, const char *call, int error)
{
    return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                      "%llu huge pages of %s are needed (%s: %s): reserve them in "
                      "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages, or at boot",
                      (unsigned long long)mapping_hugetlb_pages(m->bytes, m->mode),
                      m->mode == PAGES_HUGETLB_1G ? "1 GiB" : "2 MiB", call, strerrordesc_np(error),
                      (unsigned long long)page_mode_bytes(m->mode) / 1024);
}

bool mapping_thp_is_never(void)
{
    char text[128];
    ssize_t n = io_read_file(AT_FDCWD, THP_DIR "hugepages-2048kB/enabled", text, sizeof text);
    if (n < 0 || strstr(text, "[inherit]"))
        n = io_read_file(AT_FDCWD, THP_DIR "enabled", text, sizeof text);
    return n >= 0 && strstr(text, "[never]");
}

static int advise(struct trial *t, const struct mapping *m)
{
    if (m->mode == PAGES_4K) {
        /* EINVAL: a kernel without transparent huge pages, which is what is wanted. */
        if (madvise(m->base, m->bytes, MADV_NOHUGEPAGE) < 0 && errno != EINVAL)
            return trial_fail(t, FAIL_SYSTEM, "MADV_NOHUGEPAGE: %s", strerrordesc_np(errno));
        return 0;
    }
    if (m->mode != PAGES_THP)
        return 0;
    if (mapping_thp_is_never())
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "transparent huge pages are off on this host: write madvise or always "
                          "to " THP_DIR "enabled");
    if (madvise(m->base, m->bytes, MADV_HUGEPAGE) < 0)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "this kernel has no transparent huge pages (MADV_HUGEPAGE: %s)",
                          strerrordesc_np(errno));
    return 0;
}

int mapping_make(struct trial *t, uint64_t bytes, struct mapping *ret)
{
    struct mapping m = {.mode = (enum page_mode)t->point->pages};
    const uint64_t page = page_mode_bytes(m.mode);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    m.bytes = mapping_size(bytes, m.mode);
    /* A page of nothing on either side keeps the kernel from merging ours with a neighbour, so
     * that smaps speaks of this mapping alone. */
    m.reserve_bytes = m.bytes + 2 * page;
    m.reserve =
        mmap(NULL, m.reserve_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m.reserve == MAP_FAILED)
        return trial_fail(t, FAIL_SYSTEM, "no address space for %llu bytes: %s",
                          (unsigned long long)m.reserve_bytes, strerrordesc_np(errno));
    m.base = (char *)(((uintptr_t)m.reserve + page) / page * page);
    if (is_hugetlb(m.mode))
        flags |= MAP_HUGETLB | __builtin_ctzll(page) << HUGE_SHIFT;
    if (mmap(m.base, m.bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
        return is_hugetlb(m.mode) ? hugetlb_refused(t, &m, "mmap", errno)
                                  : trial_fail(t, FAIL_SYSTEM, "mmap of %llu bytes: %s",
                                               (unsigned long long)m.bytes, strerrordesc_np(errno));
    int r = advise(t, &m);
    if (r == 0)
        *ret = m;
    return r;
}

/* hugetlb pages are populated by call: a write to one that a cgroup's limit or a lost reservation
 * denies would end the process by SIGBUS. One call a page, as one write is one fault. */
static int touch_hugetlb(struct trial *t, const struct mapping *m, uint64_t from, uint64_t to)
{
    const uint64_t page = page_mode_bytes(m->mode);
    for (uint64_t at = from; at < to; at += page) {
        if (madvise(m->base + at, page, MADV_POPULATE_WRITE) == 0)
            continue;
        if (errno != EINVAL)
            return hugetlb_refused(t, m, "MADV_POPULATE_WRITE", errno);
        *(volatile char *)(m->base + at) = 1; /* before Linux 5.14 */
    }
    return 0;
}

int mapping_touch(struct trial *t, const struct mapping *m, uint64_t from, uint64_t to,
                  uint64_t *ns)
{
    int r = 0;
    const uint64_t start_ns = clock_monotonic_ns();
    if (is_hugetlb(m->mode))
        r = touch_hugetlb(t, m, from, to);
    else
        for (uint64_t at = from; at < to; at += SMALL_PAGE)
            *(volatile char *)(m->base + at) = 1;
    *ns += clock_monotonic_ns() - start_ns;
    return r;
}

static int mapping_smaps(struct trial *t, const struct mapping *m, struct smaps_sum *ret)
{
    int r = smaps_range(m->base, m->bytes, ret);
    if (r < 0)
        return trial_fail(t, FAIL_SYSTEM, "smaps of the mapping: %s", strerrordesc_np(-r));
    return 0;
}

static bool thp_enough(const struct mapping *m, uint64_t huge_bytes)
{
    return huge_bytes >= m->bytes / 100 * MAPPING_THP_PERCENT_MIN;
}

void mapping_collapse(void *at, uint64_t bytes)
{
    for (int i = 0; i < COLLAPSE_MAX; i++)
        if (madvise(at, bytes, MADV_COLLAPSE) == 0 || errno != EAGAIN)
            return;
}

int mapping_back(struct trial *t, const struct mapping *m)
{
    struct smaps_sum sum;
    uint64_t huge_bytes;
    int r = mapping_smaps(t, m, &sum);
    if (r < 0)
        return r;
    /* Where faults did not find free huge pages, the kernel may still put some together. */
    if (m->mode == PAGES_THP && !thp_enough(m, sum.anon_huge_bytes))
        mapping_collapse(m->base, m->bytes);
    return mapping_check(t, m, &huge_bytes);
}

int mapping_check(struct trial *t, const struct mapping *m, uint64_t *ret_huge_bytes)
{
    struct smaps_sum sum;
    int r = mapping_smaps(t, m, &sum);
    if (r < 0)
        return r;
    const unsigned long long have = is_hugetlb(m->mode) ? sum.hugetlb_bytes : sum.anon_huge_bytes;
    const unsigned long long whole = m->bytes;
    if (m->mode == PAGES_4K && sum.anon_huge_bytes + sum.hugetlb_bytes > 0)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE, "pages 4k: %llu bytes are on huge pages",
                          (unsigned long long)sum.anon_huge_bytes + sum.hugetlb_bytes);
    if (m->mode == PAGES_THP && !thp_enough(m, have))
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "transparent huge pages back %llu of %llu bytes: free memory is too "
                          "little or too fragmented (write 1 to /proc/sys/vm/compact_memory)",
                          have, whole);
    if (is_hugetlb(m->mode) && (have != whole || sum.kernel_page_bytes != page_mode_bytes(m->mode)))
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "%llu of %llu bytes are on hugetlb pages, of %llu bytes each", have,
                          whole, (unsigned long long)sum.kernel_page_bytes);
    *ret_huge_bytes = have;
    return 0;
}

void mapping_done(struct mapping *m)
{
    if (m->reserve)
        (void)munmap(m->reserve, m->reserve_bytes);
    *m = (struct mapping){0};
}
