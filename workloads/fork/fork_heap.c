#include "workloads/fork/fork_heap.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/base/hash.h"
#include "workloads/pages/mapping.h"
#include "workloads/pages/smaps.h"

#define PAGE 4096u
#define HUGE ((uintptr_t)2 << 20)

static uint64_t blocks_count(const struct workload_point *point)
{
    const uint64_t rss = point->params[FORK_RSS].u, block = point->params[FORK_BLOCK].u;
    return (rss + block - 1) / block;
}

uint64_t fork_heap_bytes(const struct workload_point *point)
{
    return blocks_count(point) * point->params[FORK_BLOCK].u;
}

int fork_heap_setup(struct trial *t, struct fork_heap **ret)
{
    const uint64_t count = blocks_count(t->point);
    struct fork_heap *h = trial_shared(t, sizeof *h + count * sizeof h->blocks[0]);
    if (!h)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness");
    h->block_bytes = t->point->params[FORK_BLOCK].u;
    h->blocks_count = count;
    *ret = h;
    return 0;
}

static uint64_t block_word(uint64_t index)
{
    return hash_mix(index, 0xf0);
}

/* Only where blocks are: the mapping around them may be far larger than what is in use. */
static void heap_collapse(const struct fork_heap *h)
{
    uintptr_t done = 0;
    for (uint64_t i = 0; i < h->blocks_count; i++) {
        const uintptr_t block = (uintptr_t)h->blocks[i];
        for (uintptr_t at = block / HUGE * HUGE; at < block + h->block_bytes; at += HUGE) {
            if (at != done)
                mapping_collapse((void *)at, HUGE); /* NOLINT(performance-no-int-to-ptr) */
            done = at;
        }
    }
}

static int heap_check_pages(struct trial *t, uint64_t heap_bytes)
{
    struct smaps_sum sum;
    int r = smaps_private(&sum);
    if (r < 0)
        return trial_fail(t, FAIL_SYSTEM, "smaps: %s", strerrordesc_np(-r));
    const unsigned long long huge = sum.anon_huge_bytes, heap = heap_bytes;
    trial_metric(t, METRIC_HUGE_BYTES, (double)huge);
    if (t->point->pages == PAGES_4K && huge > 0)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE, "pages 4k: %llu bytes are on huge pages",
                          huge);
    if (t->point->pages == PAGES_THP && huge < heap / 2)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "transparent huge pages back %llu of %llu heap bytes: free memory is "
                          "too fragmented (write 1 to /proc/sys/vm/compact_memory), or this "
                          "allocator's mappings do not hold whole huge pages",
                          huge, heap);
    return 0;
}

static int heap_pages(struct trial *t, const struct fork_heap *h)
{
    const bool thp = t->point->pages == PAGES_THP, real = !(t->alloc.flags & RING_SUBJECT_NULL);
    if (thp && real && mapping_thp_is_never())
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "transparent huge pages are off on this host: write always to "
                          "/sys/kernel/mm/transparent_hugepage/enabled");
    if (thp && real)
        heap_collapse(h);
    const uint64_t heap_bytes = trial_heap_bytes(t);
    trial_metric(t, METRIC_HEAP_BYTES, (double)heap_bytes);
    return real ? heap_check_pages(t, heap_bytes) : 0;
}

int fork_heap_build(struct trial *t, struct fork_heap *h)
{
    for (uint64_t i = 0; i < h->blocks_count; i++) {
        char *block = t->alloc.malloc(h->block_bytes);
        if (!block)
            return trial_fail(t, FAIL_ENOMEM, "malloc(%llu) returned NULL at block %llu of %llu",
                              (unsigned long long)h->block_bytes, (unsigned long long)i,
                              (unsigned long long)h->blocks_count);
        const uint64_t word = block_word(i);
        for (uint64_t at = 0; at < h->block_bytes; at += PAGE)
            ((volatile char *)block)[at] = 1;
        ((volatile char *)block)[h->block_bytes - 1] = 1;
        memcpy(block, &word, sizeof word);
        h->blocks[i] = block;
    }
    return heap_pages(t, h);
}

int fork_heap_verify(struct trial *t, const struct fork_heap *h)
{
    if (t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    for (uint64_t i = 0; i < h->blocks_count; i++) {
        const uint64_t word = block_word(i);
        if (memcmp(h->blocks[i], &word, sizeof word) != 0)
            return trial_fail(t, FAIL_VERIFY,
                              "block %llu at %p does not hold what was written: it overlaps "
                              "another or was overwritten",
                              (unsigned long long)i, (void *)h->blocks[i]);
    }
    return 0;
}

void fork_heap_free(struct trial *t, struct fork_heap *h)
{
    for (uint64_t i = 0; i < h->blocks_count; i++)
        t->alloc.free(h->blocks[i]);
}

int fork_wait(struct trial *t, pid_t pid, const char *what)
{
    int status;
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return trial_fail(t, FAIL_SYSTEM, "waitpid: %s", strerrordesc_np(errno));
    if (WIFSIGNALED(status))
        return trial_fail(t, FAIL_SYSTEM, "the child had to %s and died by signal %d", what,
                          WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return trial_fail(t, FAIL_VERIFY, "the child had to %s and exited with %d", what,
                          WEXITSTATUS(status));
    return 0;
}
