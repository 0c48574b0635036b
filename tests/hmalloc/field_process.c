/* Field complaints about loading, forking, foreign pointers and limits. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "field.h"

/* ---- 9: no room for static TLS when the library is loaded late ---- */

static int find_tls(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    size_t *ret = data;
    if (!info->dlpi_name || strcmp(info->dlpi_name, field_library()) != 0)
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            *ret = info->dlpi_phdr[i].p_memsz;
    return 1;
}

/* Without preload: load the library, allocate through it. */
static int late_load_child(int argc, char **argv)
{
    void *library = dlopen(argc > 0 ? argv[0] : "", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "field: %s\n", dlerror());
        return 3;
    }
    void *(*take)(size_t) = (void *(*)(size_t))dlsym(library, "malloc");
    void (*give)(void *) = (void (*)(void *))dlsym(library, "free");
    void *block = take ? take(100) : NULL;
    if (!block || !give)
        return 4;
    memset(block, 1, 100);
    give(block);
    return 0;
}

static void late_load(void)
{
    size_t bytes = 0;
    (void)dl_iterate_phdr(find_tls, &bytes);
    /* The C library keeps 512 bytes for all libraries that are loaded late. */
    field_most("static TLS", bytes, 64, "bytes");
    field_most("status of dlopen, malloc, free", (size_t)field_spawn(9, field_library(), false, 0),
               0, "");
}

/* ---- 10: the library is closed before the threads that used it end ---- */

static pthread_barrier_t closed;
static void *(*take_from)(size_t);

static void *outlive_library(void *data)
{
    (void)data;
    void *block = take_from(100);
    (void)pthread_barrier_wait(&closed); /* used */
    (void)pthread_barrier_wait(&closed); /* closed */
    return block;
}

static int close_child(int argc, char **argv)
{
    pthread_t threads[4];
    void *library = dlopen(argc > 0 ? argv[0] : "", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return 3;
    take_from = (void *(*)(size_t))dlsym(library, "malloc");
    (void)pthread_barrier_init(&closed, NULL, 5);
    for (unsigned i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, outlive_library, NULL) != 0)
            return 4;
    (void)pthread_barrier_wait(&closed);
    (void)dlclose(library);
    (void)pthread_barrier_wait(&closed);
    for (unsigned i = 0; i < 4; i++)
        (void)pthread_join(threads[i], NULL);
    return 0;
}

static void closed_early(void)
{
    field_most("status when threads outlive dlclose",
               (size_t)field_spawn(10, field_library(), false, 0), 0, "");
}

/* ---- 11: fork while other threads allocate ---- */

static _Atomic bool stop;

static void *busy(void *data)
{
    uint64_t state = (uintptr_t)data | 1;
    void *blocks[100] = {0};
    while (!stop) {
        void **slot = &blocks[field_random(&state) % 100];
        free(*slot);
        const uint64_t kind = field_random(&state);
        *slot = malloc(kind % 50 == 0 ? kind >> 8 & 0xfffff : kind >> 8 & 0x7ff);
    }
    field_free_all(blocks, 100);
    return NULL;
}

static void *in_child(void *data)
{
    void *blocks[2000];
    const size_t count = field_fill(blocks, 2000, MIB(2), 16, 4000);
    field_free_all(blocks, count);
    free(data);
    return field_block(100);
}

/* Everything a child may do: allocate, free what its parent allocated, threads, fork. */
static int forked(void **inherited, size_t count)
{
    pthread_t thread;
    void *block = NULL;
    field_free_all(inherited, count);
    free(in_child(field_block(10)));
    if (pthread_create(&thread, NULL, in_child, field_block(10)) != 0)
        return 5;
    (void)pthread_join(thread, &block);
    free(block);
    const int grandchild = fork();
    if (grandchild == 0)
        _exit(in_child(NULL) == NULL);
    return field_wait(grandchild, 20) == 0 ? 0 : 6;
}

static void fork_deadlock(void)
{
    enum { threads = 3, forks = 150, inherited = 500 };
    pthread_t thread[threads];
    void *blocks[inherited];
    size_t bad = 0;
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, busy, (void *)(i * 2 + 1)) != 0)
            field_die("pthread_create");
    for (unsigned i = 0; i < forks; i++) {
        const size_t count = field_fill(blocks, inherited, MIB(1), 16, 40000);
        const int pid = fork();
        if (pid == 0)
            _exit(forked(blocks, count));
        field_free_all(blocks, count);
        bad += field_wait(pid, 30) != 0;
    }
    stop = true;
    for (unsigned i = 0; i < threads; i++)
        (void)pthread_join(thread[i], NULL);
    field_most("of 150 children hung or failed", bad, 0, "");
}

/* ---- 13: pointers that another allocator made ---- */

extern void *__libc_malloc(size_t);

static char in_data[64];

/* Each must be survived: the block is left alone, realloc refuses. */
static int foreign_child(int argc, char **argv)
{
    char on_stack[64];
    void *const pointers[] = {
        in_data + 16,
        on_stack + 16,
        __libc_malloc(100),
        (char *)field_pages(MIB(1)),
        sbrk(4096),
        (void *)64,
        (void *)-64,
        (void *)((uintptr_t)1 << 46),
        (void *)(uintptr_t)&foreign_child,
    };
    const unsigned i = (unsigned)strtoul(argc > 0 ? argv[0] : "99", NULL, 10);
    if (i >= sizeof pointers / sizeof pointers[0])
        return 9;
    void *block = field_block(100);
    free(pointers[i]);
    errno = 0;
    void *moved = realloc(pointers[i], 200);
    const int status = moved ? 3 : 0;
    free(moved);
    free(block);
    return status;
}

