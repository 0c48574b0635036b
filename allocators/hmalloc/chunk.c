#include "allocators/hmalloc/chunk.h"

#include <stdatomic.h>

#include "allocators/hmalloc/bits.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/tagmap.h"

/* Where address space is short a chunk begins small and grows in place. */
static const unsigned chunk_steps[] = {CHUNK_UNITS, 64, 16, 4};

#define HUGE_UNITS 32  /* of a huge page of 2 MiB */
#define HUGE_FROM  256 /* units in use from which on huge pages are asked for: 16 MiB */
/* Each may split a mapping, and vm.max_map_count is the whole process's: beyond, whole chunks. */
#define HUGE_ENDED_MAX 4096

struct chunk {
    struct chunk *next; /* by address */
    char *base;
    uint32_t huge;    /* bit set: these 2 MiB may be a huge page */
    unsigned units;   /* mapped so far, the descriptors' unit included */
    unsigned longest; /* no free run is longer than this */
    unsigned dirty_count;
    struct bits free, dirty; /* dirty: only bits that are free too */
};

struct lock chunk_lock;
static struct chunk *chunks; /* under chunk_lock */
static size_t dirty_low;     /* under chunk_lock */
static unsigned huge_ended;  /* under chunk_lock: ranges that are huge no longer, ever */
/* Under chunk_lock: given back lately and not missed yet (halved by each timed step), and missed.
 */
static size_t purged_lately, missed;
/* Written under chunk_lock, read without it for figures. Relaxed. */
static _Atomic size_t used_units, dirty_units, clean_units, chunks_count;

static size_t units_now(_Atomic size_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void units_add(_Atomic size_t *counter, size_t n)
{
    atomic_store_explicit(counter, units_now(counter) + n, memory_order_relaxed);
}

static void units_subtract(_Atomic size_t *counter, size_t n)
{
    atomic_store_explicit(counter, units_now(counter) - n, memory_order_relaxed);
}

static struct slab *descriptor(const struct chunk *c, unsigned unit)
{
    return (struct slab *)(void *)c->base + unit;
}

static char *chunk_base(const void *address)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(CHUNK_SIZE - 1));
}

/* Of a descriptor of ours: the first one, of the descriptors' own unit, has its `bitmap` free. */
static struct chunk *chunk_of(const struct slab *run)
{
    return (struct chunk *)(void *)((struct slab *)(void *)chunk_base(run))->bitmap;
}

static void add_units(struct chunk *c, unsigned from, unsigned count)
{
    bits_set(&c->free, from, count, true);
    c->units = from + count;
    c->longest = CHUNK_UNITS;
    units_add(&clean_units, count);
}

/* This place, unless entries of the tag map are taken: then it goes back. */
static char *chunk_claim(char *base, unsigned units)
{
    if (!base || tagmap_claim(base, units))
        return base;
    os_unmap(base, units * UNIT_SIZE);
    return NULL;
}

/* Addresses for a chunk: all of it, or its beginning where address space is limited. */
static char *chunk_map(unsigned units)
{
    if (units == CHUNK_UNITS)
        return chunk_claim(os_map_aligned(CHUNK_SIZE, CHUNK_SIZE, true), units);
    char *near = os_map(UNIT_SIZE, true);
    if (!near)
        return NULL;
    os_unmap(near, UNIT_SIZE);
    uintptr_t at = (uintptr_t)near & ~(uintptr_t)(CHUNK_SIZE - 1);
    for (unsigned i = 0; i < 256 && at > CHUNK_SIZE; i++, at -= CHUNK_SIZE) {
        char *base = chunk_claim(os_map_at((void *)at, units * UNIT_SIZE), units);
        if (base)
            return base;
    }
    return NULL;
}

static struct chunk *chunk_new(unsigned units)
{
    struct chunk *c = meta_alloc(sizeof *c);
    char *base = c ? chunk_map(units) : NULL;
    if (!base) {
        if (c)
            meta_free(c, sizeof *c);
        return NULL;
    }
    os_huge(base, units * UNIT_SIZE, false);
    *c = (struct chunk){.base = base};
    descriptor(c, 0)->bitmap = (uint64_t *)(void *)c;
    add_units(c, 1, units - 1);
    struct chunk **at = &chunks;
    while (*at && (*at)->base < base)
        at = &(*at)->next;
    c->next = *at;
    *at = c;
    units_add(&chunks_count, 1);
    return c;
}

