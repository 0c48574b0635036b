/* Each of these must end in one line on stderr and SIGABRT; see misuses.def. */
#include "tests/allocator/probe.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Three neighbours; the last keeps the others from merging with the rest of the region. */
struct blocks {
    unsigned char *a, *b, *wall;
};

static struct blocks three(struct probe *p)
{
    struct blocks t = {p->malloc(100), p->malloc(100), p->malloc(100)};
    return t;
}

static void double_free(struct probe *p)
{
    struct blocks t = three(p);
    p->free(t.b);
    p->free(t.b);
}

static void double_free_merged_left(struct probe *p)
{
    struct blocks t = three(p);
    p->free(t.a);
    p->free(t.b);
    p->free(t.b);
}

static void double_free_merged_right(struct probe *p)
{
    struct blocks t = three(p);
    p->free(t.b);
    p->free(t.a);
    p->free(t.b);
}

static void double_free_large(struct probe *p)
{
    void *large = p->malloc(3 << 20);
    p->free(large);
    p->free(large);
}

/* Too large for an object of a slab, too small for a mapping of its own. */
static void double_free_pages(struct probe *p)
{
    void *block = p->malloc(100000), *wall = p->malloc(100000);
    p->free(block);
    p->free(block);
    p->free(wall);
}

struct errand {
    struct probe *p;
    void *block;
};

static void *free_thread(void *arg)
{
    const struct errand *errand = arg;
    errand->p->free(errand->block);
    return NULL;
}

/* Freed by a thread that did not allocate it, then by the one that did. */
static void double_free_of_other_thread(struct probe *p)
{
    struct errand errand = {p, three(p).b};
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_thread, &errand) != 0)
        return;
    pthread_join(thread, NULL);
    p->free(errand.block);
}

static void free_interior_pages(struct probe *p)
{
    char *block = p->malloc(100000);
    memset(block, 0, 100000);
    p->free(block + 8192);
}

static void free_interior(struct probe *p)
{
    struct blocks t = three(p);
    memset(t.a, 0, 100);
    p->free(t.a + 32);
}

static void free_misaligned(struct probe *p)
{
    p->free(three(p).a + 1);
}

static void free_large_interior(struct probe *p)
{
    p->free((char *)p->malloc(3 << 20) + 4096);
}

static void free_stack(struct probe *p)
{
    _Alignas(16) char local[256] = {0};
    p->free(local + 64);
}

static void free_static(struct probe *p)
{
    static _Alignas(16) char block[256];
    p->free(block + 64);
}

static void free_unmapped(struct probe *p)
{
    p->free((void *)0x100000020);
}

static void free_low_address(struct probe *p)
{
    p->free((void *)0x10);
}

static void free_of_libc(struct probe *p)
{
    p->free(malloc(100));
}

static void overflow(struct probe *p)
{
    struct blocks t = three(p);
    memset(t.a + p->usable_size(t.a), 'x', 8);
    p->free(t.a);
}

static void overflow_realloc(struct probe *p)
{
    struct blocks t = three(p);
    t.a[p->usable_size(t.a)] ^= 1;
    t.a = p->realloc(t.a, 1000);
}

static void underflow(struct probe *p)
{
    struct blocks t = three(p);
    memset(t.b - 8, 'x', 8);
    p->free(t.b);
}

static void write_after_free(struct probe *p)
{
    struct blocks t = three(p);
    size_t usable = p->usable_size(t.a);
    p->free(t.a);
    memset(t.a, 'x', usable);
    p->free(t.b);
    for (int i = 0; i < 3; i++) /* slabs see it when they hand it out */
        t.wall = p->malloc(100);
}

static void realloc_freed(struct probe *p)
{
    struct blocks t = three(p);
    p->free(t.a);
    t.a = p->realloc(t.a, 10);
}

static void usable_size_freed(struct probe *p)
{
    struct blocks t = three(p);
    p->free(t.a);
    (void)p->usable_size(t.a);
}

static const struct misuse {
    const char *name;
    void (*run)(struct probe *p);
} misuses[] = {
#define MISUSE(name, fit, buddy, slub) {#name, name},
#include "tests/allocator/misuses.def"
#undef MISUSE
};

const char *probe_misuse(struct probe *p, const char *arg)
{
    for (size_t i = 0; i < sizeof misuses / sizeof misuses[0]; i++)
        if (strcmp(misuses[i].name, arg) == 0) {
            misuses[i].run(p);
            return "to have been aborted";
        }
    return "a misuse of that name";
}
