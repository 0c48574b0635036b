/* What hmalloc finds at each hardening level, each case in a process of its own: options are read
 * once, and most cases end it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocators/api/api.h"
#include "allocators/hmalloc/hmalloc.h"

#define QUARANTINE_KIB 64 /* what run() sets */

/* ---- what programs do wrong ---- */

static unsigned char *block(size_t size)
{
    unsigned char *p = hm_malloc(size);
    if (!p)
        _exit(90);
    return p;
}

/* Out of the compiler's sight. */
static void give(void *p)
{
    void *volatile hidden = p;
    hm_free(hidden);
}

/* Of this thread's own heap: the first ones of a size come from shared ones. */
static unsigned char *own_block(size_t size)
{
    for (int i = 0; i < 100; i++)
        give(block(size));
    return block(size);
}

static void double_free_own(void)
{
    unsigned char *p = own_block(100);
    give(p);
    give(p);
}

static void double_free(void)
{
    unsigned char *p = block(100);
    give(p);
    give(p);
}

static void double_free_flushed(void)
{
    double_free_own();
    (void)hmalloc_purge();
}

static void double_free_others_between(void)
{
    unsigned char *p = block(100), *keep = block(100);
    give(p);
    for (int i = 0; i < 20; i++)
        give(block(3000));
    give(p);
    give(keep);
}

static void *give_twice(void *p)
{
    give(p);
    give(p);
    return NULL;
}

static void double_free_elsewhere(void)
{
    pthread_t thread;
    void *p = block(100);
    if (pthread_create(&thread, NULL, give_twice, p) == 0)
        (void)pthread_join(thread, NULL);
}

static void double_free_large(void)
{
    unsigned char *p = block(300000);
    give(p);
    give(p);
}

static void double_free_huge(void)
{
    unsigned char *p = block(40 << 20);
    give(p);
    give(p);
}

static void free_inside(void)
{
    give(block(100) + 32);
}

static void free_misaligned(void)
{
    give(block(100) + 1);
}

static void free_inside_large(void)
{
    give(block(300000) + 4096);
}

static void free_far_inside_large(void)
{
    give(block(300000) + 70000);
}

static void free_never_allocated(void)
{
    give(block(8000) + 6 * 8192);
}

static void free_stack(void)
{
    _Alignas(16) char local[256] = {0};
    (void)block(10);
    give(local + 64);
}

static void realloc_freed(void)
{
    unsigned char *p = block(100);
    give(p);
    if (hm_realloc(p, 10) || errno != EINVAL)
        _exit(91);
}

static void realloc_inside(void)
{
    if (hm_realloc(block(100) + 16, 10))
        _exit(91);
}

static void usable_size_freed(void)
{
    unsigned char *p = block(100);
    give(p);
    if (hm_malloc_usable_size(p) != 0)
        _exit(91);
}

static void usable_size_inside_large(void)
{
    if (hm_malloc_usable_size(block(300000) + 16) != 0)
        _exit(91);
}

/* Everything a string's end can do wrong, in the smallest place. */
static void one_nul_behind(void)
{
    unsigned char *p = block(23);
    p[23] = 0;
    give(p);
}

static void one_nul_behind_full_block(void)
{
    unsigned char *p = block(56);
    p[56] = 0;
    give(p);
}

static void write_behind_largest(void)
{
    unsigned char *p = block(30000);
    p[30000]++;
    give(p);
}

static void write_behind_aligned(void)
{
    unsigned char *p = hm_memalign(256, 256);
    if ((uintptr_t)p % 256 != 0)
        _exit(91);
    p[256] ^= 1;
    give(p);
}

static void write_behind_then_realloc(void)
{
    unsigned char *p = block(40);
    p[40] ^= 1;
    give(hm_realloc(p, 400));
}

static void write_seal(void)
{
    unsigned char *p = block(40);
    memset(p + 40, 0, 8);
    give(p);
}

static void write_after_free(void)
{
    unsigned char *volatile p = own_block(200);
    give(p);
    p[17] = 1;
    for (int i = 0; i < 2 * QUARANTINE_KIB; i++)
        give(block(1000));
}

static void touch_freed(void)
{
    volatile unsigned char *p = block(100);
    give((void *)p);
    (void)p[50];
}

static void touch_behind(void)
{
    volatile unsigned char *p = block(96);
    p[96] = 1;
}

