/* Null distribution of the signed-rank sum. Internal to stats. */
#ifndef HEAPMARK_DAEMON_STATS_SIGNED_RANK_H
#define HEAPMARK_DAEMON_STATS_SIGNED_RANK_H

#include <stdint.h>

/* Largest k >= 0 with P(W <= k) <= tail for n ranks 1..n, its probability in *ret_probability.
 * Where no k qualifies: 0 and P(W <= 0), which is then above `tail`. *ret_k is below n(n+1)/4, so
 * the k-th smallest and largest Walsh averages never cross. n >= 1. 0 or -ENOMEM. */
int signed_rank_critical(uint32_t n, double tail, uint64_t *ret_k, double *ret_probability);

#endif
