#include "workloads/ring/ring.h"

#include <errno.h>
#include <string.h>

#include "daemon/base/hash.h"

const char *ring_build_id(void)
{
    return HEAPMARK_BUILD_ID;
}

const char *runner_failure_name(enum runner_failure failure)
{
    static const char *const names[FAIL_COUNT_] = {
        [FAIL_NONE] = "none",
        [FAIL_PROTOCOL] = "protocol",
        [FAIL_LOAD] = "load",
        [FAIL_IDENTITY] = "identity",
        [FAIL_PIN] = "pin",
        [FAIL_PAGES_UNAVAILABLE] = "pages_unavailable",
        [FAIL_PAGES_UNSUPPORTED] = "pages_unsupported",
        [FAIL_ENOMEM] = "enomem",
        [FAIL_VERIFY] = "verify",
        [FAIL_SYSTEM] = "system",
    };
    return (unsigned)failure < FAIL_COUNT_ ? names[failure] : "protocol";
}

struct turn_list {
    struct ring_turn *turns;
    uint32_t count, capacity;
};

static int turn_add(struct turn_list *list, unsigned runner, enum ring_phase phase, unsigned part,
                    unsigned parts, unsigned rotation)
{
    if (list->count == list->capacity)
        return -ENOSPC;
    list->turns[list->count++] = (struct ring_turn){
        .runner = (uint8_t)runner,
        .phase = (uint8_t)phase,
        .part = (uint16_t)part,
        .parts = (uint16_t)parts,
        .rotation = (uint16_t)rotation,
    };
    return 0;
}

