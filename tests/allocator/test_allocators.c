/* Every allocator of the shipped catalogue, found, opened and given its environment as the
 * supervisor does it, put to the tests of hm_allocator_probe in a process of its own each.
 *
 * An in-tree allocator must be there; one that is not installed is skipped by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/catalog/catalog.h"
#include "tests/allocator/probe.h"

#define OUTPUT_MAX 4096

struct world {
    struct catalog *catalog;
    char probe[256];
};

struct outcome {
    int status; /* of waitpid */
    char output[OUTPUT_MAX];
};

static int set_up(void **state)
{
    static struct world world;
    char shipped[256], libraries[256];
    const char *source = getenv("HEAPMARK_SOURCE_DIR"), *build = getenv("HEAPMARK_BUILD_DIR");
    *state = &world;
    if (!source || !build) {
        print_error("HEAPMARK_SOURCE_DIR or HEAPMARK_BUILD_DIR is not set: run through ctest\n");
        return -1;
    }
    snprintf(shipped, sizeof shipped, "%s/allocators/catalog", source);
    snprintf(libraries, sizeof libraries, "%s/lib", build);
    snprintf(world.probe, sizeof world.probe, "%s/tests/hm_allocator_probe", build);
    const char *dirs[] = {shipped, NULL}, *library_dirs[] = {libraries, NULL};
    struct err e;
    if (catalog_load(dirs, library_dirs, &world.catalog, &e) != 0) {
        print_error("%s\n", e.message);
        return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    catalog_free(world->catalog);
    return 0;
}

static bool in_tree(const struct catalog_entry *entry)
{
    return entry->package[0] == '\0';
}

static void read_all(int fd, char output[OUTPUT_MAX])
{
    size_t used = 0;
    ssize_t n;
    char rest[512];
    while (used < OUTPUT_MAX - 1 && (n = read(fd, output + used, OUTPUT_MAX - 1 - used)) > 0)
        used += (size_t)n;
    output[used] = '\0';
    while (read(fd, rest, sizeof rest) > 0)
        ;
}

/* Run the probe with exactly this argv and environment; stdout and stderr come back together. */
static struct outcome spawn(char *const *argv, char *const *env)
{
    struct outcome o = {0};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execve(argv[0], argv, env);
        _exit(127);
    }
    close(fds[1]);
    read_all(fds[0], o.output);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &o.status, 0), pid);
    return o;
}

/* One probe of one entry. False: not installed. */
static bool probe(const struct world *world, const struct catalog_entry *entry,
                  const char *const *options, uint32_t options_count, const char *mode,
                  const char *arg, struct outcome *ret)
{
    struct err e;
    struct catalog_environment env;
    char path[CATALOG_PATH_SIZE], flags[16];
    cleanup_(close_p) int fd = -1;
    int r = catalog_open(world->catalog, entry, &fd, path, &e);
    if (r == err_code_errno(ERR_UNAVAILABLE) && !in_tree(entry)) {
        print_message("%s\n", e.message);
        return false;
    }
    if (r < 0)
        fail_msg("%s: %s", entry->name, e.message);
    if (catalog_environment(entry, options, options_count, &env, &e) < 0)
        fail_msg("%s: %s", entry->name, e.message);
    char *envp[CATALOG_ENVIRONMENT_MAX + 1] = {0};
    for (uint32_t i = 0; i < env.count; i++)
        envp[i] = env.values[i];
    struct ring_symbols s = entry->symbols;
    snprintf(flags, sizeof flags, "%u", entry->flags | (in_tree(entry) ? PROBE_IN_TREE : 0));
    char *argv[] = {(char *)world->probe,
                    (char *)mode,
                    entry->is_libc ? "libc" : path,
                    s.adapter,
                    flags,
                    s.malloc_name,
                    s.free_name,
                    s.calloc_name,
                    s.realloc_name,
                    s.aligned_alloc_name,
                    s.usable_size_name,
                    (char *)arg,
                    NULL};
    *ret = spawn(argv, envp);
    return true;
}

static bool passed(const struct outcome *o)
{
    return WIFEXITED(o->status) && WEXITSTATUS(o->status) == 0;
}

static void report(const struct catalog_entry *entry, const char *mode, const char *arg,
                   const struct outcome *o)
{
    print_error("%s %s %s: %s %d\n%s\n", entry->name, mode, arg,
                WIFEXITED(o->status) ? "exit" : "signal",
                WIFEXITED(o->status) ? WEXITSTATUS(o->status) : WTERMSIG(o->status), o->output);
}

