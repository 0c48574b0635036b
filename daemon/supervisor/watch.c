#include "daemon/supervisor/watch.h"

void watch_init(struct watch *w, const struct ring_turn *turns, uint32_t turns_count,
                uint32_t runners_count, uint64_t now_ns)
{
    *w = (struct watch){
        .turns = turns,
        .turns_count = turns_count,
        .runners_count = runners_count,
        .turn_since_ns = now_ns,
    };
}

static uint32_t load_done(struct ring_page *page)
{
    /* Acquire: pairs with the runner's release store, so that what it read before is visible. */
    return atomic_load_explicit(&page->done, memory_order_acquire);
}

/* First turn not over, by fresh words of everyone still in the ring. */
static uint32_t ring_turn_now(const struct watch *w, struct ring_page *const pages[])
{
    uint32_t turn = w->turn;
    while (turn < w->turns_count) {
        unsigned owner = w->turns[turn].runner;
        if (!w->is_gone[owner] && load_done(pages[owner]) <= turn)
            break;
        turn++;
    }
    return turn;
}

static bool is_state_true(uint32_t before, uint32_t now)
{
    return now <= RUNNER_FAILED && now >= before && !(before == RUNNER_FINISHED && now != before);
}

static bool is_done_true(const struct watch *w, unsigned i, uint32_t done)
{
    return done >= w->done[i] && done <= w->turns_count &&
           (done == 0 || w->turns[done - 1].runner == i);
}

/* One runner's words against what was believed before. False: they cannot be true. */
static bool watch_runner(struct watch *w, struct ring_page *page, unsigned i, uint64_t now_ns)
{
    /* The done word first: who drops itself has published its state before. */
    uint32_t done = load_done(page);
    /* Acquire: pairs with the runner's release store of its state. */
    uint32_t state = atomic_load_explicit(&page->state, memory_order_acquire);
    if (!is_state_true(w->state[i], state))
        return false;
    bool is_leaving = done == RING_DROPPED && state == RUNNER_FAILED;
    if (!is_leaving && !is_done_true(w, i, done))
        return false;
    w->state[i] = state;
    w->is_gone[i] = is_leaving;
    /* Between two looks it may have come further than the last one saw. Relaxed: ordered by the
     * acquire of its done word. */
    if (is_leaving)
        done = atomic_load_explicit(&page->done_before_drop, memory_order_relaxed);
    if (!is_leaving || is_done_true(w, i, done))
        w->done[i] = done;
    if (state >= RUNNER_FINISHED && w->leaving_since_ns[i] == 0)
        w->leaving_since_ns[i] = now_ns;
    return true;
}

uint32_t watch_look(struct watch *w, struct ring_page *const pages[], uint64_t now_ns)
{
    uint32_t liars = 0;
    for (unsigned i = 0; i < w->runners_count; i++)
        if (!w->is_gone[i] && !watch_runner(w, pages[i], i, now_ns))
            liars |= 1u << i;
    uint32_t turn = ring_turn_now(w, pages);
    if (turn != w->turn) {
        w->turn = turn;
        w->turn_since_ns = now_ns;
    }
    return liars;
}

int watch_holder(const struct watch *w)
{
    return w->turn < w->turns_count ? w->turns[w->turn].runner : -1;
}

bool watch_finished(const struct watch *w, unsigned runner)
{
    for (uint32_t i = w->turns_count; i-- > 0;)
        if (w->turns[i].runner == runner)
            return w->done[runner] > i;
    return true;
}
