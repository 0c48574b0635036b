/* A model of inbox, orphan and adoption (remote.c, thread.c), every interleaving of it: two threads
 * that free remotely, one that owns the heap and ends, one that takes it over and ends too. At the
 * end of each run no message is stranded, no block came back twice or never, nobody waits.
 *
 * A step is one access to shared memory. Those that decide are sequentially consistent in the code,
 * so interleaving is all there is; the one relaxed store, is_orphan = false of who adopts, may
 * happen any time up to his next. Messages are used again at once, so that ABA has its chance. Each
 * mutation takes away one thing the code relies on, and must be found out. */
#include "tests/hmalloc/hm.h"

#include <stdio.h>

enum mutation {
    MUTATION_NONE,
    MUTATION_TRY_ORPHAN,     /* who posts to an orphan only tries the lock */
    MUTATION_LOOK_FIRST,     /* who posts looks for an orphan before the message is there */
    MUTATION_DRAIN_FIRST,    /* who leaves drains, then says that he left */
    MUTATION_NO_DRAIN,       /* who leaves does not drain */
    MUTATION_PUSH_BLIND,     /* the inbox is stored to, not compared and swapped */
    MUTATION_TAKE_SPLIT,     /* the inbox is read, then cleared */
    MUTATION_DRAIN_UNLOCKED, /* and that without the lock */
    MUTATION_LIST_TWICE,     /* who leaves lists a heap that is listed */
    MUTATION_COUNT,
};

#define POSTERS  2
#define THREADS  4 /* posters, the first owner, who adopts */
#define OWNER    2
#define ADOPTER  3
#define MESSAGES 4 /* objects, fewer than posts when one is used again */
#define POSTS    2 /* of each poster */
#define BLOCKS   (POSTERS * POSTS)
#define NONE     (-1)

enum pc {
    POST_FILL,
    POST_READ,
    POST_SWAP,
    POST_LOOK,
    POST_LOCK,
    POST_TRY,
    ADOPT,
    ADOPT_LOCK,
    LEAVE_LOCK,
    LEAVE_SAY,
    LEAVE_DRAINED,
    LEAVE_LIST,
    DRAIN_TAKE,
    DRAIN_CLEAR,
    DRAIN_PUT,
    DRAIN_UNLOCK,
    DONE,
};

struct thread_state {
    int8_t pc, back; /* where to go on after a drain */
    int8_t old, message, chain;
    int8_t posted;
    bool saw_orphan;
};

struct model {
    struct thread_state threads[THREADS];
    int8_t inbox, lock, owner;
    int8_t next[MESSAGES], block[MESSAGES];
    bool used[MESSAGES];
    bool is_orphan, false_pending; /* ADOPTER's store that may not have arrived yet */
    int8_t listed;
    int8_t put[BLOCKS];
};

/* ---- one step of one thread; false: it cannot go on now ---- */

static bool message_take(struct model *m, struct thread_state *t, int thread)
{
    for (int8_t i = 0; i < MESSAGES; i++)
        if (!m->used[i]) {
            m->used[i] = true;
            m->block[i] = (int8_t)(thread * POSTS + t->posted);
            t->message = i;
            return true;
        }
    return false;
}

static void post_next(struct thread_state *t)
{
    t->posted++;
    t->pc = t->posted == POSTS ? DONE : POST_FILL;
}

static void post_look(const struct model *m, struct thread_state *t, bool deep)
{
    const bool orphan = m->is_orphan;
    t->saw_orphan = orphan;
    if (orphan)
        t->pc = POST_LOCK;
    else if (deep)
        t->pc = POST_TRY;
    else
        post_next(t);
}

static void drain(struct thread_state *t, enum pc back)
{
    t->back = (int8_t)back;
    t->pc = DRAIN_TAKE;
}

static bool lock_step(struct model *m, int thread, bool must)
{
    struct thread_state *t = &m->threads[thread];
    if (m->lock == NONE) {
        m->lock = (int8_t)thread;
        drain(t, DRAIN_UNLOCK);
    } else if (must) {
        return false;
    } else {
        post_next(t);
    }
    return true;
}

