#include "daemon/topo/shape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_THREADS "/threads"
#define FIELD_CPUSET  "/cpuset"

static const char *const placement_names[PLACE_COUNT_] = {
    [PLACE_COMPACT] = "compact",           [PLACE_SCATTER] = "scatter",
    [PLACE_ONE_PER_CORE] = "one-per-core", [PLACE_ONE_PER_L3] = "one-per-l3",
    [PLACE_NUMA_LOCAL] = "numa-local",     [PLACE_EXPLICIT] = "explicit",
};

const char *placement_name(enum placement placement)
{
    return (unsigned)placement < PLACE_COUNT_ ? placement_names[placement] : "unknown";
}

int placement_parse(const char *name)
{
    for (int i = 0; i < PLACE_COUNT_; i++)
        if (strcmp(placement_names[i], name) == 0)
            return i;
    return -ENOENT;
}

/* A core with at least one CPU that may be used, and its ranks among such cores. */
struct place {
    const struct shape_core *core;
    uint16_t cpus[SHAPE_SMT_MAX]; /* usable only */
    unsigned cpus_count;
    unsigned index;   /* hwloc's order */
    unsigned rank;    /* in its L3 (package where there is no L3) */
    unsigned l3_rank; /* of its L3 in its package */
};

struct places {
    struct place *items;
    unsigned count;
};

static void places_done(struct places *p)
{
    free(p->items);
}

static bool same_l3(const struct shape_core *a, const struct shape_core *b)
{
    return a->package == b->package && a->l3 == b->l3;
}

/* Ranks by looking back: quadratic in cores, which are hundreds. */
static void place_rank(const struct places *p, struct place *place)
{
    for (const struct place *before = p->items; before < place; before++) {
        if (same_l3(before->core, place->core))
            place->rank++;
        else if (before->core->package == place->core->package && before->rank == 0)
            place->l3_rank++; /* the first core of another L3 */
    }
}

static int places_init(struct places *p, const struct shape *shape, const struct cpulist *usable)
{
    p->items = calloc(shape->cores_count + 1, sizeof *p->items);
    if (!p->items)
        return -ENOMEM;
    for (unsigned i = 0; i < shape->cores_count; i++) {
        const struct shape_core *core = &shape->cores[i];
        struct place *place = &p->items[p->count];
        *place = (struct place){.core = core, .index = i};
        for (unsigned c = 0; c < core->cpus_count; c++)
            if (cpulist_has(usable, core->cpus[c]))
                place->cpus[place->cpus_count++] = core->cpus[c];
        if (place->cpus_count == 0)
            continue;
        place_rank(p, place);
        p->count++;
    }
    return 0;
}

/* Fast cores before slow ones, else threads of one cell would differ by what they run on. */
static int order_compact(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->core->kind != y->core->kind)
        return x->core->kind > y->core->kind ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static int order_scatter(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->core->kind != y->core->kind)
        return x->core->kind > y->core->kind ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->l3_rank != y->l3_rank)
        return x->l3_rank < y->l3_rank ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Keep the first core of each L3, in the order of the list. */
static void places_keep_l3(struct places *p)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < p->count; i++) {
        bool seen = false;
        for (unsigned k = 0; k < kept && !seen; k++)
            seen = same_l3(p->items[k].core, p->items[i].core);
        if (!seen)
            p->items[kept++] = p->items[i];
    }
    p->count = kept;
}

/* Keep the cores of the NUMA node (set of local nodes) that has most; the first of equals. */
static void places_keep_node(struct places *p)
{
    uint64_t best_mask = 0;
    unsigned best = 0, kept = 0;
    for (unsigned i = 0; i < p->count; i++) {
        unsigned count = 0;
        for (unsigned k = 0; k < p->count; k++)
            count += p->items[k].core->mems_mask == p->items[i].core->mems_mask;
        if (count > best) {
            best = count;
            best_mask = p->items[i].core->mems_mask;
        }
    }
    for (unsigned i = 0; i < p->count; i++)
        if (p->items[i].core->mems_mask == best_mask)
            p->items[kept++] = p->items[i];
    p->count = kept;
}

static unsigned places_cpus(const struct places *p)
{
    unsigned count = 0;
    for (unsigned i = 0; i < p->count; i++)
        count += p->items[i].cpus_count;
    return count;
}

static int too_many(uint32_t threads, unsigned places, const char *what, struct err *e)
{
    return err_set(e, ERR_OUT_OF_RANGE, FIELD_THREADS, "%u threads, but there %s %u %s%s", threads,
                   places == 1 ? "is" : "are", places, what, places == 1 ? "" : "s");
}

/* One CPU of each core, then the second ones, and so on: siblings only when cores run out. */
static void places_take(const struct places *p, uint32_t threads, struct topo_plan *plan)
{
    for (unsigned sibling = 0; sibling < SHAPE_SMT_MAX; sibling++)
        for (unsigned i = 0; i < p->count && plan->count < threads; i++)
            if (sibling < p->items[i].cpus_count)
                plan->cpus[plan->count++] = p->items[i].cpus[sibling];
}

