/* A program that loads libhmalloc.so by itself, or runs under it; see test_hmalloc_load.py.
 *
 *   hm_hmalloc_loader dlopen PATH     load, use, close with blocks live, go on using them
 *   hm_hmalloc_loader use MIB         take and give back so many MiB; under LD_PRELOAD
 *   hm_hmalloc_loader misuse NAME     one misuse; under LD_PRELOAD
 *
 * 0: good; 1 and a line on stderr: not. Bare, because it runs under a foreign malloc. */
/* A check that fails ends the program; what it held then is no leak worth telling. And freeing
 * twice is what run_misuse is for. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#pragma GCC diagnostic ignored "-Wanalyzer-double-free"
#endif

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(condition)                                               \
    do {                                                                \
        if (!(condition)) {                                             \
            fprintf(stderr, "line %d: not %s\n", __LINE__, #condition); \
            return 1;                                                   \
        }                                                               \
    } while (0)

struct hmalloc {
    void *dl;
    void *(*malloc)(size_t size);
    void (*free)(void *block);
    int (*check)(void);
};

static bool load(const char *path, struct hmalloc *ret)
{
    ret->dl = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!ret->dl) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    ret->malloc = (void *(*)(size_t))dlsym(ret->dl, "malloc");
    ret->free = (void (*)(void *))dlsym(ret->dl, "free");
    ret->check = (int (*)(void))dlsym(ret->dl, "hmalloc_check");
    return ret->malloc && ret->free && ret->check;
}

static void *use_and_end(void *arg)
{
    const struct hmalloc *h = arg;
    void *blocks[300];
    for (size_t i = 0; i < 300; i++)
        blocks[i] = h->malloc(i * 10);
    for (size_t i = 0; i < 299; i++)
        h->free(blocks[i]);
    return blocks[299];
}

/* Loaded late, into a process full of threads; closed while blocks live and threads with heaps
 * are still to end; opened again. */
static int run_dlopen(const char *path)
{
    struct hmalloc h;
    unsigned char *blocks[1000];
    pthread_t thread;
    void *left;
    for (int round = 0; round < 3; round++) {
        EXPECT(load(path, &h));
        EXPECT(pthread_create(&thread, NULL, use_and_end, &h) == 0);
        for (size_t i = 0; i < 1000; i++) {
            blocks[i] = h.malloc(i * 7 + 1);
            EXPECT(blocks[i]);
            memset(blocks[i], (int)i, i * 7 + 1);
        }
        EXPECT(dlclose(h.dl) == 0); /* -z nodelete: it stays */
        EXPECT(pthread_join(thread, &left) == 0);
        for (size_t i = 0; i < 1000; i++) {
            EXPECT(blocks[i][i * 7] == (unsigned char)i);
            h.free(blocks[i]);
        }
        h.free(left);
        EXPECT(h.check() == 0);
    }
    return 0;
}

static int run_use(const char *arg)
{
    const size_t bytes = strtoul(arg, NULL, 10) << 20;
    static const size_t sizes[] = {100, 3000, 40, 30000, 500};
    struct block {
        struct block *next;
    } *list = NULL;
    size_t taken = 0;
    free(NULL);
    for (size_t i = 0; taken < bytes; i++) {
        const size_t size = i % 1000 == 999 ? 200000 : sizes[i % 5];
        struct block *block = malloc(size);
        EXPECT(block);
        memset(block, 1, size);
        block->next = list;
        list = block;
        taken += size;
        free(NULL);
    }
    errno = 0;
    void *too_large = malloc((size_t)1 << 46);
    EXPECT(!too_large && errno == ENOMEM);
    free(too_large);
    while (list) {
        struct block *next = list->next;
        free(list);
        list = next;
    }
    free(NULL);
    int (*check)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "hmalloc_check");
    EXPECT(check && check() == 0);
    return 0;
}

static int run_misuse(const char *name)
{
    char here[64], *volatile block = calloc(1, 100);
    char *volatile wrong = strcmp(name, "foreign") == 0 ? here : block + 16;
    if (strcmp(name, "double") == 0) {
        wrong = block;
        free(block);
    }
    free(wrong);
    size_t (*purge)(void) = (size_t(*)(void))dlsym(RTLD_DEFAULT, "hmalloc_purge");
    EXPECT(purge);
    (void)purge();
    return run_use("3");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const char *argument);
    } modes[] = {{"dlopen", run_dlopen}, {"use", run_use}, {"misuse", run_misuse}};
    for (size_t i = 0; argc == 3 && i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            return modes[i].run(argv[2]);
    fprintf(stderr, "usage: hm_hmalloc_loader dlopen|use|misuse ARGUMENT\n");
    return 2;
}