static void touch_before(void)
{
    volatile unsigned char *p = block(96);
    (void)p[-8192 * 2];
}

static void write_behind_unaligned_end(void)
{
    unsigned char *p = block(90); /* six bytes up to the guard page */
    p[90] = 0;
    give(p);
}

/* ---- what is right must stay so ---- */

static void expect(bool condition)
{
    if (!condition)
        _exit(92);
}

static void sizes_are_those_asked_for(void)
{
    for (size_t size = 1; size <= 32000; size += 1 + size / 7) {
        unsigned char *p = block(size);
        expect(hm_malloc_usable_size(p) == size);
        memset(p, 0xee, size);
        p = hm_realloc(p, size + 3);
        expect(hm_malloc_usable_size(p) == size + 3);
        for (size_t i = 0; i < size; i++)
            expect(p[i] == 0xee);
        give(p);
        p = hm_calloc(1, size);
        for (size_t i = 0; i < size; i++)
            expect(p[i] == 0);
        give(p);
    }
}

static void freed_blocks_are_zeroed(void)
{
    static const size_t sizes[] = {16, 100, 1000, 30000};
    for (size_t i = 0; i < 4; i++) {
        volatile unsigned char *p = block(sizes[i]);
        memset((void *)p, 0xee, sizes[i]);
        give((void *)p);
        for (size_t k = 0; k < sizes[i]; k++)
            expect(p[k] == 0);
    }
}

static void reuse_waits(void)
{
    unsigned char *first = block(1000);
    give(first);
    for (int i = 0; i < QUARANTINE_KIB / 2; i++) {
        unsigned char *p = block(1000);
        expect(p != first);
        give(p);
    }
}

static void order_is_shuffled(void)
{
    unsigned char *p[64];
    int falls = 0, near = 0;
    for (int i = 0; i < 64; i++) {
        p[i] = block(200);
        falls += i > 0 && p[i] < p[i - 1];
        near += i > 0 && labs((long)(p[i] - p[i - 1])) < 500;
    }
    expect(falls > 10 && falls < 53 && near < 32);
}

static void figures_add_up(void)
{
    struct hmalloc_stats before, held, after;
    unsigned char *p[50];
    hmalloc_stats_get(&before);
    for (int i = 0; i < 50; i++)
        p[i] = block(1000);
    hmalloc_stats_get(&held);
    expect(held.allocated - before.allocated >= 50 * 1000);
    for (int i = 0; i < 50; i++)
        give(p[i]);
    hmalloc_stats_get(&after);
    expect(after.allocated == before.allocated);
    expect(after.magazines == 0 && after.quarantined <= QUARANTINE_KIB * 1024);
    expect(hmalloc_check() == 0);
}

/* More than there are slots; the rest is ordinary blocks. */
static void slots_are_bounded(void)
{
    unsigned char *p[300];
    char line[256];
    int lines = 0;
    for (int i = 0; i < 300; i++)
        memset(p[i] = block(5000), 0xee, 5000);
    FILE *maps = fopen("/proc/self/maps", "re");
    expect(maps != NULL);
    while (maps && fgets(line, sizeof line, maps))
        lines += strstr(line, "---p 00000000") != NULL;
    expect(lines > 8 && lines < 60);
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    expect(s.guarded == 16 * 5000);
    for (int i = 0; i < 300; i++)
        give(p[i]);
    for (int i = 0; i < 300; i++) {
        unsigned char *again = hm_calloc(1, 5000);
        for (int k = 0; k < 5000; k++)
            expect(again[k] == 0);
        memset(again, 0xee, 5000);
        give(again);
    }
    if (maps)
        (void)fclose(maps);
}

static void guarded_in_child(void)
{
    unsigned char *p = block(100);
    int status = 0;
    memset(p, 1, 100);
    pid_t pid = fork();
    if (pid == 0) {
        expect(p[99] == 1);
        give(p);
        give(block(500));
        _exit(0);
    }
    expect(waitpid(pid, &status, 0) == pid && status == 0);
    expect(p[99] == 1);
    give(p);
}

/* ---- running them ---- */

struct outcome {
    int status;
    char output[2048];
};

static void set(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        _exit(93);
}

