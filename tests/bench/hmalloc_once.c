/* One-shot cases of `./dev bench hmalloc`: how much memory is held when. Ratios are of resident
 * anonymous memory above what the process had before, to bytes the program asked for. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/hmalloc_cases.h"

#define FRAG_BLOCKS 400000

void *case_map(size_t size)
{
    void *p =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        _exit(1);
    return p;
}

double case_memory(const char *file, const char *field)
{
    char text[8192];
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0)
        _exit(1);
    text[n] = '\0';
    const char *at = strstr(text, field);
    return at ? strtod(at + strlen(field) + 1, NULL) * 1024 : 0;
}

static uint64_t frag_seed = 4242;
static double base_bytes;

static uint64_t frag_random(void)
{
    frag_seed ^= frag_seed << 13;
    frag_seed ^= frag_seed >> 7;
    return frag_seed ^= frag_seed << 17;
}

static double resident(void)
{
    return case_memory("/proc/self/smaps_rollup", "Anonymous") - base_bytes;
}

static void wait_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static char *filled(size_t size)
{
    char *block = malloc(size);
    if (!block)
        abort();
    memset(block, 1, size);
    *(size_t *)(void *)block = size;
    return block;
}

static size_t first_size(void)
{
    return 16 + (size_t)((uint32_t)(frag_random() >> 32) * (uint64_t)1009 >> 32);
}

/* Blocks of 16..1024 bytes; 90% freed at random; the same bytes again in 512..2048; all freed. */
static void run_frag(struct once_figure ret[ONCE_FIGURES])
{
    char **blocks = case_map(2 * FRAG_BLOCKS * sizeof(char *));
    memset(blocks, 0xff, 2 * FRAG_BLOCKS * sizeof(char *)); /* resident before we look */
    memset(blocks, 0, 2 * FRAG_BLOCKS * sizeof(char *));
    base_bytes = resident();
    double all = 0, live = 0, added = 0;
    for (size_t i = 0; i < FRAG_BLOCKS; i++) {
        const size_t size = first_size();
        blocks[i] = filled(size);
        all += (double)size;
    }
    ret[0] = (struct once_figure){"RSS/live, full", resident() / all};
    for (size_t i = 0; i < FRAG_BLOCKS; i++) {
        if ((frag_random() >> 40) % 10) {
            free(blocks[i]);
            blocks[i] = NULL;
        } else {
            live += (double)*(size_t *)(void *)blocks[i];
        }
    }
    wait_ms(1500);
    for (int i = 0; i < 200000; i++)
        free(malloc(first_size()));
    ret[1] = (struct once_figure){"RSS/live, 90% freed", resident() / live};
    for (size_t i = 0; i < FRAG_BLOCKS && live + added < all; i++) {
        const size_t size = 512 + (frag_random() >> 32) % 1537;
        blocks[FRAG_BLOCKS + i] = filled(size);
        added += (double)size;
    }
    ret[2] = (struct once_figure){"RSS/live, refilled", resident() / (live + added)};
    for (size_t i = 0; i < 2 * FRAG_BLOCKS; i++)
        free(blocks[i]);
    wait_ms(2000);
    ret[3] = (struct once_figure){"MiB left 2 s after all was freed, idle", resident() / 1048576};
}

#define CROWD 200
static pthread_barrier_t crowd_ready, crowd_go;

static void *crowd_main(void *unused)
{
    char *blocks[64];
    for (size_t i = 0; i < 64; i++)
        blocks[i] = filled(16 * (i + 1));
    (void)pthread_barrier_wait(&crowd_ready);
    (void)pthread_barrier_wait(&crowd_go);
    for (size_t i = 0; i < 64; i++)
        free(blocks[i]);
    return unused;
}

/* A block of each of 64 sizes in each of 200 threads; stacks included, the same for all. */
static void run_crowd(struct once_figure ret[ONCE_FIGURES])
{
    pthread_t threads[CROWD];
    pthread_attr_t small;
    (void)pthread_attr_init(&small);
    (void)pthread_attr_setstacksize(&small, 65536);
    (void)pthread_barrier_init(&crowd_ready, NULL, CROWD + 1);
    (void)pthread_barrier_init(&crowd_go, NULL, CROWD + 1);
    base_bytes = resident();
    for (int i = 0; i < CROWD; i++)
        if (pthread_create(&threads[i], &small, crowd_main, NULL) != 0)
            _exit(1);
    (void)pthread_barrier_wait(&crowd_ready);
    ret[0] = (struct once_figure){"KiB per thread", resident() / 1024 / CROWD};
    (void)pthread_barrier_wait(&crowd_go);
    for (int i = 0; i < CROWD; i++)
        (void)pthread_join(threads[i], NULL);
    ret[1] = (struct once_figure){"MiB after their end", resident() / 1048576};
}

/* What a program that hardly allocates costs. */
static void run_trivial(struct once_figure ret[ONCE_FIGURES])
{
    for (int i = 0; i < 10; i++)
        free(filled(100));
    ret[0] = (struct once_figure){
        "KiB resident, trivial program",
        case_memory("/proc/self/smaps_rollup", "Rss") / 1024,
    };
    ret[1] = (struct once_figure){
        "KiB of that anonymous",
        case_memory("/proc/self/smaps_rollup", "Anonymous") / 1024,
    };
}

const struct once_case once_cases[] = {
    {"frag", run_frag},
    {"threads", run_crowd},
    {"trivial", run_trivial},
    {0},
};
