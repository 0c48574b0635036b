/* Statistics of rings, blocks and cells: robust estimates with distribution-free intervals.
 *
 * Called by the API, the scheduler and benches from any thread. Pure: no I/O, no state, no clock,
 * no random numbers. Inputs are never changed. Values that are NaN or infinite are left out and
 * counted, never guessed at. Functions return 0, -EINVAL for an argument that makes no sense
 * (quantile outside 0..1, confidence outside (0,1), count over STATS_COUNT_MAX) or -ENOMEM; they
 * write *ret only on success.
 *
 * Sources: quantile definition 7 of Hyndman & Fan (1996); Hodges & Lehmann (1963); the exact
 * signed-rank null of Wilcoxon (1945) by dynamic programming; zeros after Pratt (1959);
 * step-down adjustment after Holm (1979); resistant line after Tukey (1977). */
#ifndef HEAPMARK_DAEMON_STATS_STATS_H
#define HEAPMARK_DAEMON_STATS_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/ring/ring.h"

#define STATS_COUNT_MAX 1000000u
/* Up to this many values the signed-rank null is exact; above, the normal approximation with a
 * continuity correction of 1/2 (its error in p is below 1e-3 there). */
#define STATS_EXACT_MAX 200u

/* ---- one list of numbers -------------------------------------------------------------------- */

/* q-quantile, linear between order statistics (type 7). NaN for an empty list. */
int stats_quantile(const double *values, uint32_t count, double q, double *ret);
int stats_median(const double *values, uint32_t count, double *ret);
/* Median of |x - median|, not scaled (× 1.4826 estimates a normal sd). */
int stats_mad(const double *values, uint32_t count, double *ret);

struct stats_moments {
    double mean; /* NaN when count is 0 */
    double sd;   /* with n - 1; NaN when count is below 2 */
    uint32_t count, excluded;
};
int stats_moments(const double *values, uint32_t count, struct stats_moments *ret);

/* ---- estimate with interval ----------------------------------------------------------------- */

struct stats_estimate {
    double value;      /* NaN when count is 0 */
    double low, high;  /* closed interval; NaN when count is 0 */
    double confidence; /* reached: at least what was asked, or less when count is too small for
                        * it (then the interval is minimum to maximum); 0 for one value */
    uint32_t count;    /* values used */
    uint32_t excluded; /* not finite; on a logarithmic scale also values not above 0 */
    bool log_scale;    /* taken over ln(x) and mapped back by exp */
};

/* Hodges-Lehmann: median of the Walsh averages (x_i + x_j)/2, i <= j; interval from the same
 * ordered averages and the signed-rank null. */
int stats_hodges_lehmann(const double *values, uint32_t count, double confidence,
                         struct stats_estimate *ret);

enum stats_scale {
    STATS_LINEAR, /* counts, ratios that may be 0 or negative */
    STATS_LOG,    /* positive magnitudes: exp of the estimate of ln x */
    STATS_AUTO,   /* LOG when every finite value is above 0, else LINEAR; log_scale says which */
};
int stats_estimate_on(enum stats_scale scale, const double *values, uint32_t count,
                      double confidence, struct stats_estimate *ret);

/* ---- signed-rank test ----------------------------------------------------------------------- */

struct stats_signed_rank {
    double p_greater; /* one-sided: the centre is above `shift`. 1 when nothing is left to rank */
    double p_less;    /* one-sided: the centre is below `shift` */
    double w_plus;    /* sum of the (mid)ranks of positive differences */
    uint32_t count;   /* finite values, zeros included */
    uint32_t zeros;   /* equal to shift: ranked, then their ranks dropped (Pratt) */
    uint32_t excluded;
    bool exact; /* null by enumeration of signs over doubled midranks; false: approximated, above
                 * STATS_EXACT_MAX non-zero differences (or fewer among thousands of zeros) */
};
int stats_signed_rank(const double *values, uint32_t count, double shift,
                      struct stats_signed_rank *ret);

/* Holm's adjusted p values, in input order: reject hypothesis i at level a when ret[i] <= a.
 * -EINVAL when a p is not within 0..1. ret may be p itself. */
int stats_holm(const double *p, uint32_t count, double *ret_adjusted);

