/* The sorted, finite part of a list: what every estimate here works on. Internal to stats. */
#ifndef HEAPMARK_DAEMON_STATS_SORTED_H
#define HEAPMARK_DAEMON_STATS_SORTED_H

#include <stdint.h>

struct sorted {
    double *values; /* ascending, owned */
    uint32_t count, excluded;
};

/* 0, -EINVAL (count over STATS_COUNT_MAX) or -ENOMEM. */
int sorted_init(struct sorted *s, const double *values, uint32_t count);
void sorted_done(struct sorted *s);

/* Type 7 quantile of an ascending list; NaN when it is empty. 0 <= q <= 1. */
double sorted_quantile(const double *ascending, uint32_t count, double q);

#endif