static void foreign(void)
{
    size_t bad = 0;
    unsigned count = 0;
    (void)setenv("HMALLOC_ON_FAULT", "ignore", 1);
    for (;; count++) {
        char digits[8];
        (void)snprintf(digits, sizeof digits, "%u", count);
        const int status = field_spawn(13, digits, true, 0);
        if (status == 9)
            break;
        bad += status != 0;
    }
    field_least("pointers tried", count, 9, "");
    field_most("not survived with HMALLOC_ON_FAULT=ignore", bad, 0, "");
}

/* ---- 15: little address space ---- */

struct slot {
    unsigned char *block;
    size_t size;
};

#define SLOTS   3000
#define SEEKERS 6
static struct slot slots[SEEKERS][SLOTS];
static _Atomic size_t refused_count, damaged_count;

static void slot_check(const struct slot *s, unsigned char mark)
{
    damaged_count += s->block[0] != mark || s->block[s->size - 1] != mark;
}

/* More than there is, each block marked at both ends: refusals must leave everything in order. */
static void *limited_thread(void *data)
{
    enum { rounds = 60000 };
    struct slot *table = data;
    uint64_t state = (uintptr_t)data | 1;
    for (unsigned i = 0; i < rounds; i++) {
        struct slot *s = &table[field_random(&state) % SLOTS];
        const uint64_t r = field_random(&state);
        const unsigned char mark = (unsigned char)(s - table);
        const size_t size = 1 + (r >> 8) % (r % 100 < 90 ? 4000 : r % 100 < 99 ? 200000 : 8000000);
        if (s->block)
            slot_check(s, mark);
        if (s->block && r % 3 != 0) {
            free(s->block);
            s->block = NULL;
            continue;
        }
        unsigned char *block = realloc(s->block, size);
        refused_count += !block;
        if (block) {
            block[0] = block[size - 1] = mark;
            *s = (struct slot){block, size};
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        free(table[i].block);
    return NULL;
}

static int limited_threads(void)
{
    pthread_t thread[SEEKERS];
    pthread_attr_t attributes;
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, 65536);
    for (unsigned i = 0; i < SEEKERS; i++)
        if (pthread_create(&thread[i], &attributes, limited_thread, slots[i]) != 0)
            return 3;
    for (unsigned i = 0; i < SEEKERS; i++)
        (void)pthread_join(thread[i], NULL);
    if (damaged_count > 0)
        return 4;
    return refused_count > 0 ? 0 : 5;
}

/* Fill what there is, twice; prints nothing, because printing may need memory. */
static int limited_child(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "threads") == 0)
        return limited_threads();
    enum { room = 1 << 16 };
    static void *blocks[room];
    const size_t limit = strtoul(argc > 0 ? argv[0] : "0", NULL, 10);
    unsigned percent = 100;
    for (unsigned round = 0; round < 2; round++) {
        const size_t largest = limit / (round == 0 ? 2000 : 100);
        uint64_t state = 7;
        size_t count = 0, out = 0;
        for (;;) {
            const size_t size = 16 + field_random(&state) % largest;
            errno = 0;
            if (count == room || !(blocks[count] = malloc(size)))
                break;
            count++;
            out += size;
        }
        if (count < room && errno != ENOMEM)
            return 110;
        field_free_all(blocks, count);
        const unsigned got = (unsigned)(out / (limit / 100));
        percent = got < percent ? got : percent;
    }
    return (int)percent;
}

static void little_address_space(void)
{
    static const unsigned mib[] = {16384, 4096, 1024, 256, 96, 48};
    for (unsigned i = 0; i < sizeof mib / sizeof mib[0]; i++) {
        char bytes[24], what[64];
        (void)snprintf(bytes, sizeof bytes, "%zu", MIB(mib[i]));
        (void)snprintf(what, sizeof what, "usable with RLIMIT_AS of %u MiB", mib[i]);
        const int status = field_spawn(15, bytes, true, MIB(mib[i]));
        if (status > 100)
            field_most("status of a child", (size_t)status, 100, "");
        else
            field_least(what, (size_t)status, mib[i] >= 256 ? 60 : 40, "%");
    }
    field_most("status of six threads that want more than 128 MiB",
               (size_t)field_spawn(15, "threads", true, MIB(128)), 0, "");
}

const struct field_case field_process[] = {
    {9, "dlopen and static TLS", "jemalloc#937, #1237", late_load, late_load_child},
    {10, "dlclose before threads end", "mimalloc#809", closed_early, close_child},
    {11, "fork while others allocate", "gperftools#499, jemalloc#2019", fork_deadlock, NULL},
    {13, "Foreign pointers", "mimalloc#244", foreign, foreign_child},
    {15, "Little address space", "snmalloc#861", little_address_space, limited_child},
    {0, NULL, NULL, NULL, NULL},
};
