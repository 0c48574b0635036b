/* A neighbour as a shared host has them: a process that computes in bursts of random length on
 * given CPUs, as noise of known kind. It dies with the thread that started it. */
#ifndef HEAPMARK_TESTS_BENCH_NEIGHBOUR_H
#define HEAPMARK_TESTS_BENCH_NEIGHBOUR_H

#include <stdint.h>
#include <sys/types.h>

/* Start one on any of cpus[count]. Its bursts follow from `seed`. Returns its pid or -errno. */
pid_t neighbour_start(const uint16_t *cpus, uint32_t count, uint64_t seed);
/* Kill it and wait for its end. 0 if it ran until then, -ECHILD if it had ended by itself. */
int neighbour_stop(pid_t pid);

#endif
