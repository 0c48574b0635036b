/* Futexes with bit sets. A runner's done word can have two waiters at once: the owner of the
 * very next turn, and a runner whose own next turn follows a later turn of the same owner. Bit i
 * is runner i, so the waker reaches exactly the one whose turn it is and never loses a wake-up
 * to the other. FUTEX_WAIT_BITSET works on a read-only mapping of another process's memfd. */
#include <linux/futex.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "workloads/runner/runner.h"

void futex_wait(const _Atomic uint32_t *word, uint32_t value, uint32_t bits)
{
    /* EAGAIN (the word moved on), EINTR and success mean the same to callers: look again. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, NULL, NULL, bits);
}

void futex_wake(_Atomic uint32_t *word, uint32_t bits)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, bits);
}
