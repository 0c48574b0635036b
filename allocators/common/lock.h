/* The lock of the textbook allocators: a futex in three states (Drepper, "Futexes Are Tricky",
 * 2011, mutex 2), because a pthread mutex may allocate under some debuggers and sanitizers, and
 * the child of a fork must be able to start over. A holder works for well under a microsecond, so
 * a waiter spins a little before it sleeps. */
#ifndef HEAPMARK_ALLOCATORS_COMMON_LOCK_H
#define HEAPMARK_ALLOCATORS_COMMON_LOCK_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOCK_FREE, LOCK_HELD, LOCK_CONTENDED };
#define LOCK_SPINS 100

/* Acquire on taking, release on leaving: the pair that orders everything the heap holds. */
struct lock {
    _Atomic unsigned state;
};

static inline void lock_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline long lock_futex(struct lock *lock, int operation, unsigned value)
{
    return syscall(SYS_futex, &lock->state, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static inline bool lock_try(struct lock *lock)
{
    unsigned expected = LOCK_FREE;
    return atomic_compare_exchange_strong_explicit(&lock->state, &expected, LOCK_HELD,
                                                   memory_order_acquire, memory_order_relaxed);
}

static __attribute__((noinline, unused)) void lock_take_slow(struct lock *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        lock_pause();
        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == LOCK_FREE && lock_try(lock))
            return;
    }
    while (atomic_exchange_explicit(&lock->state, LOCK_CONTENDED, memory_order_acquire) !=
           LOCK_FREE)
        (void)lock_futex(lock, FUTEX_WAIT, LOCK_CONTENDED);
}

static inline void lock_take(struct lock *lock)
{
    if (!lock_try(lock))
        lock_take_slow(lock);
}

static inline void lock_leave(struct lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release) == LOCK_CONTENDED)
        (void)lock_futex(lock, FUTEX_WAKE, 1);
}

static inline void lock_reset(struct lock *lock)
{
    atomic_store_explicit(&lock->state, LOCK_FREE, memory_order_relaxed);
}

#endif
