/* hmalloc_worker steady|once INDEX: one case of `./dev bench hmalloc`, under the allocator that
 * LD_PRELOAD says. Steady: for each byte that arrives on stdin, an unmeasured slice, then a
 * measured one, whose nanoseconds per operation go to stdout as a double; at the end of input the
 * peak of resident memory, in bytes. Once: the figures, one "NAME\tVALUE" a line. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/hmalloc_cases.h"

#define WARM_SLICES 10

static const struct bench_case *the_case;
static uint64_t wanted;
static _Atomic unsigned generation, arrived, gathered;

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

/* Both spin until the other is here: they start within a fraction of a microsecond. */
static void gather(void)
{
    atomic_fetch_add(&gathered, 1);
    while (atomic_load(&gathered) < the_case->threads)
        ;
}

static void *second_thread(void *unused)
{
    unsigned seen = 0;
    pin(1);
    for (;;) {
        while (atomic_load(&generation) == seen) {
            const struct timespec nap = {0, 20000};
            (void)nanosleep(&nap, NULL);
        }
        seen++;
        gather();
        the_case->slice(the_case, 1, wanted);
        atomic_fetch_add(&arrived, 1);
    }
    return unused;
}

static double slice(void)
{
    wanted = the_case->operations;
    atomic_store(&arrived, 0);
    atomic_store(&gathered, 0);
    atomic_fetch_add(&generation, 1);
    gather();
    const double start = now_ns();
    the_case->slice(the_case, 0, wanted);
    while (atomic_load(&arrived) + 1 < the_case->threads)
        ;
    return (now_ns() - start) / (double)wanted;
}

static int run_steady(unsigned index)
{
    pthread_t other;
    char go;
    the_case = &steady_cases[index];
    pin(0);
    if (the_case->threads > 1 && pthread_create(&other, NULL, second_thread, NULL) != 0)
        return 1;
    if (the_case->setup)
        the_case->setup(the_case);
    for (int i = 0; i < WARM_SLICES; i++)
        (void)slice();
    double ns = 0; /* ready */
    do {
        if (write(STDOUT_FILENO, &ns, sizeof ns) != sizeof ns)
            return 1;
        if (read(STDIN_FILENO, &go, 1) != 1)
            break;
        (void)slice();
        ns = slice();
    } while (1);
    ns = case_memory("/proc/self/status", "VmHWM");
    return write(STDOUT_FILENO, &ns, sizeof ns) == sizeof ns ? 0 : 1;
}

static int run_once(unsigned index)
{
    struct once_figure figures[ONCE_FIGURES] = {0};
    once_cases[index].run(figures);
    for (unsigned i = 0; i < ONCE_FIGURES && figures[i].name; i++)
        printf("%s\t%.17g\n", figures[i].name, figures[i].value);
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const unsigned index = (unsigned)strtoul(argv[2], NULL, 10);
    _exit(strcmp(argv[1], "steady") == 0 ? run_steady(index) : run_once(index));
}