/* ---- rings ---------------------------------------------------------------------------------- */

/* One runner's side of a ring: ns[r] is its time per operation in measured rotation r, r < count.
 * A dropped runner simply has a smaller count (or NaN or 0 in what it did not do). */
struct stats_ring_side {
    uint8_t runner; /* as in turns[].runner */
    const double *ns;
    uint32_t count;
};

struct stats_ring_ratio {
    double log_ratio;          /* ln(x/y): median over the quadruples used; NaN when none */
    double log_ratio_mad;      /* MAD of the same; NaN when none */
    double drift_per_rotation; /* slope of the quadruples' log ratio by a resistant line (medians
                                * of the outer thirds); NaN below 6 quadruples */
    double drift;              /* the same over all rotations of the ring */
    uint32_t quadruples;       /* used */
    uint32_t excluded;         /* a slice of it was 0, negative, NaN or infinite */
    uint32_t missing;          /* a runner of it was gone, or the plan lacks one of its turns */
    uint32_t unbalanced;       /* not ABBA: both rotations in the same order; never used */
};

/* A ring's estimate of runner x against runner y. A quadruple is rotations 2k and 2k+1 of both:
 * (ln x_2k + ln x_2k+1 - ln y_2k - ln y_2k+1) / 2. `turns` is the order really used (turns of
 * other runners and phases are skipped); it proves that each quadruple is ABBA. */
int stats_ring_ratio(const struct ring_turn *turns, uint32_t turns_count,
                     const struct stats_ring_side *x, const struct stats_ring_side *y,
                     struct stats_ring_ratio *ret);

/* A runner's own value in one ring: median over its slices above 0. NaN when none. */
int stats_ring_value(const double *ns, uint32_t count, double *ret_value, uint32_t *ret_used);

/* ---- one cell over rings (or blocks) -------------------------------------------------------- */

/* What one ring (or one block of one-shot trials) says of a cell's metric. NaN: not there. */
struct stats_cell_ring {
    double value;       /* the subject's value */
    double log_ratio;   /* ln(subject / reference); of a ring: stats_ring_ratio */
    double log_control; /* ln(control / reference): the A/A of the same ring */
};

struct stats_cell {
    struct stats_estimate absolute; /* of value, on STATS_AUTO */
    struct stats_estimate ratio;    /* exp: subject / reference */
    struct stats_estimate control;  /* exp: reference / reference; its interval is the noise */
    double ratio_log_sd;            /* sd of log_ratio over rings; NaN below 2 */
    double control_log_sd;          /* sd of log_control over rings: the noise of one ring */
};
int stats_cell(const struct stats_cell_ring *rings, uint32_t count, double confidence,
               struct stats_cell *ret);

/* ---- who is best in a group ----------------------------------------------------------------- */

/* Fewer values, or less confidence, give no interval of 95%: nothing may be judged by it. */
#define STATS_JUDGED_COUNT_MIN      6u
#define STATS_JUDGED_CONFIDENCE_MIN 0.9
bool stats_judged(uint32_t count, double confidence);

struct stats_contestant {
    double ratio, low, high; /* to the reference, paired; of the reference itself exactly 1 */
    bool judged;             /* stats_judged of the values behind it */
    bool takes_part;         /* not a baseline, and it has a value */
};

enum stats_standing {
    STATS_STANDING_NONE,   /* takes no part, or leads where nobody may be called best */
    STATS_STANDING_BEST,   /* its interval is wholly better than each other's */
    STATS_STANDING_TIED,   /* the leader and those whose interval meets the leader's */
    STATS_STANDING_BEHIND, /* wholly worse than the leader */
    STATS_STANDING_UNSURE, /* cannot be judged; while there is one, nobody is best */
    STATS_STANDING_COUNT_,
};
/* Standings in one metric by ratios alone: values of different trials drift together, their ratios
 * within a ring do not. The leader has the best ratio. */
void stats_standings(const struct stats_contestant *contestants, uint32_t count,
                     bool higher_is_better, enum stats_standing *ret_standings);
/* "best", "tied", "behind", "unsure"; NULL for NONE. */
const char *stats_standing_name(enum stats_standing standing);

#endif
