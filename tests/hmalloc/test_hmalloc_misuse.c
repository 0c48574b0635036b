/* What programs do wrong, each in a process of its own, under each of HMALLOC_ON_FAULT: abort says
 * one line and ends; report says it and goes on, with everything else in order; ignore only counts.
 */
#include "tests/hmalloc/hm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/options.h"

#define COUNT 100

static char *blocks[COUNT]; /* 64 bytes each, around the one that is misused */
static void *told;          /* the address the line must tell */

/* ---- the misuses: each frees nothing but what it says, and leaves blocks[] but for [50] ---- */

static void double_at_once(void)
{
    told = blocks[50];
    hm_free(told);
    hm_free(told);
}

static void double_far_apart(void)
{
    told = blocks[50];
    hm_free(told);
    (void)hmalloc_purge(); /* it is in its slab now */
    for (int i = 0; i < 10000; i++)
        hm_free(hm_malloc((size_t)i % 2000 + 100));
    hm_free(told);
}

static void *free_it(void *block)
{
    hm_free(block);
    return NULL;
}

static void double_of_two_threads(void)
{
    pthread_t thread;
    told = blocks[50];
    assert_int_equal(pthread_create(&thread, NULL, free_it, told), 0);
    pthread_join(thread, NULL);
    (void)hmalloc_purge();
    hm_free(told);
}

static void double_of_another_thread(void)
{
    pthread_t thread;
    told = blocks[50];
    hm_free(told);
    (void)hmalloc_purge();
    assert_int_equal(pthread_create(&thread, NULL, free_it, told), 0);
    pthread_join(thread, NULL);
}

static void double_run(void)
{
    told = hm_malloc(MIB(1));
    hm_free(told);
    hm_free(told);
}

static void double_mapping(void)
{
    told = hm_malloc(MIB(20)); /* kept */
    hm_free(told);
    hm_free(told);
}

static void double_mapping_gone(void)
{
    told = hm_malloc(MIB(80)); /* not kept */
    hm_free(told);
    hm_free(told);
}

static void double_slab_gone(void)
{
    char *many[2000];
    for (int i = 0; i < 2000; i++)
        many[i] = hm_malloc(20000);
    told = many[1000];
    for (int i = 0; i < 2000; i++)
        hm_free(many[i]);
    (void)hmalloc_purge();
    hm_free(told);
}

static void interior(void)
{
    hm_free(told = blocks[50] + 32);
}

static void misaligned(void)
{
    hm_free(told = blocks[50] + 1);
}

static void interior_run(void)
{
    hm_free(told = (char *)hm_malloc(MIB(1)) + 4096);
}

static void interior_run_far(void)
{
    hm_free(told = (char *)hm_malloc(MIB(1)) + 300000);
}

static void interior_mapping(void)
{
    hm_free(told = (char *)hm_malloc(MIB(20)) + 4096);
}

static void never_allocated(void)
{
    char *block = hm_malloc(30000); /* few: what lies behind in the slab is new */
    hm_free(told = (char *)((uintptr_t)block & ~(uintptr_t)(4 * UNIT_SIZE - 1)) +
                   hm_malloc_usable_size(block) * 6);
}

static void foreign_stack(void)
{
    char here[64];
    told = here;
    /* cppcheck-suppress danglingLifetime; later only its value is read */
    hm_free(told);
}

static void foreign_static(void)
{
    hm_free(told = blocks);
}

static void foreign_malloc(void)
{
    hm_free(told = malloc(100));
    free(told);
}

static void foreign_low(void)
{
    hm_free(told = (void *)32);
}

static void realloc_refused(void *block, size_t size)
{
    told = block;
    errno = 0;
    assert_null(hm_realloc(block, size));
    assert_int_equal(errno, EINVAL);
}

static void realloc_foreign(void)
{
    char here[64];
    realloc_refused(here, 100);
}

static void realloc_interior(void)
{
    realloc_refused(blocks[50] + 16, 60);
}

static void realloc_interior_grow(void)
{
    realloc_refused(blocks[50] + 16, 5000);
}

static void realloc_misaligned(void)
{
    realloc_refused(blocks[50] + 3, 64);
}

static void realloc_run(void)
{
    realloc_refused((char *)hm_malloc(MIB(1)) + 4096, MIB(2));
}

static void realloc_mapping(void)
{
    realloc_refused((char *)hm_malloc(MIB(20)) + 4096, MIB(40));
}

static void usable_interior(void)
{
    told = blocks[50] + 8;
    assert_int_equal(hm_malloc_usable_size(told), 0);
}

