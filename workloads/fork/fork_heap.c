#include "workloads/fork/fork_heap.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/base/hash.h"

#define PAGE 4096u

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

static int heap_check_pages(struct trial *t)
{
    uint64_t huge = 0;
    if (t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    int r = trial_smaps_bytes(0, "AnonHugePages", &huge);
    if (r < 0)
        return trial_fail(t, FAIL_SYSTEM, "smaps_rollup: %s", strerrordesc_np(-r));
    trial_metric(t, METRIC_HUGE_BYTES, (double)huge);
    if (t->point->pages == PAGES_4K && huge > 0)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE, "pages 4k: %llu bytes are on huge pages",
                          (unsigned long long)huge);
    if (t->point->pages == PAGES_THP && huge == 0)
        return trial_fail(t, FAIL_PAGES_UNAVAILABLE,
                          "no transparent huge page backs the heap: write always to "
                          "/sys/kernel/mm/transparent_hugepage/enabled, or this allocator grows "
                          "its heap in steps too small for them");
    return 0;
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
    trial_metric(t, METRIC_HEAP_BYTES, (double)trial_heap_bytes(t));
    return heap_check_pages(t);
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