static bool post_step(struct model *m, int thread, bool deep, enum mutation mutation)
{
    struct thread_state *t = &m->threads[thread];
    switch ((enum pc)t->pc) {
    case POST_FILL:
        if (!message_take(m, t, thread))
            return false;
        if (mutation == MUTATION_LOOK_FIRST)
            t->saw_orphan = m->is_orphan;
        t->pc = POST_READ;
        return true;
    case POST_READ:
        t->old = m->inbox;
        m->next[t->message] = t->old;
        t->pc = POST_SWAP;
        return true;
    case POST_SWAP:
        if (m->inbox != t->old && mutation != MUTATION_PUSH_BLIND) {
            t->pc = POST_READ;
            return true;
        }
        m->inbox = t->message;
        t->pc = POST_LOOK;
        if (mutation == MUTATION_LOOK_FIRST) {
            if (t->saw_orphan)
                t->pc = POST_LOCK;
            else
                post_next(t);
        }
        return true;
    case POST_LOOK:
        post_look(m, t, deep);
        return true;
    case POST_LOCK:
        return lock_step(m, thread, mutation != MUTATION_TRY_ORPHAN);
    default:
        return lock_step(m, thread, false);
    }
}

static bool drain_step(struct model *m, int thread, enum mutation mutation)
{
    struct thread_state *t = &m->threads[thread];
    switch ((enum pc)t->pc) {
    case DRAIN_TAKE:
        t->chain = m->inbox;
        t->pc = DRAIN_PUT;
        if (mutation == MUTATION_TAKE_SPLIT || mutation == MUTATION_DRAIN_UNLOCKED)
            t->pc = DRAIN_CLEAR;
        else
            m->inbox = NONE;
        return true;
    case DRAIN_CLEAR:
        m->inbox = NONE;
        t->pc = DRAIN_PUT;
        return true;
    case DRAIN_PUT:
        if (t->chain == NONE) {
            t->pc = t->back;
            return true;
        }
        m->put[m->block[t->chain]]++;
        m->used[t->chain] = false;
        t->chain = m->next[t->chain];
        return true;
    default: /* DRAIN_UNLOCK */
        m->lock = NONE;
        if (thread < POSTERS)
            post_next(t);
        else
            t->pc = LEAVE_LOCK; /* the owner looked once; now he ends */
        return true;
    }
}

static bool leave_step(struct model *m, int thread, enum mutation mutation)
{
    struct thread_state *t = &m->threads[thread];
    switch ((enum pc)t->pc) {
    case LEAVE_LOCK:
        if (mutation != MUTATION_DRAIN_UNLOCKED) {
            if (m->lock != NONE)
                return false;
            m->lock = (int8_t)thread;
        }
        if (mutation == MUTATION_DRAIN_FIRST)
            drain(t, LEAVE_SAY);
        else
            t->pc = LEAVE_SAY;
        return true;
    case LEAVE_SAY:
        m->false_pending = false; /* his earlier store comes first */
        m->is_orphan = true;
        if (mutation == MUTATION_DRAIN_FIRST || mutation == MUTATION_NO_DRAIN)
            t->pc = LEAVE_DRAINED;
        else
            drain(t, LEAVE_DRAINED);
        return true;
    case LEAVE_DRAINED:
        if (mutation != MUTATION_DRAIN_UNLOCKED)
            m->lock = NONE;
        t->pc = LEAVE_LIST;
        return true;
    default: /* LEAVE_LIST: one step, under the list's lock */
        m->owner = NONE;
        m->listed = (int8_t)(m->listed + (mutation == MUTATION_LIST_TWICE ? 2 : 1));
        t->pc = DONE;
        return true;
    }
}

/* The thread that comes: finds the orphan, or does without. */
static bool adopt_step(struct model *m, int thread)
{
    struct thread_state *t = &m->threads[thread];
    if (t->pc == ADOPT) {
        if (m->listed == 0) {
            t->pc = DONE;
            return true;
        }
        m->listed--;
        m->owner = (int8_t)thread;
        m->false_pending = true;
        t->pc = ADOPT_LOCK;
        return true;
    }
    return lock_step(m, thread, true); /* the first refill: look into the inbox */
}

