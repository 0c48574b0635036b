/* Random operations against a shadow of what each block must hold: on threads that hand blocks to
 * each other, across forks, and at the end of memory. */
#include "tests/allocator/probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 8
#define SLOTS       256
#define SHARED      128
#define OPS         60000

/* A block's own head says what the rest must be, so that any thread can check it. */
struct head {
    uint32_t size;
    uint32_t seed;
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void write_block(void *block, uint32_t size, uint32_t seed)
{
    struct head head = {size, seed};
    memcpy(block, &head, sizeof head);
    unsigned char *body = (unsigned char *)block + sizeof head;
    for (uint32_t i = 0; i < size - sizeof head; i++)
        body[i] = (unsigned char)((seed >> 8) + i * (seed | 1));
}

static bool check_block(const void *block, uint32_t up_to)
{
    struct head head;
    memcpy(&head, block, sizeof head);
    if (head.size < sizeof head)
        return false;
    const unsigned char *body = (const unsigned char *)block + sizeof head;
    uint32_t count = (head.size < up_to ? head.size : up_to) - (uint32_t)sizeof head;
    for (uint32_t i = 0; i < count; i++)
        if (body[i] != (unsigned char)((head.seed >> 8) + i * (head.seed | 1)))
            return false;
    return true;
}

static uint32_t block_bytes(const void *block)
{
    struct head head;
    memcpy(&head, block, sizeof head);
    return head.size;
}

struct stream {
    struct probe *p;
    uint64_t seed;
    _Atomic(void *) *shared; /* blocks change threads here: exchange, acquire and release */
    const char *failed;
};

static uint32_t random_size(uint64_t *seed)
{
    uint64_t r = next_random(seed);
    uint32_t least = sizeof(struct head);
    if (r % 2000 == 0)
        return least + (uint32_t)(next_random(seed) % (2 << 20));
    return least + (uint32_t)(next_random(seed) % (r % 20 == 0 ? 40000 : 1024));
}

static const char *put_new(struct stream *s, void **slot)
{
    uint32_t size = random_size(&s->seed), seed = (uint32_t)next_random(&s->seed);
    size_t alignment = 16;
    if (s->p->aligned_alloc && seed % 16 == 0) {
        alignment <<= next_random(&s->seed) % 9;
        size = (size + (uint32_t)alignment - 1) & ~((uint32_t)alignment - 1);
        *slot = s->p->aligned_alloc(alignment, size);
    } else if (s->p->calloc && seed % 16 == 1) {
        *slot = s->p->calloc(1, size);
        for (uint32_t i = 0; *slot && i < size; i++)
            EXPECT(((unsigned char *)*slot)[i] == 0);
    } else {
        *slot = s->p->malloc(size);
        alignment = size < 16 ? 8 : 16;
    }
    EXPECT(*slot);
    EXPECT((uintptr_t)*slot % alignment == 0);
    write_block(*slot, size, seed);
    return NULL;
}

static const char *resize(struct stream *s, void **slot)
{
    uint32_t size = random_size(&s->seed), old = block_bytes(*slot);
    EXPECT(check_block(*slot, old));
    void *moved = s->p->realloc(*slot, size);
    EXPECT(moved);
    EXPECT(check_block(moved, size));
    *slot = moved;
    write_block(moved, size, (uint32_t)next_random(&s->seed));
    return NULL;
}

static const char *step(struct stream *s, void **slot)
{
    if (!*slot)
        return put_new(s, slot);
    uint64_t r = next_random(&s->seed);
    if (r % 8 == 0 && s->p->realloc)
        return resize(s, slot);
    if (r % 8 < 4) {
        *slot = atomic_exchange_explicit(&s->shared[r / 8 % SHARED], *slot, memory_order_acq_rel);
        if (*slot)
            EXPECT(check_block(*slot, UINT32_MAX));
        return NULL;
    }
    EXPECT(check_block(*slot, UINT32_MAX));
    s->p->free(*slot);
    *slot = NULL;
    return NULL;
}

static void *stream_thread(void *arg)
{
    struct stream *s = arg;
    void *slots[SLOTS] = {0};
    for (int i = 0; i < OPS && !s->failed; i++)
        s->failed = step(s, &slots[next_random(&s->seed) % SLOTS]);
    for (int i = 0; i < SLOTS && !s->failed; i++) {
        if (slots[i] && !check_block(slots[i], UINT32_MAX))
            s->failed = "contents at the end";
        s->p->free(slots[i]);
    }
    return NULL;
}

/* The first number of /proc/self/statm: pages of address space. -1: unreadable. */
static long address_space_pages(void)
{
    char line[128];
    FILE *f = fopen("/proc/self/statm", "re");
    bool good = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    return good ? strtol(line, NULL, 10) : -1;
}

static const char *heap_is_sound(struct probe *p)
{
    if (strcmp(p->adapter, "classic") != 0)
        return NULL;
    int (*check)(void) = (int (*)(void))probe_symbol(p, "classic_check");
    EXPECT(check() == 0);
    return NULL;
}

const char *probe_stream(struct probe *p, const char *arg)
{
    static _Atomic(void *) shared[SHARED];
    static struct stream streams[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    long count = strtol(arg, NULL, 10);
    EXPECT(count >= 1 && count <= THREADS_MAX);
    for (long i = 0; i < count; i++) {
        streams[i] =
            (struct stream){p, UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(i + 1), shared, NULL};
        EXPECT(pthread_create(&threads[i], NULL, stream_thread, &streams[i]) == 0);
    }
    const char *failed = NULL;
    for (long i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        failed = failed ? failed : streams[i].failed;
    }
    for (int i = 0; i < SHARED; i++) {
        if (shared[i] && !failed && !check_block(shared[i], UINT32_MAX))
            failed = "contents of what the threads left behind";
        p->free(atomic_exchange_explicit(&shared[i], NULL, memory_order_acq_rel));
    }
    return failed ? failed : heap_is_sound(p);
}

/* --- fork ------------------------------------------------------------------------------------ */

struct churn {
    struct probe *p;
    atomic_bool stop; /* relaxed: only that it becomes true matters */
    atomic_ulong ops;
};

static void *churn_thread(void *arg)
{
    struct churn *c = arg;
    void *slots[64] = {0};
    uint64_t seed = (uintptr_t)&slots | 1;
    while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
        void **slot = &slots[next_random(&seed) % 64];
        c->p->free(*slot);
        *slot = c->p->malloc(next_random(&seed) % 3000);
        atomic_fetch_add_explicit(&c->ops, 1, memory_order_relaxed);
        if (seed % 512 == 0)
            usleep(50); /* two CPUs for everyone: let the forks happen */
    }
    for (int i = 0; i < 64; i++)
        c->p->free(slots[i]);
    return NULL;
}

/* In the child: every kind of call once, with the parent's blocks too. 0: good. */
static int fork_child(struct probe *p, void *inherited)
{
    alarm(10); /* a lock left by a thread that is not here: die and be seen */
    if (!check_block(inherited, UINT32_MAX))
        return 1;
    p->free(inherited);
    for (uint32_t i = 0; i < 500; i++) {
        void *block = p->malloc(8 + i * 7);
        if (!block)
            return 2;
        write_block(block, 8 + i * 7, i);
        if (!check_block(block, UINT32_MAX))
            return 3;
        p->free(block);
    }
    return heap_is_sound(p) ? 4 : 0;
}

const char *probe_fork(struct probe *p, const char *arg)
{
    enum { THREADS = 3, FORKS = 60 };
    pthread_t threads[THREADS];
    struct churn churn = {.p = p};
    (void)arg;
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&threads[i], NULL, churn_thread, &churn) == 0);
    for (int i = 0; i < FORKS; i++) {
        void *block = p->malloc(5000);
        EXPECT(block);
        write_block(block, 5000, (uint32_t)i);
        unsigned long before = atomic_load_explicit(&churn.ops, memory_order_relaxed);
        while (atomic_load_explicit(&churn.ops, memory_order_relaxed) == before)
            usleep(10); /* fork while others are at work */
        pid_t pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0)
            _exit(fork_child(p, block));
        int status;
        EXPECT(waitpid(pid, &status, 0) == pid);
        EXPECT(WIFEXITED(status));
        EXPECT(WEXITSTATUS(status) == 0);
        EXPECT(check_block(block, UINT32_MAX));
        p->free(block);
    }
    atomic_store_explicit(&churn.stop, true, memory_order_relaxed);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return heap_is_sound(p);
}