/* A chunk that is not whole yet gets more units behind. */
static bool chunk_extend(struct chunk *c, unsigned count)
{
    if (c->units + count > CHUNK_UNITS)
        count = CHUNK_UNITS - c->units;
    char *end = c->base + c->units * UNIT_SIZE;
    if (count == 0 || !tagmap_claim(end, count))
        return false;
    if (!os_map_at(end, count * UNIT_SIZE)) {
        tagmap_unclaim(end, count);
        return false;
    }
    os_huge(end, count * UNIT_SIZE, false);
    add_units(c, c->units, count);
    return true;
}

/* More addresses, enough for a run of so many units if possible. */
static bool chunk_more(size_t units)
{
    for (unsigned i = 0; i < sizeof chunk_steps / sizeof chunk_steps[0]; i++) {
        const unsigned step = chunk_steps[i];
        if (i > 0)
            for (struct chunk *c = chunks; c; c = c->next)
                if (c->units < CHUNK_UNITS &&
                    chunk_extend(c, step > units ? step : (unsigned)units))
                    return true;
        if (step > units && chunk_new(step))
            return true;
    }
    return false;
}

struct fit {
    struct chunk *chunk;
    unsigned at, length;
};

/* The shortest run of at least so many units in `bits`, or the first for a slab: what is free at
 * low addresses fills first. Returns the longest run seen. */
static unsigned fit_in(struct chunk *c, const struct bits *bits, unsigned units, struct fit *best)
{
    unsigned longest = 0;
    for (unsigned at = bits_find(bits, 0, true); at < CHUNK_UNITS;) {
        const unsigned end = bits_find(bits, at, false), length = end - at;
        longest = length > longest ? length : longest;
        if (length >= units && (!best->chunk || length < best->length)) {
            *best = (struct fit){c, at, length};
            if (length == units || units <= 4)
                return CHUNK_UNITS;
        }
        at = bits_find(bits, end, true);
    }
    return longest;
}

static bool fit_find(unsigned units, struct fit *ret)
{
    struct fit best = {0};
    for (struct chunk *c = chunks; c && units_now(&dirty_units) >= units; c = c->next) {
        if (c->dirty_count >= units && c->longest >= units)
            (void)fit_in(c, &c->dirty, units, &best);
        if (best.chunk && (units <= 4 || best.length == units))
            break;
    }
    for (struct chunk *c = chunks; c && !best.chunk; c = c->next)
        if (c->longest >= units) {
            const unsigned longest = fit_in(c, &c->free, units, &best);
            if (longest < c->longest)
                c->longest = longest;
        }
    *ret = best;
    return best.chunk;
}

/* Units leave the free ones. Returns how many of them were dirty. */
static unsigned units_out(struct chunk *c, unsigned at, unsigned count)
{
    const unsigned dirty = bits_count(&c->dirty, at, count);
    bits_set(&c->free, at, count, false);
    bits_set(&c->dirty, at, count, false);
    c->dirty_count -= dirty;
    units_subtract(&dirty_units, dirty);
    units_subtract(&clean_units, count - dirty);
    units_add(&used_units, count);
    const size_t again = count - dirty < purged_lately ? count - dirty : purged_lately;
    purged_lately -= again;
    missed += again;
    if (units_now(&dirty_units) < dirty_low)
        dirty_low = units_now(&dirty_units);
    return dirty;
}

static void units_in(struct chunk *c, unsigned at, unsigned count, bool dirty)
{
    bits_set(&c->free, at, count, true);
    c->longest = CHUNK_UNITS;
    units_subtract(&used_units, count);
    if (dirty) {
        bits_set(&c->dirty, at, count, true);
        c->dirty_count += count;
        units_add(&dirty_units, count);
    } else {
        units_add(&clean_units, count);
    }
}

static void descriptors_number(const struct chunk *c, unsigned at, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        descriptor(c, at + i)->first = (uint16_t)i;
}

/* A heap that has grown is going to fill its slabs: from then on 2 MiB that were never touched may
 * become one huge page. Before, a few blocks would make 2 MiB resident; and a large block may be
 * touched here and there only. */
static void huge_allow(struct chunk *c, unsigned at, unsigned count)
{
    if (!options.thp || units_now(&used_units) < HUGE_FROM)
        return;
    for (unsigned range = at / HUGE_UNITS; range <= (at + count - 1) / HUGE_UNITS; range++) {
        const unsigned from = range * HUGE_UNITS;
        const bool is_new = from > 0 && from + HUGE_UNITS <= c->units && !(c->huge >> range & 1) &&
                            bits_count(&c->free, from, HUGE_UNITS) == HUGE_UNITS &&
                            bits_count(&c->dirty, from, HUGE_UNITS) == 0;
        if (!is_new)
            continue;
        c->huge |= 1u << range;
        os_huge(c->base + from * UNIT_SIZE, HUGE_UNITS * UNIT_SIZE, true);
    }
}