static bool step(struct model *m, int thread, bool deep, enum mutation mutation)
{
    const enum pc pc = (enum pc)m->threads[thread].pc;
    if (pc <= POST_TRY)
        return post_step(m, thread, deep, mutation);
    if (pc == ADOPT || pc == ADOPT_LOCK)
        return adopt_step(m, thread);
    if (pc >= LEAVE_LOCK && pc <= LEAVE_LIST)
        return leave_step(m, thread, mutation);
    return pc != DONE && drain_step(m, thread, mutation);
}

/* ---- all of them ---- */

#define SEEN_MAX (1u << 22)

struct search {
    struct model *seen; /* open addressing */
    bool *is_seen;
    size_t count;
    enum mutation mutation;
    const char *wrong; /* the first thing that was */
};

static bool seen(struct search *s, const struct model *m)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *m; i++)
        hash = (hash ^ ((const unsigned char *)m)[i]) * 0x100000001b3u;
    size_t at = (size_t)(hash ^ hash >> 29) % SEEN_MAX;
    for (; s->is_seen[at]; at = (at + 1) % SEEN_MAX)
        if (memcmp(&s->seen[at], m, sizeof *m) == 0)
            return true;
    s->is_seen[at] = true;
    s->seen[at] = *m;
    s->count++;
    assert_true(s->count < SEEN_MAX / 2);
    return false;
}

static const char *invariant(const struct model *m)
{
    for (int i = 0; i < BLOCKS; i++)
        if (m->put[i] > 1)
            return "a block came back twice";
    if (m->listed > 1 || (m->listed == 1 && m->owner != NONE))
        return "a heap is offered that has an owner, or twice";
    return NULL;
}

static const char *at_the_end(const struct model *m)
{
    for (int i = 0; i < THREADS; i++)
        if (m->threads[i].pc != DONE)
            return "somebody waits for ever";
    if (m->inbox != NONE)
        return "a message is stranded";
    for (int i = 0; i < BLOCKS; i++)
        if (m->put[i] != 1)
            return "a block was lost";
    return m->listed == 1 && m->is_orphan ? NULL : "the heap was lost";
}

static void search(struct search *s, const struct model *m)
{
    bool any = false;
    if (s->wrong || seen(s, m))
        return;
    s->wrong = invariant(m);
    if (m->false_pending) {
        struct model next = *m;
        next.false_pending = next.is_orphan = false;
        any = true;
        search(s, &next);
    }
    for (int choice = 0; choice < 2 * THREADS; choice++) {
        struct model next = *m;
        const int thread = choice / 2;
        /* How deep the inbox is is a hint: both ways at every look. */
        if (choice % 2 && m->threads[thread].pc != POST_LOOK)
            continue;
        if (step(&next, thread, choice % 2, s->mutation)) {
            any = true;
            search(s, &next);
        }
    }
    if (!any && !s->wrong)
        s->wrong = at_the_end(m);
}

static struct search run(enum mutation mutation)
{
    struct model m;
    memset(&m, 0, sizeof m); /* padding too: states are compared as bytes */
    m.inbox = m.lock = NONE;
    m.owner = OWNER;
    memset(m.next, NONE, sizeof m.next);
    m.threads[OWNER].pc = LEAVE_LOCK;
    m.threads[ADOPTER].pc = ADOPT;
    struct search s = {.mutation = mutation};
    s.seen = calloc(SEEN_MAX, sizeof s.seen[0]);
    s.is_seen = calloc(SEEN_MAX, sizeof s.is_seen[0]);
    assert_true(s.seen && s.is_seen);
    search(&s, &m);
    free(s.seen);
    free(s.is_seen);
    return s;
}

static void test_model_holds(void **state)
{
    (void)state;
    const struct search s = run(MUTATION_NONE);
    print_message("%zu states\n", s.count);
    if (s.wrong)
        fail_msg("%s", s.wrong);
    assert_true(s.count > 10000); /* it did look */
}

static void test_mutations_fail(void **state)
{
    (void)state;
    for (int i = MUTATION_NONE + 1; i < MUTATION_COUNT; i++) {
        const struct search s = run((enum mutation)i);
        print_message("mutation %d: %s, after %zu states\n", i, s.wrong ? s.wrong : "-", s.count);
        assert_non_null(s.wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_holds),
        cmocka_unit_test(test_mutations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
