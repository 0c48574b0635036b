/* Blocks freed by a thread that does not own them.
 *
 * The thread collects them in outboxes, one per destination; a full one becomes a message of up to
 * 61 addresses, pushed onto the owner's inbox with one compare-and-swap. The owner takes the whole
 * inbox with one exchange when a magazine of his runs empty. So 61 blocks move with eight cache
 * lines, and none of the blocks is written to.
 *
 * An owner that sleeps does not look: who posts to a deep inbox tries the heap's lock and drains it
 * himself, into slabs. Who posts to a heap nobody owns takes the lock: between "post, then look
 * whether it is an orphan, then lock and drain" and "lock, become an orphan, then drain" one always
 * sees the other (sequentially consistent, both), and test_hmalloc_model walks every interleaving
 * of it. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_REMOTE_H
#define HEAPMARK_ALLOCATORS_HMALLOC_REMOTE_H

#include "allocators/hmalloc/heap.h"

#define MESSAGE_BLOCKS 62
#define MESSAGE_STASH  32 /* empty messages a thread keeps */
#define INBOX_DEEP     16 /* messages from which on senders drain */
#define OUTBOX_BYTES   KIB(64)

struct message {
    struct message *next;
    uint32_t count;
    void *blocks[MESSAGE_BLOCKS];
};
_Static_assert(sizeof(struct message) == 512, "a message is eight cache lines");

/* Owner of `h`, which is not the heap `to` of the block. True: what had come to `to` went to its
 * slabs, because its owner is gone or does not look: purge_step is due. */
bool remote_free(struct heap *h, struct heap *to, void *block, unsigned class);
/* Post everything in the outboxes. Owner. */
void remote_flush(struct heap *h);
/* What has arrived goes to slabs, or, for the owner, to his bins while there is room. Needs the
 * heap's lock. True: there was something. */
bool remote_drain(struct heap *h, bool is_owner, struct heap *stash_to);
/* Empty messages to the common pool. Owner. */
void remote_stash_trim(struct heap *h, uint32_t keep);

static inline bool remote_waiting(struct heap *h)
{
    return atomic_load_explicit(&h->inbox, memory_order_relaxed) != NULL;
}

#endif
