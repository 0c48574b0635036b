/* ./dev bench harness: what the harness itself costs. The tape replay of the table workloads over
 * the null allocator, in ns per pair, untouched and touched, beside a loop written by hand that
 * does the same from a random generator in a register; and what calling through a pointer costs
 * against a direct call. All variants take turns lap by lap, in reversed order every other round,
 * so that drift of the machine hits them alike. */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "tests/bench/report.h"
#include "workloads/table/table_replay.h"
#include "workloads/tape/tape.h"

#define ROUNDS 41
#define LAP    TAPE_CHURN_ENTRIES

/* allocators/baseline/null.c once more, in a shared library of its own under these names: a
 * direct call then goes the way a call of a preloaded malloc goes. */
void *null_malloc(size_t size);
void null_free(void *block);

static const struct tape_spec spec = {
    .kind = TAPE_CHURN,
    .threads = 1,
    .live = 100000,
    .entries = LAP,
    .size_min = 16,
    .size_max = 1024,
    .touch = TOUCH_ENDS,
    .seed = 1,
};

struct lap {
    const uint64_t *churn;
    struct table_replay replay;
    uint64_t random;
};

#define HOT static inline __attribute__((always_inline))

HOT void hand_loop(struct lap *lap, void *(*malloc_fn)(size_t), void (*free_fn)(void *), bool touch)
{
    uint64_t *const slots = lap->replay.slots;
    uint64_t random = lap->random;
    for (uint64_t i = 0; i < LAP; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const size_t size = 16 + (((random >> 32) * 1009) >> 32);
        unsigned char *block = malloc_fn(size);
        if (touch) {
            block[0] = (unsigned char)random;
            block[size - 1] = (unsigned char)size;
        }
        uint64_t *slot = &slots[((random & UINT32_MAX) * 100000) >> 32];
        void *old = (void *)(uintptr_t)*slot;
        *slot = (uint64_t)(uintptr_t)block;
        free_fn(old);
    }
    lap->random = random;
}

#define HAND(name, malloc_fn, free_fn, touch)                   \
    static __attribute__((noinline)) void name(struct lap *lap) \
    {                                                           \
        hand_loop(lap, malloc_fn, free_fn, touch);              \
    }
HAND(hand_direct_none, null_malloc, null_free, false)
HAND(hand_direct_ends, null_malloc, null_free, true)
HAND(hand_pointer_none, lap->replay.malloc, lap->replay.free, false)
HAND(hand_pointer_ends, lap->replay.malloc, lap->replay.free, true)

static void tape_none(struct lap *lap)
{
    (void)table_replay_plain[TOUCH_NONE](&lap->replay, lap->churn, LAP);
}

static void tape_ends(struct lap *lap)
{
    (void)table_replay_plain[TOUCH_ENDS](&lap->replay, lap->churn, LAP);
}

enum variant { TAPE, HAND_POINTER, HAND_DIRECT, VARIANTS };
static const struct {
    const char *what;
    void (*run)(struct lap *lap);
} variants[2][VARIANTS] = {
    {{"tape replay, untouched", tape_none},
     {"loop by hand, untouched, through pointers", hand_pointer_none},
     {"loop by hand, untouched, direct calls", hand_direct_none}},
    {{"tape replay, first and last byte", tape_ends},
     {"loop by hand, touched, through pointers", hand_pointer_ends},
     {"loop by hand, touched, direct calls", hand_direct_ends}},
};

/* CPU time: being preempted is no cost of the harness. A lap is milliseconds, the clock half a
 * microsecond. */
static double lap_ns(struct lap *lap, void (*run)(struct lap *lap))
{
    const uint64_t start_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    run(lap);
    return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / LAP;
}

