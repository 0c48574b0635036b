#include "workloads/pages/cycle.h"

#include <string.h>

#include "daemon/base/hash.h"

/* As many loads in flight as cores can have to memory: one walker would take as long as chase. */
#define WALKERS 16

_Static_assert(sizeof(struct cycle_line) == CYCLE_LINE_BYTES, "one line of the cache");

void cycle_init(struct cycle_line *lines, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        lines[i].next = &lines[i];
}

/* Below `bound`, by the high half of a product: no division, bias below 2^-30 for our sizes. */
static uint64_t random_below(uint64_t *seed, uint64_t bound)
{
    *seed = hash_mix(*seed, 0);
    return (uint64_t)((unsigned __int128)*seed * bound >> 64);
}

void cycle_mix(struct cycle_line *lines, uint64_t count, uint64_t from, uint64_t to, uint64_t *seed)
{
    for (uint64_t i = from; i < to; i++) {
        const uint64_t a = count - 1 - i;
        if (a == 0)
            return;
        const uint64_t b = random_below(seed, a); /* below a, never a itself: Sattolo's point */
        struct cycle_line *swap = lines[a].next;
        lines[a].next = lines[b].next;
        lines[b].next = swap;
    }
}

struct walker {
    struct cycle_line *at;
    uint64_t steps;
    bool stopped;
};

static bool line_ok(const struct cycle_line *lines, uint64_t count, const struct cycle_line *line)
{
    const uintptr_t offset = (uintptr_t)line - (uintptr_t)lines;
    return (uintptr_t)line >= (uintptr_t)lines && offset < count * CYCLE_LINE_BYTES &&
           offset % CYCLE_LINE_BYTES == 0;
}

/* One step of each walker that has not reached a start; false when none moved. */
static bool walk_once(const struct cycle_line *lines, uint64_t count, struct walker *w,
                      unsigned walkers, bool *broken)
{
    bool moved = false;
    for (unsigned i = 0; i < walkers; i++) {
        if (w[i].stopped)
            continue;
        if (!line_ok(lines, count, w[i].at->next) || w[i].steps >= count) {
            *broken = w[i].stopped = true;
            continue;
        }
        w[i].at = w[i].at->next;
        w[i].steps++;
        w[i].stopped = w[i].at->mark != 0;
        moved = true;
    }
    return moved;
}

/* Each walker goes from its start to the next start. The starts reached, followed from the first,
 * must come back to it after all others; the steps on that way are the length of line 0's cycle,
 * whose lines are all different because a walk along a function repeats only by returning. */
bool cycle_verify(struct cycle_line *lines, uint64_t count, uint64_t *ret_visited)
{
    struct walker w[WALKERS];
    const unsigned walkers = count < WALKERS ? (unsigned)count : WALKERS;
    bool broken = false;
    *ret_visited = 0;
    if (count == 0)
        return false;
    for (uint64_t i = 0; i < count; i++)
        lines[i].mark = 0;
    for (unsigned i = 0; i < walkers; i++) {
        w[i] = (struct walker){.at = &lines[count / walkers * i]};
        w[i].at->mark = i + 1;
    }
    while (walk_once(lines, count, w, walkers, &broken))
        ;
    uint64_t visited = 0;
    unsigned hops = 0, at = 0;
    do {
        visited += w[at].steps;
        const uint64_t mark = w[at].at->mark;
        at = mark > 0 ? (unsigned)mark - 1 : at;
    } while (++hops < walkers && at != 0);
    *ret_visited = visited;
    return !broken && at == 0 && hops == walkers && visited == count;
}
