/* Clocks. Durations use CLOCK_MONOTONIC, dates CLOCK_REALTIME; the two never mix. */
#ifndef HEAPMARK_BASE_CLOCK_H
#define HEAPMARK_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Microseconds since the epoch: the unit of every stored time. */
static inline int64_t clock_realtime_us(void)
{
    return (int64_t)(clock_ns(CLOCK_REALTIME) / 1000);
}

/* "2026-01-31T23:59:59.123Z" into buf[32]. */
void clock_format_utc(int64_t realtime_us, char buf[32]);

#endif