/* Fisher-Yates over at most RING_RUNNERS_MAX indices. */
static void ring_permute(unsigned order[], unsigned count, uint64_t *state)
{
    for (unsigned i = 0; i < count; i++)
        order[i] = i;
    for (unsigned i = count - 1; i > 0; i--) {
        *state = hash_mix(*state, i);
        unsigned j = (unsigned)(*state % (i + 1));
        unsigned swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* Everybody's share of a phase, part by part, each in an order of its own: whoever builds first
 * every time would find other memory than whoever builds last. The phase is mixed into the seed,
 * so that its orders do not depend on how many parts another phase has. */
static int ring_schedule_parts(struct turn_list *list, unsigned runners_count,
                               enum ring_phase phase, unsigned parts, uint64_t seed)
{
    int r = 0;
    uint64_t state = hash_mix(seed, UINT64_C(0x70617274) + (uint64_t)phase);
    for (unsigned part = 0; part < parts && r == 0; part++) {
        unsigned order[RING_RUNNERS_MAX];
        ring_permute(order, runners_count, &state);
        for (unsigned i = 0; i < runners_count && r == 0; i++)
            r = turn_add(list, order[i], phase, part, parts, 0);
    }
    return r;
}

int ring_schedule(uint32_t runners_count, uint32_t rotations, uint32_t build_parts,
                  uint32_t warm_parts, uint64_t seed, struct ring_turn *turns, uint32_t capacity)
{
    if (runners_count < 1 || runners_count > RING_RUNNERS_MAX || rotations % 2 != 0 ||
        rotations > RING_ROTATIONS_MAX || build_parts > UINT16_MAX || warm_parts > UINT16_MAX)
        return -EINVAL;
    struct turn_list list = {.turns = turns, .capacity = capacity};
    uint64_t state = seed;
    int r;
    if (rotations == 0) { /* one-shot: everyone runs once */
        for (unsigned i = 0; i < runners_count; i++)
            if ((r = turn_add(&list, i, RING_RUN, 0, 1, 0)) < 0)
                return r;
        return (int)list.count;
    }
    if ((r = ring_schedule_parts(&list, runners_count, RING_BUILD, build_parts, seed)) < 0 ||
        (r = ring_schedule_parts(&list, runners_count, RING_WARM, warm_parts, seed)) < 0)
        return r;
    for (unsigned rotation = 0; rotation < rotations; rotation += 2) {
        unsigned order[RING_RUNNERS_MAX];
        ring_permute(order, runners_count, &state);
        for (unsigned i = 0; i < runners_count; i++)
            if ((r = turn_add(&list, order[i], RING_MEASURE, 0, 1, rotation)) < 0)
                return r;
        for (unsigned i = runners_count; i-- > 0;)
            if ((r = turn_add(&list, order[i], RING_MEASURE, 0, 1, rotation + 1)) < 0)
                return r;
    }
    for (unsigned i = 0; i < runners_count; i++)
        if ((r = turn_add(&list, i, RING_SETTLE, 0, 1, 0)) < 0)
            return r;
    return (int)list.count;
}

static bool ring_text_ended(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool ring_subject_ok(const struct ring_subject *s)
{
    const struct ring_symbols *y = &s->symbols;
    return ring_text_ended(s->allocator, sizeof s->allocator) &&
           ring_text_ended(y->malloc_name, sizeof y->malloc_name) &&
           ring_text_ended(y->free_name, sizeof y->free_name) &&
           ring_text_ended(y->calloc_name, sizeof y->calloc_name) &&
           ring_text_ended(y->realloc_name, sizeof y->realloc_name) &&
           ring_text_ended(y->aligned_alloc_name, sizeof y->aligned_alloc_name) &&
           ring_text_ended(y->usable_size_name, sizeof y->usable_size_name) &&
           ring_text_ended(y->adapter, sizeof y->adapter) && s->point.threads >= 1 &&
           s->point.threads <= RING_THREADS_MAX && s->point.pages < PAGES_COUNT_ &&
           (s->library_fd == -1 || s->library_fd == RING_FD_LIBRARY) &&
           (s->flags & ~(RING_SUBJECT_NULL | RING_SUBJECT_NO_FREE)) == 0;
}

static uint32_t ring_workloads_count(void)
{
    uint32_t count = 0;
    while (workloads[count])
        count++;
    return count;
}

static bool ring_head_ok(const struct ring_plan *plan, uint64_t size)
{
    if (size < sizeof *plan || plan->magic != RING_MAGIC ||
        !ring_text_ended(plan->build_id, sizeof plan->build_id) ||
        strcmp(plan->build_id, ring_build_id()) != 0)
        return false;
    return plan->workload < ring_workloads_count() && plan->runners_count >= 1 &&
           plan->runners_count <= RING_RUNNERS_MAX && plan->rotations <= RING_ROTATIONS_MAX &&
           plan->turns_count >= 1 && plan->turns_count <= RING_TURNS_MAX &&
           plan->sched_batch <= 1 && size >= ring_plan_size(plan->turns_count);
}

/* A steady workload is never run once, nor a one-shot one in slices. */
static bool ring_phase_fits(const struct ring_plan *plan, const struct ring_turn *turn)
{
    const bool oneshot = workloads[plan->workload]->kind == WORKLOAD_ONESHOT;
    return turn->phase <= RING_RUN && (turn->phase == RING_RUN) == oneshot;
}

/* Two turns of one runner in the same rotation would overwrite a slice. */
static bool ring_turns_ok(const struct ring_plan *plan)
{
    uint8_t seen[RING_ROTATIONS_MAX] = {0}; /* bit per runner */
    for (uint32_t i = 0; i < plan->turns_count; i++) {
        const struct ring_turn *t = &plan->turns[i];
        if (t->runner >= plan->runners_count || t->part >= t->parts || !ring_phase_fits(plan, t))
            return false;
        if (t->phase != RING_MEASURE)
            continue;
        if (t->rotation >= plan->rotations || seen[t->rotation] & 1u << t->runner)
            return false;
        seen[t->rotation] |= (uint8_t)(1u << t->runner);
    }
    return true;
}

int ring_plan_check(const struct ring_plan *plan, uint64_t size)
{
    if (!ring_head_ok(plan, size))
        return -EPROTO;
    for (uint32_t i = 0; i < plan->runners_count; i++)
        if (!ring_subject_ok(&plan->subjects[i]))
            return -EPROTO;
    return ring_turns_ok(plan) ? 0 : -EPROTO;
}
