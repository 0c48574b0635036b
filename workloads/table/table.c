#include "workloads/table/table.h"

#include <errno.h>
#include <string.h>

#include "workloads/tape/tape.h"

const char *const table_touch_choices[] = {"none", "ends", "full", NULL};

uint64_t table_heap_bytes(const struct workload_point *point)
{
    const union param_value *p = point->params;
    return point->threads * p[TABLE_LIVE].u * (p[TABLE_SIZE_MIN].u + p[TABLE_SIZE_MAX].u) / 2;
}

uint64_t table_live_ops(const struct workload_point *point)
{
    return point->params[TABLE_LIVE].u;
}

int table_setup(struct trial *t)
{
    const struct workload_point *point = t->point;
    struct table_state *s = trial_shared(t, sizeof *s + point->threads * sizeof s->thread[0]);
    if (!s)
        return trial_fail(t, FAIL_SYSTEM, "no memory for the harness's slots");
    s->live = (uint32_t)point->params[TABLE_LIVE].u;
    s->threads = point->threads;
    s->touch = (enum table_touch)point->params[TABLE_TOUCH].u;
    /* Of the workload, not of the point: one thread, many and 0 % remote run the same loop. */
    s->shared = t->workload->params_count > TABLE_REMOTE_PCT;
    for (uint32_t i = 0; i < s->threads; i++) {
        s->thread[i].slots = trial_shared(t, s->live * sizeof(uint64_t));
        s->thread[i].sizes = trial_shared(t, s->live * sizeof(uint32_t));
        if (!s->thread[i].slots || !s->thread[i].sizes)
            return trial_fail(t, FAIL_SYSTEM, "no memory for the harness's slots");
    }
    for (uint32_t i = 0; i < s->threads; i++)
        for (uint32_t hop = 0; hop < 256; hop++)
            s->thread[i].targets[hop] = s->thread[tape_target(i, hop, s->threads)].slots;
    t->state = s;
    return 0;
}

struct table_replay table_replay_of(const struct trial *t, uint32_t thread)
{
    struct table_state *s = table_state(t);
    return (struct table_replay){
        .malloc = t->alloc.malloc,
        .free = t->alloc.free,
        .slots = s->thread[thread].slots,
        .targets = s->thread[thread].targets,
        .tag = s->shared ? (uint64_t)thread << TABLE_TAG_SHIFT : 0,
    };
}

static int table_refused(struct trial *t, uint64_t entry)
{
    return trial_fail(t, FAIL_ENOMEM, "malloc(%u) returned NULL", tape_entry_size(entry));
}

static int table_fill_range(struct trial *t, uint32_t thread, uint64_t from, uint64_t to)
{
    const struct table_replay replay = table_replay_of(t, thread);
    const uint64_t *at = tape_fill(t->tape, thread);
    uint64_t rest = table_fill[table_state(t)->touch](&replay, at + from, to - from);
    return rest ? table_refused(t, at[to - rest]) : 0;
}

int table_fill_all(struct trial *t, uint32_t thread)
{
    return table_fill_range(t, thread, 0, table_state(t)->live);
}

int table_build(struct trial *t, uint32_t thread)
{
    const uint64_t live = table_state(t)->live;
    return table_fill_range(t, thread, live * t->part / t->parts, live * (t->part + 1) / t->parts);
}

int table_step(struct trial *t, uint32_t thread, uint64_t ops)
{
    struct table_state *s = table_state(t);
    struct table_thread *me = &s->thread[thread];
    const struct table_replay replay = table_replay_of(t, thread);
    table_loop *const loop = (s->shared ? table_replay_shared : table_replay_plain)[s->touch];
    const uint64_t *tape = tape_churn(t->tape, thread);
    const uint64_t entries = t->tape->header->entries;
    while (ops > 0) {
        uint64_t count = entries - me->position;
        if (count > ops)
            count = ops;
        uint64_t rest = loop(&replay, tape + me->position, count);
        if (rest)
            return table_refused(t, tape[me->position + count - rest]);
        me->replaced += count;
        me->position = me->position + count == entries ? 0 : me->position + count;
        ops -= count;
    }
    return 0;
}

/* Sizes of the blocks thread `w` put where they still are, from its own cursor. A whole lap of
 * the tape writes every slot that w ever writes, so one lap back is enough; in that order the
 * last entry for a slot wins. In shared mode only slots whose word says w wrote it count. */
static void table_audit_writer(const struct trial *t, uint32_t w)
{
    struct table_state *s = table_state(t);
    const struct table_thread *me = &s->thread[w];
    const uint64_t entries = t->tape->header->entries;
    const uint64_t lap = me->replaced < entries ? me->replaced : entries;
    const uint64_t *tape = tape_churn(t->tape, w);
    uint64_t at = (me->position + entries - lap) % entries;
    for (uint64_t i = 0; i < lap; i++, at = at + 1 == entries ? 0 : at + 1) {
        uint32_t hop = s->shared ? tape_hop(tape[at]) : 0, slot = tape_slot(tape[at]);
        struct table_thread *target = &s->thread[tape_target(w, hop, s->threads)];
        if (!s->shared || table_tag(target->slots[slot]) == w)
            target->sizes[slot] = tape_entry_size(tape[at]);
    }
}