static const struct misuse {
    const char *name, *call, *says;
    void (*run)(void);
} misuses[] = {
    {"double free at once", "free", FAULT_FREE_ALREADY, double_at_once},
    {"double free far apart", "free", FAULT_FREE_ALREADY, double_far_apart},
    {"double free, first elsewhere", "free", FAULT_FREE_ALREADY, double_of_two_threads},
    {"double free, then elsewhere", "free", FAULT_FREE_ALREADY, double_of_another_thread},
    {"double free of a run", "free", FAULT_GONE, double_run},
    {"double free of a mapping", "free", FAULT_FOREIGN, double_mapping},
    {"double free of what is unmapped", "free", FAULT_FOREIGN, double_mapping_gone},
    {"double free, the slab gone", "free", FAULT_GONE, double_slab_gone},
    {"interior", "free", FAULT_INSIDE, interior},
    {"misaligned", "free", FAULT_INSIDE, misaligned},
    {"interior, run", "free", FAULT_INSIDE, interior_run},
    {"interior, run, far", "free", FAULT_GONE, interior_run_far},
    {"interior, mapping", "free", FAULT_INSIDE, interior_mapping},
    {"never allocated", "free", FAULT_VIRGIN, never_allocated},
    {"foreign, stack", "free", FAULT_FOREIGN, foreign_stack},
    {"foreign, static", "free", FAULT_FOREIGN, foreign_static},
    {"foreign, the C library's", "free", FAULT_FOREIGN, foreign_malloc},
    {"foreign, low", "free", FAULT_FOREIGN, foreign_low},
    {"realloc, foreign", "realloc", FAULT_FOREIGN, realloc_foreign},
    {"realloc, interior", "realloc", FAULT_INSIDE, realloc_interior},
    {"realloc, interior, grow", "realloc", FAULT_INSIDE, realloc_interior_grow},
    {"realloc, misaligned", "realloc", FAULT_INSIDE, realloc_misaligned},
    {"realloc, run", "realloc", FAULT_INSIDE, realloc_run},
    {"realloc, mapping", "realloc", FAULT_INSIDE, realloc_mapping},
    {"usable size, interior", "malloc_usable_size", FAULT_INSIDE, usable_interior},
};

/* ---- around them ---- */

/* Everything but the misused block is as it was, and goes on. */
static int survived(void)
{
    struct hmalloc_stats s;
    (void)hmalloc_purge();
    hmalloc_stats_get(&s);
    if (s.faults_count != 1)
        return 2;
    for (unsigned i = 0; i < COUNT; i++)
        if (i != 50 && !hm_intact(blocks[i], 64, 64, i))
            return 3;
    for (unsigned i = 0; i < COUNT; i++)
        if (i != 50)
            hm_free(blocks[i]);
    for (unsigned i = 0; i < 5000; i++) {
        char *block = hm_malloc(i);
        hm_fill(block, i, i);
        if (!hm_intact(block, i, i, i))
            return 4;
        hm_free(block);
    }
    hmalloc_stats_get(&s);
    return hmalloc_check() != 0 || s.faults_count != 1 ? 5 : 0;
}

static int child(const struct misuse *misuse, enum on_fault on_fault, int told_to)
{
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = hm_malloc(64);
        hm_fill(blocks[i], 64, i);
    }
    options.on_fault = on_fault;
    misuse->run();
    if (write(told_to, &told, sizeof told) != sizeof told)
        return 6;
    (void)hmalloc_purge(); /* small blocks are looked at when they come to their slab */
    return survived();
}

struct outcome {
    char text[1024]; /* on stderr */
    void *told;
    int status;
};

static struct outcome run(const struct misuse *misuse, enum on_fault on_fault)
{
    struct outcome o = {.text = ""};
    int out[2], address[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(address), 0);
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        (void)dup2(out[1], STDERR_FILENO);
        _exit(child(misuse, on_fault, address[1]));
    }
    close(out[1]);
    close(address[1]);
    size_t length = 0;
    ssize_t n;
    while ((n = read(out[0], o.text + length, sizeof o.text - 1 - length)) > 0)
        length += (size_t)n;
    if (read(address[0], &o.told, sizeof o.told) != sizeof o.told)
        o.told = NULL; /* it ended before */
    close(out[0]);
    close(address[0]);
    assert_int_equal(waitpid(pid, &o.status, 0), pid);
    return o;
}

static void expect_line(const struct misuse *misuse, const struct outcome *o)
{
    char line[256];
    const char *end = strchr(o->text, '\n');
    if (!end || end[1] != '\0')
        fail_msg("%s: not one line: \"%s\"", misuse->name, o->text);
    (void)snprintf(line, sizeof line, "hmalloc: %s(%p): %s\n", misuse->call, o->told, misuse->says);
    if (o->told && strcmp(line, o->text) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", misuse->name, o->text, line);
    if (!strstr(o->text, misuse->says) || !strstr(o->text, misuse->call))
        fail_msg("%s: \"%s\" does not say %s", misuse->name, o->text, misuse->says);
}

static void test_abort(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
        const struct outcome o = run(&misuses[i], ON_FAULT_ABORT);
        if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != SIGABRT)
            fail_msg("%s: status %#x, \"%s\"", misuses[i].name, (unsigned)o.status, o.text);
        expect_line(&misuses[i], &o);
    }
}

static void expect_survival(const struct misuse *misuse, const struct outcome *o)
{
    if (!WIFEXITED(o->status) || WEXITSTATUS(o->status) != 0)
        fail_msg("%s: status %#x, \"%s\"", misuse->name, (unsigned)o->status, o->text);
}

static void test_report(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
        const struct outcome o = run(&misuses[i], ON_FAULT_REPORT);
        expect_survival(&misuses[i], &o);
        expect_line(&misuses[i], &o);
    }
}

static void test_ignore(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++) {
        const struct outcome o = run(&misuses[i], ON_FAULT_IGNORE);
        expect_survival(&misuses[i], &o);
        assert_string_equal(o.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_ignore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