/* --- threads that come and go ---------------------------------------------------------------- */

static void *short_thread(void *arg)
{
    struct probe *p = arg;
    void *blocks[500];
    for (uint32_t i = 0; i < 500; i++) {
        blocks[i] = p->malloc(16 + i * 4);
        if (!blocks[i])
            return NULL;
        write_block(blocks[i], 16 + i * 4, i);
    }
    for (uint32_t i = 0; i < 500; i++) {
        if (!check_block(blocks[i], UINT32_MAX))
            return NULL;
        p->free(blocks[i]);
    }
    return p;
}

static void *one_block(void *arg)
{
    struct probe *p = arg;
    return p->malloc(100);
}

/* What a thread held is used again by those after it; and two threads never get one block, not
 * even from the null allocator, whose blocks would otherwise share cache lines. */
const char *probe_threads(struct probe *p, const char *arg)
{
    enum { WARM = 10, COUNT = 200 };
    pthread_t thread;
    void *result, *mine = p->malloc(100);
    long before = 0;
    (void)arg;
    EXPECT(pthread_create(&thread, NULL, one_block, p) == 0);
    pthread_join(thread, &result);
    EXPECT(mine && result && mine != result);
    for (int i = 0; i < COUNT && !(p->flags & RING_SUBJECT_NULL); i++) {
        if (i == WARM)
            before = address_space_pages();
        EXPECT(pthread_create(&thread, NULL, short_thread, p) == 0);
        pthread_join(thread, &result);
        EXPECT(result == p);
    }
    if (!(p->flags & (RING_SUBJECT_NULL | RING_SUBJECT_NO_FREE)))
        EXPECT((address_space_pages() - before) * sysconf(_SC_PAGESIZE) < 64 << 20);
    return heap_is_sound(p);
}

