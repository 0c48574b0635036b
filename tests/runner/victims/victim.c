/* Allocators that are wrong in one way each, for tests of the runner. Built once per mode with
 * -DVICTIM=VICTIM_x; VICTIM_GOOD is the control: the same code without a fault.
 *
 * Power-of-two classes over one big mapping, a header before each block, one lock. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VICTIM_GOOD       0
#define VICTIM_OVERLAP    1 /* hands one live block out twice */
#define VICTIM_MISALIGNED 2
#define VICTIM_NULL       3 /* refuses the n-th call */
#define VICTIM_SCRIBBLE   4 /* writes into a block the program holds */
#define VICTIM_HANG       5
#define VICTIM_SHORT      6 /* usable size below the requested one */
#define VICTIM_CRASH      7
#define VICTIM_SPIN       8  /* a thread of its own that never sleeps */
#define VICTIM_LOST_FREE  9  /* no free at all: a symbol is missing */
#define VICTIM_TAIL       10 /* blocks end 8 bytes early: neighbours overlap */

#define VICTIM_HUGE     11 /* not wrong: asks the kernel for huge pages */
#define VICTIM_ONE_HUGE 12 /* not wrong: asks for them for its first 4 MiB, refuses the rest */

#define VICTIM_STATS_LIE    13 /* counts below zero */
#define VICTIM_STATS_GREEDY 14 /* its statistics call takes memory and keeps it */
#define VICTIM_STATS_CRASH  15

#define EXPORT __attribute__((visibility("default")))
#define NTH    6000

void *malloc(size_t size);
void free(void *block);
size_t malloc_usable_size(void *block);

struct header {
    size_t size; /* requested */
    struct header *next;
};

static struct {
    atomic_flag lock;
    char *at, *end;
    struct header *free[48];
    struct header *last;
    unsigned long calls;
} heap = {.lock = ATOMIC_FLAG_INIT};

static unsigned class_of(size_t size)
{
    return size <= 16 ? 4 : (unsigned)(64 - __builtin_clzl(size - 1));
}

static struct header *take(size_t size)
{
    unsigned c = class_of(size);
    struct header *h = heap.free[c];
    if (h) {
        heap.free[c] = h->next;
        return h;
    }
#if VICTIM == VICTIM_TAIL
    const size_t bytes = sizeof *h + ((size + 15) & ~(size_t)15) - 16;
#else
    const size_t bytes = sizeof *h + ((size_t)1 << c);
#endif
    if (!heap.at || heap.end - heap.at < (ptrdiff_t)bytes) {
        const size_t chunk = (size_t)1 << 30;
        heap.at = mmap(NULL, chunk, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (heap.at == MAP_FAILED)
            return NULL;
        heap.end = heap.at + chunk;
#if VICTIM == VICTIM_HUGE
        (void)madvise(heap.at, chunk, MADV_HUGEPAGE);
#elif VICTIM == VICTIM_ONE_HUGE
        (void)madvise(heap.at, 4u << 20, MADV_HUGEPAGE);
        (void)madvise(heap.at + (4u << 20), chunk - (4u << 20), MADV_NOHUGEPAGE);
#endif
    }
    h = (struct header *)heap.at;
    heap.at += bytes;
    return h;
}

#if VICTIM == VICTIM_SPIN
static void *spin(void *arg)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);
    for (;;)
        __asm__ volatile("");
    return arg;
}
static __attribute__((constructor)) void start_spinning(void)
{
    pthread_t t;
    (void)pthread_create(&t, NULL, spin, NULL);
}
#endif

/* Called with the lock held, before the block is handed out. */
static struct header *misbehave(struct header *h)
{
    heap.calls++;
#if VICTIM == VICTIM_OVERLAP
    if (heap.calls % 500 == 0 && heap.last)
        h = heap.last;
#elif VICTIM == VICTIM_NULL
    if (heap.calls == NTH)
        h = NULL;
#elif VICTIM == VICTIM_SCRIBBLE
    if (heap.calls % 500 == 0 && heap.last)
        ((char *)(heap.last + 1))[heap.last->size - 1] ^= 0x55;
#elif VICTIM == VICTIM_HANG
    while (heap.calls >= NTH)
        pause();
#elif VICTIM == VICTIM_CRASH
    if (heap.calls == NTH)
        *(volatile int *)16 = 1;
#endif
    heap.last = h;
    return h;
}

EXPORT void *malloc(size_t size)
{
    while (atomic_flag_test_and_set_explicit(&heap.lock, memory_order_acquire))
        sched_yield();
    struct header *h = take(size);
    h = h ? misbehave(h) : NULL;
    if (h)
        h->size = size;
    atomic_flag_clear_explicit(&heap.lock, memory_order_release);
    if (!h)
        return NULL;
#if VICTIM == VICTIM_MISALIGNED
    return (char *)(h + 1) + (size >= 32 ? 8 : 0);
#else
    return h + 1;
#endif
}

#if VICTIM != VICTIM_LOST_FREE
EXPORT void free(void *block)
{
    if (!block)
        return;
    while (atomic_flag_test_and_set_explicit(&heap.lock, memory_order_acquire))
        sched_yield();
    struct header *h = (struct header *)((uintptr_t)block & ~(uintptr_t)15) - 1;
#if VICTIM != VICTIM_OVERLAP && VICTIM != VICTIM_SCRIBBLE && VICTIM != VICTIM_TAIL
    h->next = heap.free[class_of(h->size)];
    heap.free[class_of(h->size)] = h;
#else
    (void)h; /* memory is not reused, so that the fault stays what it is */
#endif
    atomic_flag_clear_explicit(&heap.lock, memory_order_release);
}
#endif

EXPORT size_t malloc_usable_size(void *block)
{
    struct header *h = (struct header *)((uintptr_t)block & ~(uintptr_t)15) - 1;
#if VICTIM == VICTIM_SHORT
    return h->size - 1;
#else
    return h->size;
#endif
}

#if VICTIM >= VICTIM_STATS_LIE
/* What the adapter "classic" asks: the form of mallinfo2(3) and malloc_trim(3). */
struct info {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

EXPORT struct info mallinfo2(void);
EXPORT struct info mallinfo2(void)
{
#if VICTIM == VICTIM_STATS_LIE
    return (struct info){.uordblks = (size_t)-4096, .arena = 4096};
#elif VICTIM == VICTIM_STATS_GREEDY
    const size_t size = (size_t)64 << 20;
    void *kept = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (kept != MAP_FAILED)
        memset(kept, 1, size);
    return (struct info){.uordblks = 1, .arena = size};
#else
    *(volatile int *)16 = 1;
    return (struct info){0};
#endif
}
#endif