/* Pages of a huge range go: khugepaged would bring them back, one range at a time, for as long as
 * the range may be huge, up to 2 MiB for one page in use. What is huge and stays, stays huge. */
void chunk_discard(void *address, size_t size)
{
    struct chunk *c = chunk_of(address);
    const size_t from = (size_t)((char *)address - c->base) / (HUGE_UNITS * UNIT_SIZE);
    const size_t to = ((size_t)((char *)address - c->base) + size - 1) / (HUGE_UNITS * UNIT_SIZE);
    lock_take(&chunk_lock);
    uint32_t ranges = c->huge & (~(uint32_t)0 >> (31 - (to - from)) << from);
    huge_ended += (unsigned)__builtin_popcount(ranges);
    const bool all = ranges != 0 && huge_ended > HUGE_ENDED_MAX;
    c->huge = all ? 0 : c->huge & ~ranges;
    lock_leave(&chunk_lock);
    if (all)
        os_huge(c->base, c->units * UNIT_SIZE, false);
    for (; ranges != 0 && !all; ranges &= ranges - 1)
        os_huge(c->base + (unsigned)__builtin_ctz(ranges) * HUGE_UNITS * UNIT_SIZE,
                HUGE_UNITS * UNIT_SIZE, false);
    os_discard(address, size);
}

struct slab *chunk_take(size_t units, enum unit_kind kind)
{
    struct fit fit;
    struct slab *run = NULL;
    if (units >= CHUNK_UNITS)
        return NULL;
    lock_take(&chunk_lock);
    while (!fit_find((unsigned)units, &fit))
        if (!chunk_more(units))
            goto out;
    if (kind == UNIT_SLAB)
        huge_allow(fit.chunk, fit.at, (unsigned)units);
    const bool clean = units_out(fit.chunk, fit.at, (unsigned)units) == 0;
    run = descriptor(fit.chunk, fit.at);
    run->base = fit.chunk->base + fit.at * UNIT_SIZE;
    run->units = (uint16_t)units;
    run->kind = (uint8_t)kind;
    run->clean = clean;
    run->huge = fit.chunk->huge >> (fit.at / HUGE_UNITS) & 1;
    /* Of a large block only the start is ever looked up. */
    descriptors_number(fit.chunk, fit.at, 0, kind == UNIT_SLAB ? (unsigned)units : 1);
out:
    lock_leave(&chunk_lock);
    return run;
}

void chunk_give(struct slab *run, bool dirty)
{
    tagmap_set_range(run->base, run->units, 0);
    lock_take(&chunk_lock);
    struct chunk *c = chunk_of(run);
    run->kind = UNIT_FREE;
    units_in(c, (unsigned)(run - descriptor(c, 0)), run->units, dirty);
    lock_leave(&chunk_lock);
}

bool chunk_resize(struct slab *run, size_t units)
{
    bool done = units <= run->units;
    lock_take(&chunk_lock);
    struct chunk *c = chunk_of(run);
    const unsigned at = (unsigned)(run - descriptor(c, 0)), old = run->units, new = (unsigned)units;
    if (new < old)
        units_in(c, at + new, old - new, true);
    else if (new > old && at + new <= c->units &&bits_find(&c->free, at + old, false) >= at + new) {
        if (units_out(c, at + old, new - old) > 0)
            run->clean = false;
        done = true;
    }
    if (done)
        run->units = (uint16_t)units;
    lock_leave(&chunk_lock);
    return done;
}

bool chunk_owns(const void *address)
{
    lock_take(&chunk_lock);
    const struct chunk *c = chunks;
    while (c && c->base != chunk_base(address))
        c = c->next;
    const bool owns = c && (size_t)((const char *)address - c->base) >= UNIT_SIZE &&
                      (size_t)((const char *)address - c->base) < c->units * UNIT_SIZE;
    lock_leave(&chunk_lock);
    return owns;
}

struct chunk_figures chunk_figures(void)
{
    return (struct chunk_figures){units_now(&chunks_count), units_now(&used_units),
                                  units_now(&dirty_units), units_now(&clean_units)};
}

size_t chunk_dirty_low(void)
{
    lock_take(&chunk_lock);
    const size_t low = dirty_low;
    dirty_low = units_now(&dirty_units);
    purged_lately /= 2;
    lock_leave(&chunk_lock);
    return low;
}

