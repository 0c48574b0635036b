/* Allocators that do harm in the middle of a real job, one kind each: built once per mode with
 * -DEVIL=EVIL_x, loaded by heapmark-runner through a catalogue file of test_daemon.py. Memory
 * comes from the C library; the NTH malloc, after the build of the table, does the harm. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "schema/metrics.h"
#include "workloads/ring/ring.h"

#define EVIL_CRASH    1
#define EVIL_EXIT     2
#define EVIL_HANG     3  /* sleeps for ever with the baton */
#define EVIL_SPIN     4  /* keeps it and the CPU */
#define EVIL_FLOOD    5  /* writes on stderr without end */
#define EVIL_CHATTER  6  /* writes too much on stderr, then goes on */
#define EVIL_SCRIBBLE 7  /* over the whole page of the ring */
#define EVIL_DONE     8  /* claims turns that do not exist */
#define EVIL_STAMPS   9  /* claims a slice from before its time */
#define EVIL_CONFESS  10 /* leaves with a failure that does not exist and an unprintable message */
#define EVIL_EAT      11 /* takes memory until it is killed */
#define EVIL_FORK     12 /* leaves processes behind that ignore every signal they can */
#define EVIL_NULL     13
#define EVIL_EARLY    14 /* crashes while it is loaded */
#define EVIL_NAP      15 /* not evil: slow without using a CPU */
#define EVIL_BUSY     16 /* not evil: a thread of its own works a fifth of the time, turn or not */

#define EVIL_LIAR 17 /* reports figures that are none of its workload's */

#define EXPORT     __attribute__((visibility("default")))
#define NTH        700
#define EAT_CHUNK  ((size_t)1 << 20)
#define EAT_CHUNKS 512 /* more than any limit of the tests: there was none */

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

static _Atomic unsigned long calls;

#if EVIL == EVIL_SCRIBBLE || EVIL == EVIL_DONE || EVIL == EVIL_STAMPS || EVIL == EVIL_CONFESS || \
    EVIL == EVIL_LIAR
/* The one shared mapping a runner may write. */
static struct ring_page *find_page(size_t *ret_size)
{
    static char maps[1 << 16];
    size_t used = 0;
    ssize_t n;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while ((n = read(fd, maps + used, sizeof maps - 1 - used)) > 0)
        used += (size_t)n;
    close(fd);
    maps[used] = '\0';
    for (char *line = maps; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : 0) {
        char *at;
        uintptr_t start = strtoul(line, &at, 16), end = strtoul(at + 1, &at, 16);
        const char *name = strchr(at, '/'), *next = strchr(at, '\n');
        if (strncmp(at, " rw-s", 5) == 0 && name && name < next &&
            strncmp(name, "/memfd:", 7) == 0) {
            *ret_size = end - start;
            return (struct ring_page *)start;
        }
    }
    (void)!write(STDERR_FILENO, "no page\n", 8);
    _exit(99);
}
#endif

static __attribute__((unused)) _Noreturn void sleep_for_ever(void)
{
    for (;;)
        pause();
}

#if EVIL == EVIL_FLOOD || EVIL == EVIL_CHATTER
static void shout(void)
{
    static char text[1 << 16];
    memset(text, '\x1b', sizeof text);
    (void)!write(STDERR_FILENO, text, sizeof text);
}
#endif

#if EVIL == EVIL_FORK
static void leave_children(void)
{
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            for (int s = 1; s < SIGRTMAX; s++)
                (void)signal(s, SIG_IGN);
            (void)setsid();
            (void)prctl(PR_SET_NAME, "evil-left");
            if (i % 2 == 0 && fork() > 0)
                _exit(0);
            sleep_for_ever();
        }
}
#endif

#if EVIL == EVIL_BUSY
static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void *work(void *arg)
{
    for (;;) {
        for (uint64_t end = now_us() + 1000; now_us() < end;)
            ;
        usleep(4000);
    }
    return arg;
}

static __attribute__((constructor)) void start_working(void)
{
    pthread_t thread;
    (void)pthread_create(&thread, NULL, work, NULL);
}
#endif

#if EVIL == EVIL_EARLY
static __attribute__((constructor)) void crash_early(void)
{
    *(volatile int *)16 = 1;
}
#endif

#if EVIL == EVIL_LIAR
/* Figures that are not its to give. */
static void lie(void)
{
    static const enum metric_id lies[] = {METRIC_FORK_NS, METRIC_PREFAULT_BYTES,
                                          METRIC_PREFAULT_SHARE, METRIC_CPU_USER_US,
                                          METRIC_PAIRS_PER_S};
    size_t size;
    struct ring_page *page = find_page(&size);
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++)
        page->metrics[page->metrics_count++] =
            (struct ring_metric){.metric = lies[i], .value = 1e300, .vector_count = i < 3 ? 0 : 7};
    page->absent[page->absent_count++] =
        (struct ring_absent){.metric = METRIC_COW_NS_PER_WRITE, .reason = "a lie"};
}
#endif

/* False: this call has no memory to give. */
static bool misbehave(unsigned long call)
{
#if EVIL == EVIL_NAP
    if (call % 25 == 0)
        usleep(1000);
    return true;
#endif
#if EVIL == EVIL_STAMPS
    static struct ring_page *page;
    size_t size;
    if (call == NTH)
        page = find_page(&size);
    if (page && page->slices_count > 0)
        page->slices[0].start_ns = 1;
    return true;
#endif
    if (call != NTH)
        return true;
#if EVIL == EVIL_CRASH
    *(volatile int *)16 = 1;
#elif EVIL == EVIL_EXIT
    _exit(3);
#elif EVIL == EVIL_HANG
    sleep_for_ever();
#elif EVIL == EVIL_SPIN
    for (;;)
        __asm__ volatile("");
#elif EVIL == EVIL_FLOOD || EVIL == EVIL_CHATTER
    for (int i = 0; EVIL == EVIL_FLOOD || i < 1024; i += EVIL != EVIL_FLOOD)
        shout();
#elif EVIL == EVIL_SCRIBBLE
    size_t size;
    struct ring_page *page = find_page(&size);
    memset(page, 0xff, size);
    sleep_for_ever();
#elif EVIL == EVIL_DONE
    size_t size;
    atomic_store(&find_page(&size)->done, 12345);
    sleep_for_ever();
#elif EVIL == EVIL_CONFESS
    size_t size;
    struct ring_page *page = find_page(&size);
    page->failure = 999;
    page->metrics_count = page->vector_count = UINT32_MAX; /* all of one metric, too */
    page->slices_count = 0;
    memset(page->message, '\xff', sizeof page->message);
    memcpy(page->message, "\"},\x1b[2J<b>", 10);
    atomic_store(&page->state, RUNNER_FAILED);
    atomic_store(&page->done, RING_DROPPED);
    _exit(RUNNER_EXIT_FAILED);
#elif EVIL == EVIL_LIAR
    lie();
#elif EVIL == EVIL_EAT
    for (int i = 0; i < EAT_CHUNKS; i++) {
        void *chunk =
            mmap(NULL, EAT_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED)
            _exit(98);
        memset(chunk, 1, EAT_CHUNK);
    }
    _exit(97);
#elif EVIL == EVIL_FORK
    leave_children();
#elif EVIL == EVIL_NULL
    return false;
#endif
    return true;
}

EXPORT void *malloc(size_t size)
{
    return misbehave(atomic_fetch_add(&calls, 1) + 1) ? __libc_malloc(size) : NULL;
}

EXPORT void free(void *block)
{
    __libc_free(block);
}
