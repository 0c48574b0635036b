#include "allocators/hmalloc/guard.h"

#include <signal.h>
#include <string.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"

#define FILLER 0xa7

struct slot {
    char *block; /* NULL: never used */
    uint32_t size;
    uint16_t next; /* free slots: the one freed next */
    bool is_used;
};
_Static_assert(sizeof(struct slot) * 4096 <= META_MAX, "slots fit one piece of metadata");

struct lock guard_lock;
static char *pool; /* NULL: nothing is guarded. Written once */
static size_t slot_bytes, slots_count;
static struct slot *slots; /* this and what follows: under guard_lock */
static size_t oldest, newest, free_count, used_bytes;
static struct sigaction before; /* what SIGSEGV did before us */

/* ---- a touch where nobody may ---- */

static const char *touch_of(const struct slot *s, const char *address)
{
    if (!s->is_used)
        return "a read or write of the freed block";
    return address < s->block ? "a read or write before the block"
                              : "a read or write behind the block";
}

/* Without the lock: this thread may have been anywhere. A torn slot makes a wrong line at worst. */
static void on_segv(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    const char *address = info->si_addr;
    if (info->si_code > 0 && address >= pool && address < pool + slots_count * slot_bytes) {
        const struct slot *s = &slots[(size_t)(address - pool) / slot_bytes];
        if (s->block)
            fault_touch(address, touch_of(s, address), s->block, s->size);
    }
    (void)sigaction(SIGSEGV, &before, NULL);
    /* Returning repeats what raised it; a signal that was sent has to be sent again. */
    if (info->si_code <= 0)
        (void)raise(signal_number);
}

/* ---- slots ---- */

void guard_init(void)
{
    if (options.hardened < HARDEN_GUARD)
        return;
    slots_count = options.guard_slots;
    slot_bytes = ALIGN_UP(ALIGN_UP(SLAB_MAX, os_page_size()) + os_page_size(), UNIT_SIZE);
    const size_t size = slots_count * slot_bytes;
    slots = meta_alloc(slots_count * sizeof slots[0]);
    char *range = slots ? os_map_aligned(size, UNIT_SIZE, true) : NULL;
    if (!range)
        return;
    if (!os_protect(range, size, false) || !tagmap_claim(range, size / UNIT_SIZE)) {
        os_unmap(range, size);
        return;
    }
    for (size_t i = 0; i < slots_count; i++)
        slots[i] = (struct slot){.next = (uint16_t)(i + 1)};
    free_count = slots_count;
    newest = slots_count - 1;
    tagmap_set_range(range, size / UNIT_SIZE, TAG_GUARD);
    pool = range;
    struct sigaction ours = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigaction(SIGSEGV, &ours, &before);
}

static char *slot_end(size_t i)
{
    return pool + (i + 1) * slot_bytes - os_page_size();
}

/* From the block's first page to the guard page. */
static size_t slot_open(size_t i, const char *block, char **ret_pages)
{
    *ret_pages = (char *)((uintptr_t)block & ~(uintptr_t)(os_page_size() - 1));
    return (size_t)(slot_end(i) - *ret_pages);
}

/* Is it the turn of this thread's next block? Distances are uniform with the mean asked for. */
static bool is_turn(void)
{
    static __thread uint64_t left INITIAL_EXEC, state INITIAL_EXEC;
    if (left > 1) {
        left--;
        return false;
    }
    const bool is_first = left == 0;
    if (is_first)
        state = os_random() | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    left = 1 + state % (2 * options.guard_sample - 1);
    return !is_first || options.guard_sample == 1;
}

static void *slot_take(size_t size, size_t alignment)
{
    char *pages;
    const size_t i = oldest;
    char *block = (char *)((uintptr_t)(slot_end(i) - size) & ~(uintptr_t)(alignment - 1));
    const size_t open = slot_open(i, block, &pages);
    if (!os_protect(pages, open, true))
        return NULL;
    memset(block + size, FILLER, (size_t)(slot_end(i) - block) - size);
    oldest = slots[i].next;
    free_count--;
    used_bytes += size;
    slots[i] = (struct slot){.block = block, .size = (uint32_t)size, .is_used = true};
    return block;
}

void *guard_alloc(size_t size, size_t alignment)
{
    void *block = NULL;
    if (!pool || size > SLAB_MAX || alignment > SLAB_MAX || !is_turn())
        return NULL;
    lock_take(&guard_lock);
    if (free_count > 0)
        block = slot_take(size ? size : 1, alignment < GRANULE ? GRANULE : alignment);
    lock_leave(&guard_lock);
    return block;
}

/* NULL: it is a block in use. */
static const char *wrong_with(const struct slot *s, const char *block)
{
    if (!s->block)
        return FAULT_VIRGIN;
    if (s->block != block)
        return FAULT_INSIDE;
    return s->is_used ? NULL : FAULT_FREE_ALREADY;
}

static bool is_intact(size_t i)
{
    for (const char *at = slots[i].block + slots[i].size; at < slot_end(i); at++)
        if (*(const unsigned char *)at != FILLER)
            return false;
    return true;
}

static void slot_give(size_t i)
{
    char *pages;
    const size_t open = slot_open(i, slots[i].block, &pages);
    os_discard(pages, open);
    (void)os_protect(pages, open, false);
    slots[i].is_used = false;
    used_bytes -= slots[i].size;
    if (free_count++ == 0)
        oldest = i;
    else
        slots[newest].next = (uint16_t)i;
    newest = i;
}

void guard_free(void *block)
{
    const size_t i = (size_t)((char *)block - pool) / slot_bytes;
    lock_take(&guard_lock);
    const char *wrong = wrong_with(&slots[i], block);
    if (!wrong && !is_intact(i))
        wrong = FAULT_BEHIND;
    if (!wrong)
        slot_give(i);
    lock_leave(&guard_lock);
    if (wrong)
        fault("free", block, wrong);
}

size_t guard_usable(const char *call, void *block)
{
    const struct slot *s = &slots[(size_t)((char *)block - pool) / slot_bytes];
    lock_take(&guard_lock);
    const char *wrong = wrong_with(s, block);
    const size_t size = s->size;
    lock_leave(&guard_lock);
    if (!wrong)
        return size;
    fault(call, block, wrong);
    return 0;
}

size_t guard_bytes(void)
{
    lock_take(&guard_lock);
    const size_t bytes = used_bytes;
    lock_leave(&guard_lock);
    return bytes;
}