static void child(void (*run)(void), int level, const char *on_fault, int out)
{
    static const int reset[] = {SIGSEGV, SIGABRT};
    const char digits[] = {(char)('0' + level), '\0'};
    (void)dup2(out, STDERR_FILENO);
    for (size_t i = 0; i < 2; i++)
        (void)signal(reset[i], SIG_DFL); /* a sanitizer's handlers */
    set("HMALLOC_HARDEN", digits);
    set("HMALLOC_ON_FAULT", on_fault);
    set("HMALLOC_QUARANTINE_KIB", "64");
    set("HMALLOC_GUARD_SAMPLE", "1");
    set("HMALLOC_GUARD_SLOTS", "16");
    alarm(60);
    run();
    if (hmalloc_check() != 0)
        _exit(94);
    _exit(0);
}

static struct outcome run(void (*what)(void), int level, const char *on_fault)
{
    struct outcome o = {0};
    int fds[2];
    size_t used = 0;
    ssize_t n;
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(what, level, on_fault, fds[1]);
    close(fds[1]);
    while (used < sizeof o.output - 1 &&
           (n = read(fds[0], o.output + used, sizeof o.output - 1 - used)) > 0)
        used += (size_t)n;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &o.status, 0), pid);
    return o;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

/* Every failure is shown before the test fails. */
#define complain(failures, ...) (++*(failures), print_error(__VA_ARGS__), print_error("\n"))

/* Misuses: from which level on they are found, and by what line. */
static const struct misuse {
    const char *name;
    void (*run)(void);
    int first, last; /* levels at which this line is expected */
    const char *line;
    int signal;
} misuses[] = {
#define MISUSE(f, first, last, line, signal) \
    {                                        \
#f, f, first, last, line, signal     \
    }
    MISUSE(double_free_flushed, 0, 2, "free(0x*): double free", SIGABRT),
    MISUSE(double_free_own, 1, 3, "free(0x*): double free", SIGABRT),
    MISUSE(double_free, 1, 3, "free(0x*): double free", SIGABRT),
    MISUSE(double_free_others_between, 1, 2, "free(0x*): double free", SIGABRT),
    MISUSE(double_free_elsewhere, 1, 3, "free(0x*): double free", SIGABRT),
    MISUSE(double_free_large, 0, 3, "free(0x*): double free: no block of hmalloc's memory",
           SIGABRT),
    MISUSE(double_free_huge, 0, 3, "free(0x*): is no block of hmalloc", SIGABRT),
    MISUSE(free_inside, 1, 3, "free(0x*): points into a block, not to its start", SIGABRT),
    MISUSE(free_misaligned, 1, 3, "free(0x*): points into a block, not to its start", SIGABRT),
    MISUSE(free_inside_large, 0, 3, "free(0x*): points into a block", SIGABRT),
    MISUSE(free_far_inside_large, 0, 3, "free(0x*): double free: no block of", SIGABRT),
    MISUSE(free_never_allocated, 1, 1, "free(0x*): was never allocated", SIGABRT),
    MISUSE(free_stack, 0, 3, "free(0x*): is no block of hmalloc", SIGABRT),
    MISUSE(realloc_freed, 1, 3, "realloc(0x*): double free", SIGABRT),
    MISUSE(realloc_inside, 1, 3, "realloc(0x*): points into a block", SIGABRT),
    MISUSE(usable_size_freed, 1, 3, "malloc_usable_size(0x*): double free", SIGABRT),
    MISUSE(usable_size_inside_large, 1, 3, "malloc_usable_size(0x*): points into", SIGABRT),
    MISUSE(one_nul_behind, 2, 3, "free(0x*): something was written behind", SIGABRT),
    MISUSE(one_nul_behind_full_block, 2, 2, "free(0x*): something was written behind", SIGABRT),
    MISUSE(write_behind_largest, 2, 2, "free(0x*): something was written behind", SIGABRT),
    MISUSE(write_behind_aligned, 2, 2, "free(0x*): something was written behind", SIGABRT),
    MISUSE(write_behind_then_realloc, 2, 2, "realloc(0x*): something was written", SIGABRT),
    MISUSE(write_seal, 2, 2, "free(0x*): something was written behind", SIGABRT),
    MISUSE(write_after_free, 2, 2, "free(0x*): this block, freed before, was written to", SIGABRT),
    MISUSE(write_after_free, 3, 3, "access to 0x*: a read or write of the freed block", SIGSEGV),
    MISUSE(touch_freed, 3, 3, "access to 0x*: a read or write of the freed block (0x*, 100 bytes)",
           SIGSEGV),
    MISUSE(touch_behind, 3, 3, "access to 0x*: a read or write behind the block (0x*, 96 bytes)",
           SIGSEGV),
    MISUSE(touch_before, 3, 3, "access to 0x*: a read or write before the block (0x*, 96", SIGSEGV),
    MISUSE(write_behind_unaligned_end, 3, 3, "free(0x*): something was written behind", SIGABRT),
#undef MISUSE
};
#define MISUSES (sizeof misuses / sizeof misuses[0])

