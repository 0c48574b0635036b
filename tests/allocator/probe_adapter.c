/* The adapters against the real libraries: what they tell must follow what the program does. */
#include "tests/allocator/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "allocators/adapters/adapter.h"

#define BLOCKS     64
#define BLOCK_SIZE ((size_t)1 << 20)
#define MOST       (BLOCKS * BLOCK_SIZE / 16 * 15)

/* What each allocator is able to tell, so that losing a figure fails. */
static const struct able {
    const char *name;
    bool version, stats, purge, allocated, committed, mapped;
} ables[] = {
    {"glibc", true, true, true, true, false, true},
    {"jemalloc", true, true, true, true, true, true},
    {"tcmalloc", true, true, true, true, true, true},
    {"mimalloc", true, true, true, false, true, false},
    {"tbb", false, false, true, false, false, false},
    {"scudo", false, true, true, true, false, true},
    {"hmalloc", true, true, true, true, true, false},
    {"classic", true, true, true, true, false, true},
};

static const struct able *able_of(const char *name)
{
    for (size_t i = 0; i < sizeof ables / sizeof ables[0]; i++)
        if (strcmp(ables[i].name, name) == 0)
            return &ables[i];
    return NULL;
}

static const char *check_version(struct probe *p, const struct adapter *a)
{
    char version[ADAPTER_VERSION_SIZE] = "";
    EXPECT(a->version(p->dl, version) == 0);
    EXPECT(strlen(version) > 0 && strlen(version) < sizeof version);
    if (strcmp(a->name, "classic") == 0)
        EXPECT(strstr(version, " 1")); /* "first fit 1", "slub 1" */
    else
        EXPECT(version[0] >= '1' && version[0] <= '9' && strchr(version, '.'));
    printf("%s %s\n", a->name, version);
    return NULL;
}

static const char *check_grown(const struct able *able, const struct adapter_stats *before,
                               const struct adapter_stats *full)
{
    EXPECT(able->allocated == (full->allocated_bytes != ADAPTER_UNKNOWN));
    EXPECT(able->committed == (full->committed_bytes != ADAPTER_UNKNOWN));
    EXPECT(able->mapped == (full->mapped_bytes != ADAPTER_UNKNOWN));
    if (able->allocated)
        EXPECT(full->allocated_bytes >= before->allocated_bytes + MOST);
    if (able->committed)
        EXPECT(full->committed_bytes >= before->committed_bytes + MOST);
    if (able->mapped)
        EXPECT(full->mapped_bytes >= before->mapped_bytes + MOST);
    if (able->allocated && able->mapped)
        EXPECT(full->mapped_bytes >= full->allocated_bytes);
    return NULL;
}

static const char *check_stats(struct probe *p, const struct adapter *a, const struct able *able)
{
    struct adapter_stats before, full, after;
    void *blocks[BLOCKS];
    p->free(p->malloc(100));
    EXPECT(a->stats(p->dl, &before) == 0);
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = p->malloc(BLOCK_SIZE);
        EXPECT(blocks[i]);
        memset(blocks[i], i + 1, BLOCK_SIZE);
    }
    EXPECT(a->stats(p->dl, &full) == 0);
    const char *failed = check_grown(able, &before, &full);
    for (int i = 0; i < BLOCKS; i++)
        p->free(blocks[i]);
    EXPECT(a->purge(p->dl) == 0);
    EXPECT(a->stats(p->dl, &after) == 0);
    if (able->allocated)
        EXPECT(after.allocated_bytes + MOST <= full.allocated_bytes);
    if (able->committed)
        EXPECT(after.committed_bytes + MOST <= full.committed_bytes);
    return failed;
}

/* Another allocator's adapter must find nothing here: not even in the C library below. */
static const char *check_strangers(struct probe *p)
{
    for (const struct adapter *const *a = adapters; *a; a++) {
        char version[ADAPTER_VERSION_SIZE];
        struct adapter_stats stats;
        bool own = strcmp((*a)->name, p->adapter) == 0;
        /* These two ask for names other allocators define themselves. */
        bool common = strcmp((*a)->name, "glibc") == 0 || strcmp((*a)->name, "scudo") == 0;
        if (own || common)
            continue;
        EXPECT(!(*a)->version || (*a)->version(p->dl, version) == -ENOSYS);
        if (strcmp((*a)->name, "classic") == 0 &&
            (strcmp(p->adapter, "scudo") == 0 || strcmp(p->adapter, "hmalloc") == 0))
            continue; /* mallinfo2 of their own */
        if (strcmp(p->adapter, "glibc") == 0)
            continue; /* its handle is the program, whose search order has everything */
        EXPECT(!(*a)->stats || (*a)->stats(p->dl, &stats) == -ENOSYS);
        EXPECT(!(*a)->purge || (*a)->purge(p->dl) == -ENOSYS);
    }
    return NULL;
}

const char *probe_adapter(struct probe *p, const char *arg)
{
    (void)arg;
    EXPECT(!adapter_find(""));
    EXPECT(!adapter_find("nosuch"));
    const struct adapter *a = adapter_find(p->adapter);
    const struct able *able = able_of(p->adapter);
    EXPECT(a && able);
    EXPECT(able->version == (a->version != NULL));
    EXPECT(able->stats == (a->stats != NULL));
    EXPECT(able->purge == (a->purge != NULL));
    const char *failed = check_strangers(p);
    if (!failed && a->version)
        failed = check_version(p, a);
    if (!failed && a->stats)
        failed = check_stats(p, a, able);
    if (!failed && !a->stats && a->purge)
        EXPECT(a->purge(p->dl) == 0);
    return failed;
}