/* --- the end of memory ----------------------------------------------------------------------- */

static bool limit_address_space(size_t more)
{
    long pages = address_space_pages();
    if (pages < 0)
        return false;
    rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    return setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}) == 0;
}

/* A list of blocks through the blocks themselves. */
static size_t exhaust(struct probe *p, size_t size, void **ret_list)
{
    size_t count = 0;
    void *list = NULL, *block;
    errno = 0;
    while ((block = p->malloc(size))) {
        *(void **)block = list;
        list = block;
        count++;
    }
    *ret_list = list;
    return count;
}

static void free_list(struct probe *p, void *list)
{
    while (list) {
        void *next = *(void **)list;
        p->free(list);
        list = next;
    }
}

const char *probe_enomem(struct probe *p, const char *arg)
{
    static const size_t sizes[] = {1000, 40, 20000, 300000, 1000};
    bool reuses = !(p->flags & RING_SUBJECT_NO_FREE);
    size_t limit = (size_t)48 << 20, first = 0;
    (void)arg;
    void *kept = p->malloc(5000);
    EXPECT(kept);
    write_block(kept, 5000, 77);
    EXPECT(limit_address_space(limit));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *list;
        size_t count = exhaust(p, sizes[i], &list);
        EXPECT(errno == ENOMEM);
        size_t block = list && p->usable_size ? p->usable_size(list) : sizes[i];
        errno = 0;
        EXPECT(!p->malloc(limit) && errno == ENOMEM);
        if (p->realloc) {
            errno = 0;
            EXPECT(!p->realloc(kept, limit) && errno == ENOMEM);
        }
        EXPECT(check_block(kept, UINT32_MAX));
        if (!reuses)
            return NULL;
        /* Nearly all of it was handed out, not only what regions of the usual size hold. */
        EXPECT(strcmp(p->adapter, "classic") != 0 || count * (block + 64) > limit / 10 * 8);
        if (i == 0)
            first = count;
        free_list(p, list);
        EXPECT(p->malloc(1000)); /* memory came back */
        /* The same size again: as much as the first time, give or take where regions fall. */
        EXPECT(i + 1 < sizeof sizes / sizeof sizes[0] || count > first / 4 * 3);
    }
    EXPECT(check_block(kept, UINT32_MAX));
    p->free(kept);
    return heap_is_sound(p);
}

/* --- page modes ------------------------------------------------------------------------------- */

static long smaps_kib(const char *field)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
            kib = strtol(line + strlen(field) + 1, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

/* 40 MB of small blocks lie, for the most part, on the kind of page asked for. */
const char *probe_pages(struct probe *p, const char *arg)
{
    long before = smaps_kib(arg);
    for (int i = 0; i < 40000; i++) {
        void *block = p->malloc(1000);
        EXPECT(block);
        memset(block, 1, 1000);
    }
    EXPECT(before >= 0);
    EXPECT(smaps_kib(arg) - before >= 30000);
    return NULL;
}