/* `*` stands for hexadecimal digits. */
static bool starts_like(const char *text, const char *pattern)
{
    for (; *pattern; pattern++)
        if (*pattern == '*')
            text += strspn(text, "0123456789abcdef");
        else if (*text++ != *pattern)
            return false;
    return true;
}

static bool says(const struct outcome *o, const char *line)
{
    return strncmp(o->output, "hmalloc: ", 9) == 0 && starts_like(o->output + 9, line);
}

static void test_found(void **state)
{
    int failures = 0;
    (void)state;
    for (size_t i = 0; i < MISUSES; i++)
        for (int level = misuses[i].first; level <= misuses[i].last; level++) {
            const struct outcome o = run(misuses[i].run, level, "abort");
            if (!WIFSIGNALED(o.status) || WTERMSIG(o.status) != misuses[i].signal ||
                !says(&o, misuses[i].line) || count_lines(o.output) != 1)
                complain(&failures, "%s at level %d: status %x: %s", misuses[i].name, level,
                         o.status, o.output);
        }
    assert_int_equal(failures, 0);
}

/* The line, and on it goes: nothing is damaged. */
static void test_survived(void **state)
{
    int failures = 0;
    (void)state;
    for (size_t i = 0; i < MISUSES; i++)
        for (int level = misuses[i].first; level <= misuses[i].last; level++) {
            if (misuses[i].signal != SIGABRT)
                continue;
            const struct outcome told = run(misuses[i].run, level, "report");
            if (told.status != 0 || !says(&told, misuses[i].line) || count_lines(told.output) != 1)
                complain(&failures, "%s at level %d, reported: status %x: %s", misuses[i].name,
                         level, told.status, told.output);
            const struct outcome quiet = run(misuses[i].run, level, "ignore");
            if (quiet.status != 0 || quiet.output[0])
                complain(&failures, "%s at level %d, ignored: status %x: %s", misuses[i].name,
                         level, quiet.status, quiet.output);
        }
    assert_int_equal(failures, 0);
}

/* At the levels before, the same goes unnoticed: so it is the level that finds it. */
static void test_not_found_before(void **state)
{
    (void)state;
    static void (*const cases[][2])(void) = {
        {double_free_own, NULL}, {one_nul_behind, write_after_free}, {touch_freed, NULL}};
    for (int level = 0; level < 3; level++)
        for (int i = 0; i < 2; i++) {
            if (!cases[level][i])
                continue;
            const struct outcome o = run(cases[level][i], level, "abort");
            assert_string_equal(o.output, "");
        }
}

static const struct right {
    const char *name;
    void (*run)(void);
    int first;
    int last;
} rights[] = {
#define RIGHT(f, first, last) \
    {                         \
#f, f, first, last    \
    }
    RIGHT(sizes_are_those_asked_for, 2, 3),
    RIGHT(freed_blocks_are_zeroed, 2, 2),
    RIGHT(reuse_waits, 2, 2),
    RIGHT(order_is_shuffled, 2, 2),
    RIGHT(figures_add_up, 1, 3),
    RIGHT(slots_are_bounded, 3, 3),
    RIGHT(guarded_in_child, 3, 3),
#undef RIGHT
};

static void test_right(void **state)
{
    int failures = 0;
    (void)state;
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++)
        for (int level = rights[i].first; level <= rights[i].last; level++) {
            const struct outcome o = run(rights[i].run, level, "abort");
            if (o.status != 0 || o.output[0])
                complain(&failures, "%s at level %d: status %x: %s", rights[i].name, level,
                         o.status, o.output);
        }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_survived),
        cmocka_unit_test(test_not_found_before),
        cmocka_unit_test(test_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