enum who { EVERYONE, IN_TREE };

/* One mode over all entries; every failure is shown before the test fails. */
static void run_mode(const struct world *world, enum who who, uint32_t without_flags,
                     const char *mode, const char *arg)
{
    int failures = 0, runs = 0;
    for (uint32_t i = 0; i < catalog_count(world->catalog); i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, i);
        struct outcome o;
        if ((who == IN_TREE && !in_tree(entry)) || (entry->flags & without_flags) ||
            !probe(world, entry, NULL, 0, mode, arg, &o))
            continue;
        runs++;
        if (!passed(&o)) {
            report(entry, mode, arg, &o);
            failures++;
        }
    }
    assert_true(runs >= 4);
    assert_int_equal(failures, 0);
}

static void test_shipped_catalogue(void **state)
{
    const struct world *world = *state;
    static const char *const names[] = {
        "glibc",         "jemalloc",     "tcmalloc",      "mimalloc",     "hmalloc",
        "tbb",           "scudo",        "classic-first", "classic-next", "classic-best",
        "classic-buddy", "classic-slub", "null",          "bump",         "lifo",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, (uint32_t)i);
        assert_non_null(entry);
        assert_string_equal(entry->name, names[i]);
    }
}

/* The symbols the catalogue names come from the file that was hashed, and nowhere else. */
static void test_identity(void **state)
{
    const struct world *world = *state;
    for (uint32_t i = 0; i < catalog_count(world->catalog); i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, i);
        char path[CATALOG_PATH_SIZE], arg[64];
        struct catalog_identity id;
        struct outcome o;
        struct err e;
        cleanup_(close_p) int fd = -1;
        if (catalog_open(world->catalog, entry, &fd, path, &e) < 0)
            continue;
        assert_int_equal(catalog_identify(world->catalog, entry, fd, &id, &e), 0);
        snprintf(arg, sizeof arg, "%llu:%llu", (unsigned long long)id.device,
                 (unsigned long long)id.inode);
        assert_true(probe(world, entry, NULL, 0, "identity", arg, &o));
        if (!passed(&o)) {
            report(entry, "identity", arg, &o);
            fail();
        }
        assert_true(probe(world, entry, NULL, 0, "identity", "1:2", &o));
        assert_int_equal(WEXITSTATUS(o.status), 1);
    }
}

static void test_api(void **state)
{
    run_mode(*state, EVERYONE, 0, "api", "");
}

static void test_stream_1(void **state)
{
    run_mode(*state, EVERYONE, RING_SUBJECT_NULL, "stream", "1");
}

static void test_stream_3(void **state)
{
    run_mode(*state, EVERYONE, RING_SUBJECT_NULL, "stream", "3");
}

static void test_stream_8(void **state)
{
    run_mode(*state, IN_TREE, RING_SUBJECT_NULL, "stream", "8");
}

static void test_fork(void **state)
{
    run_mode(*state, IN_TREE, RING_SUBJECT_NULL, "fork", "");
}

static void test_threads(void **state)
{
    run_mode(*state, IN_TREE, 0, "threads", "");
}

static void test_enomem(void **state)
{
    run_mode(*state, IN_TREE, RING_SUBJECT_NULL, "enomem", "");
}

static void test_adapters(void **state)
{
    const struct world *world = *state;
    for (uint32_t i = 0; i < catalog_count(world->catalog); i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, i);
        struct outcome o;
        if (!entry->symbols.adapter[0]) {
            assert_int_equal(entry->kind, CATALOG_BASELINE);
            continue;
        }
        if (probe(world, entry, NULL, 0, "adapter", "", &o) && !passed(&o)) {
            report(entry, "adapter", "", &o);
            fail();
        }
    }
}

/* An allocator started with each of its options works, and finds no fault with the setting. */
static void test_options(void **state)
{
    const struct world *world = *state;
    for (uint32_t i = 0; i < catalog_count(world->catalog); i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, i);
        for (uint32_t k = 0; k < entry->options_count; k++) {
            const char *options[] = {entry->options[k].name};
            struct outcome o;
            if (entry->options[k].pages_mask)
                continue; /* warns rightly where no huge pages are reserved */
            if (!probe(world, entry, options, 1, "api", "quick", &o))
                break;
            if (!passed(&o) || o.output[0]) {
                report(entry, "api", options[0], &o);
                fail();
            }
        }
    }
}

