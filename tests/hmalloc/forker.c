/* A library whose fork handlers allocate, preloaded before or after hmalloc: hmalloc's own
 * handlers, which hold its locks, must be the innermost. */
#include <pthread.h>
#include <stdlib.h>

static void *volatile block;

static void take(void)
{
    for (size_t i = 0; i < 200; i++) {
        block = malloc(1 + i * 50);
        free(block);
    }
}

__attribute__((constructor)) static void forker_register(void)
{
    (void)pthread_atfork(take, take, take);
}
