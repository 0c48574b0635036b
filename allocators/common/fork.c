#include "allocators/common/fork.h"

#include <pthread.h>
#include <stddef.h>

static struct lock *watched;

static void before_fork(void)
{
    lock_take(watched);
}

static void after_fork_parent(void)
{
    lock_leave(watched);
}

static void after_fork_child(void)
{
    lock_reset(watched);
}

void fork_watch(struct lock *lock)
{
    watched = lock;
    (void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