/* Root reserves 2 MiB pages for the length of a test, one checkout at a time
 * (see tests/workloads/harness.py). Others have what there is. */
#define POOL_FILE "/proc/sys/vm/nr_hugepages"

static struct {
    int lock;
    char before[32];
} pool = {.lock = -1};

static bool pool_write(const char *value)
{
    int fd = open(POOL_FILE, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, value, strlen(value));
    close(fd);
    return n > 0;
}

static int pool_raise(void **state)
{
    (void)state;
    int fd = open(POOL_FILE, O_RDONLY | O_CLOEXEC);
    pool.lock = open("/tmp/heapmark-host-knobs.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (pool.lock >= 0)
        (void)flock(pool.lock, LOCK_EX);
    if (fd < 0 || read(fd, pool.before, sizeof pool.before - 1) <= 0 || !pool_write("128"))
        pool.before[0] = '\0';
    close(fd);
    return 0;
}

static int pool_restore(void **state)
{
    (void)state;
    bool good = !pool.before[0] || pool_write(pool.before);
    close(pool.lock);
    return good ? 0 : -1;
}

/* Options that claim a page mode give it. Runs where 128 MiB of 2 MiB pages can be had. */
static void test_hugetlb_options(void **state)
{
    const struct world *world = *state;
    size_t size = (size_t)128 << 20;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
    if (pages == MAP_FAILED) {
        print_message("no 2 MiB pages are reserved or allowed (vm.nr_overcommit_hugepages)\n");
        skip();
    }
    munmap(pages, size);
    for (uint32_t i = 0; i < catalog_count(world->catalog); i++) {
        const struct catalog_entry *entry = catalog_get(world->catalog, i);
        const struct catalog_option *option = catalog_option_for_pages(entry, PAGES_HUGETLB_2M);
        const char *options[] = {option ? option->name : NULL};
        struct outcome o;
        if (option && probe(world, entry, options, 1, "pages", "Private_Hugetlb", &o) &&
            !passed(&o)) {
            report(entry, "pages", options[0], &o);
            fail();
        }
    }
}

enum classic { FIT, BUDDY, SLUB, CLASSICS_COUNT };

static const struct {
    const char *name;
    const char *said[CLASSICS_COUNT]; /* "call: reason" */
} misuses[] = {
#define MISUSE(name, fit, buddy, slub) {#name, {fit, buddy, slub}},
#include "tests/allocator/misuses.def"
#undef MISUSE
};

/* One line, "FAULT_NAME: call(0x...): ... reason", and SIGABRT. */
static bool ended_well(const struct outcome *o, const char *fault_name, const char *said)
{
    char head[64];
    const char *colon = strstr(said, ": "), *newline = strchr(o->output, '\n');
    assert_non_null(colon);
    snprintf(head, sizeof head, "%s: %.*s(0x", fault_name, (int)(colon - said), said);
    return WIFSIGNALED(o->status) && WTERMSIG(o->status) == SIGABRT && newline && !newline[1] &&
           strncmp(o->output, head, strlen(head)) == 0 && strstr(o->output, colon + 2);
}

static void test_misuse(void **state)
{
    const struct world *world = *state;
    static const struct {
        const char *name, *fault_name;
        enum classic column;
    } classics[] = {
        {"classic-first", "classic", FIT}, {"classic-next", "classic", FIT},
        {"classic-best", "classic", FIT},  {"classic-buddy", "buddy", BUDDY},
        {"classic-slub", "slub", SLUB},
    };
    int failures = 0;
    for (size_t n = 0; n < sizeof classics / sizeof classics[0]; n++) {
        const struct catalog_entry *entry = catalog_find(world->catalog, classics[n].name);
        for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
            const char *said = misuses[i].said[classics[n].column];
            struct outcome o;
            if (!said)
                continue;
            assert_true(probe(world, entry, NULL, 0, "misuse", misuses[i].name, &o));
            if (!ended_well(&o, classics[n].fault_name, said)) {
                report(entry, "misuse", misuses[i].name, &o);
                failures++;
            }
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_catalogue),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_api),
        cmocka_unit_test(test_stream_1),
        cmocka_unit_test(test_stream_3),
        cmocka_unit_test(test_stream_8),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_enomem),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_threads),
        cmocka_unit_test_setup_teardown(test_hugetlb_options, pool_raise, pool_restore),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
