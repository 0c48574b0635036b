#include "allocators/hmalloc/remote.h"

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"

static struct message *message_get(struct heap *h)
{
    struct message *m = h->stash;
    if (m) {
        h->stash = m->next;
        h->stash_count--;
    } else {
        m = meta_alloc(sizeof *m);
    }
    if (m)
        m->count = 0;
    return m;
}

static void message_put(struct heap *h, struct message *m)
{
    if (!h || h->stash_count >= MESSAGE_STASH) {
        meta_free(m, sizeof *m);
        return;
    }
    m->next = h->stash;
    h->stash = m;
    h->stash_count++;
}

void remote_stash_trim(struct heap *h, uint32_t keep)
{
    while (h->stash_count > keep) {
        struct message *m = h->stash;
        h->stash = m->next;
        h->stash_count--;
        meta_free(m, sizeof *m);
    }
}

/* Without memory for a message: the slow but certain way. */
static void put_now(struct heap *to, void *block)
{
    lock_take(&to->lock);
    slab_put(to, &block, 1);
    lock_leave(&to->lock);
}

/* True: we did the owner's work, and there may be more to purge. */
static bool message_post(struct heap *h, struct heap *to, struct message *m)
{
    struct message *old = atomic_load_explicit(&to->inbox, memory_order_relaxed);
    do {
        m->next = old;
        /* Sequentially consistent, with the load of is_orphan below: see remote.h. Release for
         * what the message holds. */
    } while (!atomic_compare_exchange_weak_explicit(&to->inbox, &old, m, memory_order_seq_cst,
                                                    memory_order_relaxed));
    /* Two who post at once may count one: a wrong depth only drains too early or too late. */
    const uint32_t depth =
        old ? atomic_load_explicit(&to->inbox_depth, memory_order_relaxed) + 1 : 1;
    atomic_store_explicit(&to->inbox_depth, depth, memory_order_relaxed);
    /* An orphan's lock may be held by somebody who drained before our message was there, and
     * nobody need come after us: wait for it. */
    if (atomic_load_explicit(&to->is_orphan, memory_order_seq_cst))
        lock_take(&to->lock);
    else if (depth < INBOX_DEEP || !lock_try(&to->lock))
        return false;
    const bool drained = remote_drain(to, false, h);
    if (drained && slab_purge_due(to))
        (void)slab_purge(to);
    lock_leave(&to->lock);
    return drained;
}

static bool outbox_post(struct heap *h, struct outbox *out)
{
    struct message *m = out->message;
    out->message = NULL;
    out->bytes = 0;
    return m && message_post(h, out->to, m);
}

bool remote_free(struct heap *h, struct heap *to, void *block, unsigned class)
{
    struct outbox *out = &h->outboxes[((uintptr_t)to / sizeof(struct heap)) % OUTBOXES];
    bool drained = false;
    if (UNLIKELY(out->to != to)) {
        drained = outbox_post(h, out);
        out->to = to;
    }
    struct message *m = out->message;
    if (!m) {
        m = message_get(h);
        if (!m) {
            put_now(to, block);
            return true;
        }
        out->message = m;
    }
    m->blocks[m->count++] = block;
    out->bytes += class_size(class);
    if (m->count == MESSAGE_BLOCKS || out->bytes >= OUTBOX_BYTES)
        drained = outbox_post(h, out) || drained;
    return drained;
}

void remote_flush(struct heap *h)
{
    for (unsigned i = 0; i < OUTBOXES; i++)
        (void)outbox_post(h, &h->outboxes[i]);
}

/* To the bin while it has room: that is where the owner looks next. Returns how many remain. */
static uint32_t to_bins(struct message *m)
{
    uint32_t rest = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        void *block = m->blocks[i];
        struct bin *b = (struct bin *)(uintptr_t)tagmap_get(block);
        if (bin_is_full(b))
            m->blocks[rest++] = block;
        else
            bin_push(b, block);
    }
    return rest;
}

/* Blocks whose tag no longer is this heap's were freed twice: their slab is gone. */
static uint32_t without_strangers(const struct heap *h, struct message *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->count; i++)
        if (LIKELY(heap_of_tag(tagmap_get(m->blocks[i])) == h))
            m->blocks[kept++] = m->blocks[i];
        else
            fault("free", m->blocks[i], FAULT_FREE_ALREADY);
    return kept;
}

bool remote_drain(struct heap *h, bool is_owner, struct heap *stash_to)
{
    /* Sequentially consistent: see remote.h; acquire for what the messages hold. */
    struct message *m = atomic_exchange_explicit(&h->inbox, NULL, memory_order_seq_cst);
    const bool any = m;
    while (m) {
        struct message *next = m->next;
        if (next)
            __builtin_prefetch(next);
        m->count = without_strangers(h, m);
        if (is_owner)
            m->count = to_bins(m);
        if (m->count > 0)
            slab_put(h, m->blocks, m->count);
        message_put(stash_to, m);
        m = next;
    }
    return any;
}