size_t chunk_regret(void)
{
    lock_take(&chunk_lock);
    const size_t regret = missed;
    missed = 0;
    lock_leave(&chunk_lock);
    return regret;
}

/* The longest dirty run of the highest chunk that has one, at most so many units of it. */
static bool purge_pick(unsigned units_max, struct fit *ret)
{
    struct fit longest = {0};
    for (struct chunk *c = chunks; c; c = c->next)
        if (c->dirty_count > 0)
            longest.chunk = c;
    if (!longest.chunk)
        return false;
    const struct bits *dirty = &longest.chunk->dirty;
    for (unsigned at = bits_find(dirty, 0, true); at < CHUNK_UNITS;) {
        const unsigned end = bits_find(dirty, at, false);
        if (end - at >= longest.length)
            longest = (struct fit){longest.chunk, at, end - at};
        at = bits_find(dirty, end, true);
    }
    if (longest.length > units_max) {
        longest.at += longest.length - units_max;
        longest.length = units_max;
    }
    *ret = longest;
    return true;
}

/* Where all 2 MiB were given back, the next unit taken must not bring all of them again. */
static void huge_forbid(struct chunk *c, unsigned at, unsigned count)
{
    for (unsigned range = at / HUGE_UNITS; range <= (at + count - 1) / HUGE_UNITS; range++) {
        const unsigned from = range * HUGE_UNITS;
        if (!(c->huge >> range & 1) || bits_count(&c->free, from, HUGE_UNITS) < HUGE_UNITS ||
            bits_count(&c->dirty, from, HUGE_UNITS) > 0)
            continue;
        c->huge &= ~(1u << range);
        os_huge(c->base + from * UNIT_SIZE, HUGE_UNITS * UNIT_SIZE, false);
    }
}

/* Nothing in it is in use or resident: nor need its descriptors be, but for the first page with the
 * way back to `c`. */
static void descriptors_discard(struct chunk *c)
{
    const size_t page = os_page_size();
    if (c->dirty_count == 0 && bits_count(&c->free, 1, c->units - 1) == c->units - 1 &&
        page < UNIT_SIZE)
        os_discard(c->base + page, UNIT_SIZE - page);
}

size_t chunk_purge(size_t keep_units, size_t budget_units)
{
    size_t purged = 0;
    struct fit pick;
    lock_take(&chunk_lock);
    while (purged < budget_units && units_now(&dirty_units) > keep_units) {
        size_t most = units_now(&dirty_units) - keep_units;
        if (most > budget_units - purged)
            most = budget_units - purged;
        if (!purge_pick(most > CHUNK_UNITS ? CHUNK_UNITS : (unsigned)most, &pick))
            break;
        (void)units_out(pick.chunk, pick.at, pick.length);
        lock_leave(&chunk_lock);
        chunk_discard(pick.chunk->base + pick.at * UNIT_SIZE, pick.length * UNIT_SIZE);
        lock_take(&chunk_lock);
        units_in(pick.chunk, pick.at, pick.length, false);
        huge_forbid(pick.chunk, pick.at, pick.length);
        descriptors_discard(pick.chunk);
        purged += pick.length;
        purged_lately += pick.length;
    }
    lock_leave(&chunk_lock);
    return purged;
}

/* Chunks of which nothing but the descriptors is in use, out of the list. */
static struct chunk *chunks_empty(void)
{
    struct chunk *empty = NULL, **at = &chunks;
    while (*at) {
        struct chunk *c = *at;
        if (bits_count(&c->free, 1, c->units - 1) < c->units - 1) {
            at = &c->next;
            continue;
        }
        units_subtract(&dirty_units, c->dirty_count);
        units_subtract(&clean_units, c->units - 1 - c->dirty_count);
        units_subtract(&chunks_count, 1);
        *at = c->next;
        c->next = empty;
        empty = c;
    }
    if (units_now(&dirty_units) < dirty_low)
        dirty_low = units_now(&dirty_units);
    return empty;
}

size_t chunk_release(void)
{
    size_t bytes = 0;
    lock_take(&chunk_lock);
    struct chunk *c = chunks_empty();
    lock_leave(&chunk_lock);
    while (c) {
        struct chunk *next = c->next;
        tagmap_unclaim(c->base, c->units);
        os_unmap(c->base, c->units * UNIT_SIZE);
        bytes += c->units * UNIT_SIZE;
        meta_free(c, sizeof *c);
        c = next;
    }
    return bytes;
}