/* The last CPU we may use: interrupts and daemons prefer the first. */
static void pin(struct report *report)
{
    cpu_set_t set, one;
    unsigned cpu = 0;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        report_fail(report, "no CPUs: %s", strerror(errno));
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        cpu = CPU_ISSET(i, &set) ? i : cpu;
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        report_fail(report, "CPU %u: %s", cpu, strerror(errno));
}

static void prepare(struct report *report, struct tape *ret_tape, struct lap *ret_lap)
{
    struct err e = {0};
    uint64_t bytes;
    int fd;
    if (tape_generate(&spec, &fd, &bytes, &e) < 0 || tape_map(fd, bytes, ret_tape, &e) < 0)
        report_fail(report, "%s", e.message);
    (void)close(fd);
    void *slots = mmap(NULL, spec.live * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (slots == MAP_FAILED)
        report_fail(report, "no memory for slots");
    *ret_lap = (struct lap){
        .churn = tape_churn(ret_tape, 0),
        .replay = {.malloc = null_malloc, .free = null_free, .slots = slots},
        .random = 88172645463325252u,
    };
    if (table_fill[TOUCH_NONE](&ret_lap->replay, tape_fill(ret_tape, 0), spec.live) != 0)
        report_fail(report, "the null allocator returned NULL");
}

static double ns[2][VARIANTS][ROUNDS];

static void measure(struct lap *lap)
{
    const unsigned count = 2 * VARIANTS;
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < count; i++) {
            unsigned k = round % 2 ? count - 1 - i : i;
            ns[k / VARIANTS][k % VARIANTS][round] =
                lap_ns(lap, variants[k / VARIANTS][k % VARIANTS].run);
        }
}

/* Median over rounds of the ratio (or difference) of two variants in the same round. */
static void compare(struct report *report, const char *what, unsigned touched, enum variant a,
                    enum variant b, bool ratio)
{
    static double values[ROUNDS];
    struct report_value v = {
        .what = what, .unit = ratio ? "x" : "ns", .spread = "min-max of rounds"};
    for (unsigned i = 0; i < ROUNDS; i++)
        values[i] =
            ratio ? ns[touched][a][i] / ns[touched][b][i] : ns[touched][a][i] - ns[touched][b][i];
    report_spread(values, ROUNDS, &v);
    report_value(report, &v);
}

/* Reports all variants of one touch mode; returns the tape's median. Sorts ns, so it comes last. */
static double report_variants(struct report *report, unsigned touched)
{
    double tape = 0;
    for (unsigned i = 0; i < VARIANTS; i++) {
        struct report_value v = {
            .what = variants[touched][i].what, .unit = "ns/pair", .spread = "min-max of rounds"};
        report_spread(ns[touched][i], ROUNDS, &v);
        report_value(report, &v);
        tape = i == TAPE ? v.median : tape;
    }
    return tape;
}

int main(int argc, char **argv)
{
    struct report *report = report_new("harness", argc, argv);
    struct tape tape;
    struct lap lap;
    pin(report);
    prepare(report, &tape, &lap);
    measure(&lap); /* once to warm caches, clocks and branch predictors */
    measure(&lap);
    report_say(report, "null allocator, %u slots, sizes %u-%u, %u rounds of %u pairs", spec.live,
               spec.size_min, spec.size_max, ROUNDS, LAP);
    compare(report, "tape replay / loop by hand, untouched", 0, TAPE, HAND_POINTER, true);
    compare(report, "tape replay / loop by hand, touched", 1, TAPE, HAND_POINTER, true);
    compare(report, "pointer minus direct call, untouched", 0, HAND_POINTER, HAND_DIRECT, false);
    compare(report, "pointer minus direct call, touched", 1, HAND_POINTER, HAND_DIRECT, false);
    const double untouched = report_variants(report, 0), touched = report_variants(report, 1);
    report_target(report, "tape replay over null in ns per pair, untouched", untouched, "<=", 5);
    report_target(report, "tape replay over null in ns per pair, touched", touched, "<=", 8);
    return report_end(report);
}
