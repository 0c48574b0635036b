#include "daemon/stats/stats.h"

#include <math.h>

bool stats_judged(uint32_t count, double confidence)
{
    return count >= STATS_JUDGED_COUNT_MIN && confidence >= STATS_JUDGED_CONFIDENCE_MIN;
}

static bool is_sure(const struct stats_contestant *c)
{
    return c->judged && isfinite(c->ratio) && isfinite(c->low) && isfinite(c->high);
}

static bool overlap(const struct stats_contestant *a, const struct stats_contestant *b)
{
    return a->low <= b->high && b->low <= a->high;
}

static const struct stats_contestant *leader_of(const struct stats_contestant *contestants,
                                                uint32_t count, bool higher_is_better)
{
    const struct stats_contestant *leader = NULL;
    for (const struct stats_contestant *c = contestants; c < contestants + count; c++)
        if (c->takes_part && is_sure(c) &&
            (!leader || (higher_is_better ? c->ratio > leader->ratio : c->ratio < leader->ratio)))
            leader = c;
    return leader;
}

void stats_standings(const struct stats_contestant *contestants, uint32_t count,
                     bool higher_is_better, enum stats_standing *ret_standings)
{
    const struct stats_contestant *leader = leader_of(contestants, count, higher_is_better);
    uint32_t taking_part = 0, unsure = 0, tied = 0;
    for (uint32_t i = 0; i < count; i++) {
        ret_standings[i] = STATS_STANDING_NONE;
        taking_part += contestants[i].takes_part;
    }
    if (taking_part < 2)
        return;
    for (uint32_t i = 0; i < count; i++) {
        const struct stats_contestant *c = &contestants[i];
        enum stats_standing *standing = &ret_standings[i];
        if (!c->takes_part || c == leader)
            continue;
        if (!leader || !is_sure(c)) /* whoever is sure has a leader */
            *standing = STATS_STANDING_UNSURE;
        else
            *standing = overlap(c, leader) ? STATS_STANDING_TIED : STATS_STANDING_BEHIND;
        unsure += *standing == STATS_STANDING_UNSURE;
        tied += *standing == STATS_STANDING_TIED;
    }
    if (leader && tied > 0)
        ret_standings[leader - contestants] = STATS_STANDING_TIED;
    else if (leader && unsure == 0)
        ret_standings[leader - contestants] = STATS_STANDING_BEST;
}

const char *stats_standing_name(enum stats_standing standing)
{
    static const char *const names[STATS_STANDING_COUNT_] = {
        [STATS_STANDING_NONE] = NULL,       [STATS_STANDING_BEST] = "best",
        [STATS_STANDING_TIED] = "tied",     [STATS_STANDING_BEHIND] = "behind",
        [STATS_STANDING_UNSURE] = "unsure",
    };
    return names[standing];
}