static int place_by_policy(const struct shape *shape, const struct topo_request *request,
                           const struct cpulist *usable, struct topo_plan *plan, struct err *e)
{
    cleanup_(places_done) struct places p = {0};
    if (places_init(&p, shape, usable) < 0)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    qsort(p.items, p.count, sizeof *p.items,
          request->placement == PLACE_SCATTER ? order_scatter : order_compact);
    const char *what = "core this process may use";
    switch (request->placement) {
    case PLACE_ONE_PER_L3:
        if (p.count > 0 && p.items[0].core->l3 < 0)
            return err_set(e, ERR_UNAVAILABLE, "/placement",
                           "one-per-l3: this host does not tell its L3 caches; use scatter");
        places_keep_l3(&p);
        what = "L3 cache this process may use";
        break;
    case PLACE_NUMA_LOCAL:
        places_keep_node(&p);
        what = "core of the largest NUMA node";
        break;
    default:
        break;
    }
    bool siblings = request->placement == PLACE_COMPACT || request->placement == PLACE_SCATTER;
    unsigned room = siblings ? places_cpus(&p) : p.count;
    if (request->threads > room)
        return too_many(request->threads, room, siblings ? "CPU this process may use" : what, e);
    places_take(&p, request->threads, plan);
    return 0;
}

static int place_explicit(const struct topo_request *request, const struct cpulist *usable,
                          struct topo_plan *plan, struct err *e)
{
    uint16_t listed[CPULIST_MAX];
    if (!request->cpuset || !*request->cpuset)
        return err_set(e, ERR_INVALID, FIELD_CPUSET,
                       "placement explicit needs a cpuset: \"0-3,8\"");
    int n = cpulist_parse_order(request->cpuset, FIELD_CPUSET, listed, CPULIST_MAX, e);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        if (cpulist_has(usable, listed[i]))
            continue;
        char have[128];
        (void)cpulist_format(usable, have, sizeof have);
        return err_set(e, ERR_UNAVAILABLE, FIELD_CPUSET,
                       "CPU %u of \"%.64s\" does not exist or may not be used; usable: %s",
                       listed[i], request->cpuset, have);
    }
    if (request->threads > (unsigned)n)
        return too_many(request->threads, (unsigned)n, "CPU listed in the cpuset", e);
    for (uint32_t i = 0; i < request->threads; i++)
        plan->cpus[plan->count++] = listed[i];
    return 0;
}

static bool core_used(const struct shape_core *core, const struct cpulist *used)
{
    for (unsigned c = 0; c < core->cpus_count; c++)
        if (cpulist_has(used, core->cpus[c]))
            return true;
    return false;
}

static bool l3_used(const struct shape *shape, const struct shape_core *core,
                    const struct cpulist *used)
{
    for (unsigned i = 0; i < shape->cores_count; i++)
        if (same_l3(&shape->cores[i], core) && core_used(&shape->cores[i], used))
            return true;
    return false;
}

/* How much a daemon on this core would disturb the threads: smaller is better. */
static unsigned disturbance(const struct shape *shape, const struct shape_core *core,
                            const struct cpulist *used)
{
    if (core_used(core, used))
        return 2;
    return l3_used(shape, core, used) ? 1 : 0;
}

static void choose_housekeeping(const struct shape *shape, const struct cpulist *used,
                                struct topo_plan *plan)
{
    unsigned best = 3;
    plan->housekeeping_cpu = -1;
    for (unsigned i = 0; i < shape->cores_count; i++) {
        const struct shape_core *core = &shape->cores[i];
        unsigned cost = disturbance(shape, core, used);
        for (unsigned c = 0; c < core->cpus_count; c++) {
            int cpu = core->cpus[c];
            if (!cpulist_has(&shape->allowed, core->cpus[c]) || cpulist_has(used, core->cpus[c]))
                continue;
            if (cost > best || (cost == best && cpu > plan->housekeeping_cpu))
                continue;
            best = cost;
            plan->housekeeping_cpu = cpu;
        }
    }
    plan->housekeeping = plan->housekeeping_cpu >= 0;
    plan->housekeeping_sibling = best == 2;
}

static uint64_t mems_of(const struct shape *shape, const struct cpulist *used)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < shape->cores_count; i++) {
        if (!core_used(&shape->cores[i], used))
            continue;
        if (shape->cores[i].mems_mask == 0)
            return 0; /* one unknown: bind nothing rather than the wrong nodes */
        mask |= shape->cores[i].mems_mask;
    }
    return mask;
}

int shape_place(const struct shape *shape, const struct topo_request *request,
                struct topo_plan *ret, struct err *e)
{
    if ((unsigned)request->placement >= PLACE_COUNT_)
        return err_set(e, ERR_INVALID, "/placement", "no such placement");
    if (request->threads < 1 || request->threads > RING_THREADS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, FIELD_THREADS, "%u threads are outside 1 to %d",
                       request->threads, RING_THREADS_MAX);
    struct cpulist usable = shape->allowed, used = {0};
    if (request->allowed)
        for (unsigned i = 0; i < CPULIST_MAX / 64; i++)
            usable.words[i] &= request->allowed->words[i];
    struct topo_plan plan = {.count = 0};
    int r = request->placement == PLACE_EXPLICIT
                ? place_explicit(request, &usable, &plan, e)
                : place_by_policy(shape, request, &usable, &plan, e);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < plan.count; i++)
        cpulist_add(&used, plan.cpus[i]);
    choose_housekeeping(shape, &used, &plan);
    plan.mems_mask = mems_of(shape, &used);
    *ret = plan;
    return 0;
}
