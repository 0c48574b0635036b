/* Allocators whose fork handlers are wrong in one way each, for tests of the fork workloads.
 * Built once per mode with -DFORKER=...; FORKER_GOOD is the control. A bump allocator over one
 * mapping, nothing is freed. */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FORKER_GOOD   0
#define FORKER_CRASH  1 /* the child dies in the handler */
#define FORKER_HANG   2 /* the child never comes out of it */
#define FORKER_CHILD  3 /* the child's copy of the heap is changed */
#define FORKER_PARENT 4 /* the parent's is */

#define EXPORT __attribute__((visibility("default")))
#define CHUNK  ((size_t)1 << 30)

static char *start, *at;

static __attribute__((unused)) void scribble(void)
{
    for (char *p = start; p < at; p += 64)
        memset(p, 0xdd, at - p < 64 ? (size_t)(at - p) : 64);
}

static __attribute__((unused)) void hang(void)
{
    for (;;)
        pause();
}

static void handlers(void)
{
#if FORKER == FORKER_CRASH
    pthread_atfork(NULL, NULL, abort);
#elif FORKER == FORKER_HANG
    pthread_atfork(NULL, NULL, hang);
#elif FORKER == FORKER_CHILD
    pthread_atfork(NULL, NULL, scribble);
#elif FORKER == FORKER_PARENT
    pthread_atfork(NULL, scribble, NULL);
#endif
}

EXPORT void *malloc(size_t size)
{
    if (!at) {
        start = at = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        handlers();
    }
    size = (size + 15) & ~(size_t)15;
    if (start == MAP_FAILED || size > CHUNK - (size_t)(at - start))
        return NULL;
    at += size;
    return at - size;
}

EXPORT void free(void *block)
{
    (void)block;
}
