/* Whose turn it is, and who lies: reads the words runners publish. Pure but for the loads; no
 * system call.
 *
 * A runner is judged by its own words only: a done word is 0 or one past a turn of its owner and
 * never shrinks, a state is one there is and never goes back. Whether a word is plausible beside
 * the others' is not judged here: of "I am done" and "I never handed over" one is a lie, and
 * nothing in the words says which, so an innocent runner could be framed. Who lies that way gains
 * nothing: slices carry stamps, and the node checks those against each other; a ring that stands
 * still stands at the runner whose word is behind.
 *
 * A runner that fails leaves by itself: state FAILED, then RING_DROPPED as its own done word.
 * Caller: worker. One thread. */
#ifndef HEAPMARK_DAEMON_SUPERVISOR_WATCH_H
#define HEAPMARK_DAEMON_SUPERVISOR_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "workloads/ring/ring.h"

struct watch {
    const struct ring_turn *turns; /* the supervisor's own copy */
    uint32_t turns_count, runners_count;
    uint32_t done[RING_RUNNERS_MAX], state[RING_RUNNERS_MAX]; /* last believed */
    bool is_gone[RING_RUNNERS_MAX]; /* out of the ring: its turns do not count any more */
    uint64_t leaving_since_ns[RING_RUNNERS_MAX]; /* FINISHED or FAILED seen: it must exit; 0: no */
    uint32_t turn;          /* first turn that is not over; turns_count: all are */
    uint64_t turn_since_ns; /* when `turn` was first seen */
};

void watch_init(struct watch *w, const struct ring_turn *turns, uint32_t turns_count,
                uint32_t runners_count, uint64_t now_ns);

/* Load everything and move on. Returns a bit per runner whose words cannot be true; they are not
 * taken over. */
uint32_t watch_look(struct watch *w, struct ring_page *const pages[], uint64_t now_ns);

/* Runner whose turn it is, or -1 when all turns are over. */
int watch_holder(const struct watch *w);

/* Whether all turns of this runner are over. */
bool watch_finished(const struct watch *w, unsigned runner);

#endif