static void table_audit_sizes(const struct trial *t)
{
    struct table_state *s = table_state(t);
    for (uint32_t i = 0; i < s->threads; i++) {
        const uint64_t *fill = tape_fill(t->tape, i);
        for (uint32_t slot = 0; slot < s->live; slot++)
            s->thread[i].sizes[slot] = tape_entry_size(fill[slot]);
    }
    if (t->tape->header->entries > 0)
        for (uint32_t i = 0; i < s->threads; i++)
            table_audit_writer(t, i);
}

struct table_audit table_audit(const struct trial *t)
{
    table_audit_sizes(t);
    const struct table_state *s = table_state(t);
    const bool can_ask = t->alloc.usable_size && !(t->alloc.flags & RING_SUBJECT_NULL);
    struct table_audit sum = {0};
    for (uint32_t i = 0; i < s->threads; i++)
        for (uint32_t slot = 0; slot < s->live; slot++) {
            sum.requested += s->thread[i].sizes[slot];
            if (can_ask)
                sum.usable += t->alloc.usable_size(table_block(s->thread[i].slots[slot]));
        }
    return sum;
}

void table_ratio(struct trial *t, enum metric_id metric, uint64_t part, uint64_t whole)
{
    if (part > 0 && whole > 0)
        trial_metric(t, metric, 1.0 - (double)part / (double)whole);
}

/* Blocks that were never written have no pages, and the null allocator has no blocks: there the
 * ratios would mean nothing and are left out. */
int table_settle(struct trial *t)
{
    const struct table_state *s = table_state(t);
    const struct table_audit sum = table_audit(t);
    const uint64_t heap = trial_heap_bytes(t), peak = trial_heap_peak_bytes(t);
    trial_metric(t, METRIC_LIVE_BYTES, (double)sum.requested);
    trial_metric(t, METRIC_HEAP_BYTES, (double)heap);
    trial_metric(t, METRIC_HEAP_PEAK_BYTES, (double)peak);
    if (t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    table_ratio(t, METRIC_FRAG_INTERNAL, sum.usable ? sum.requested : 0, sum.usable);
    if (s->touch == TOUCH_NONE)
        return 0;
    table_ratio(t, METRIC_FRAG_EXTERNAL, sum.usable, heap);
    table_ratio(t, METRIC_FRAG_TOTAL, sum.requested, heap);
    table_ratio(t, METRIC_FRAG_PEAK, sum.requested, peak);
    return 0;
}

static bool table_contents_ok(const unsigned char *block, uint32_t slot, uint32_t size,
                              enum table_touch touch)
{
    const uint64_t entry = tape_entry(slot, 0, size);
    if (touch == TOUCH_NONE)
        return true;
    if (block[size - 1] != table_last_byte(entry))
        return false;
    if (touch == TOUCH_ENDS)
        return size == 1 || block[0] == table_first_byte(entry);
    for (uint32_t i = 0; i < size - 1; i++)
        if (block[i] != table_first_byte(entry))
            return false;
    return true;
}

/* malloc's promise: aligned for any object that fits, that is 16, or 8 below 16 bytes. */
static int table_verify_block(struct trial *t, const struct table_state *s, uint32_t slot,
                              void *block, uint32_t size)
{
    const uintptr_t alignment = size < 16 ? 8 : 16;
    if (!block)
        return trial_fail(t, FAIL_VERIFY, "slot %u lost its block", slot);
    if (size >= 8 && (uintptr_t)block % alignment != 0)
        return trial_fail(t, FAIL_VERIFY, "block %p of %u bytes is not aligned to %u", block, size,
                          (unsigned)alignment);
    if (t->alloc.usable_size && t->alloc.usable_size(block) < size)
        return trial_fail(t, FAIL_VERIFY, "block %p of %u bytes: usable size says %zu", block, size,
                          t->alloc.usable_size(block));
    if (!table_contents_ok(block, slot, size, s->touch))
        return trial_fail(t, FAIL_VERIFY,
                          "block %p of %u bytes does not hold what was written: it overlaps "
                          "another or was overwritten",
                          block, size);
    return 0;
}

int table_verify(struct trial *t, uint32_t thread)
{
    const struct table_state *s = table_state(t);
    const struct table_thread *me = &s->thread[thread];
    if (t->alloc.flags & RING_SUBJECT_NULL)
        return 0;
    int r = 0;
    for (uint32_t slot = 0; slot < s->live && r == 0; slot++)
        r = table_verify_block(t, s, slot, table_block(me->slots[slot]), me->sizes[slot]);
    return r;
}

int table_teardown(struct trial *t, uint32_t thread)
{
    const struct table_replay replay = table_replay_of(t, thread);
    table_drain(&replay, table_state(t)->live);
    return 0;
}
