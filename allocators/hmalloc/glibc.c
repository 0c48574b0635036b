/* What glibc offers beside the standard family, so that programs that call it find ours: figures,
 * trimming, tuning. Any thread. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#include "allocators/hmalloc/hmalloc.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/stats.h"
#include "allocators/hmalloc/text.h"
#include "allocators/hmalloc/thread.h"

EXPORT struct mallinfo2 API(mallinfo2)(void);
EXPORT struct mallinfo API(mallinfo)(void);
EXPORT int API(malloc_trim)(size_t pad);
EXPORT int API(mallopt)(int parameter, int value);
EXPORT void API(malloc_stats)(void);
EXPORT int API(malloc_info)(int options_none, FILE *file);

struct mallinfo2 API(mallinfo2)(void)
{
    struct hmalloc_stats s;
    const struct large_figures large = large_figures();
    hmalloc_stats_get(&s);
    return (struct mallinfo2){
        .arena = s.mapped - large.direct_bytes - s.kept,
        .hblks = large.direct_count,
        .hblkhd = large.direct_bytes,
        .fsmblks = s.magazines,
        .uordblks = s.allocated > large.direct_bytes ? s.allocated - large.direct_bytes : 0,
        .fordblks = s.magazines + s.slabs_free + s.dirty + s.quarantined,
        .keepcost = s.dirty + s.kept,
    };
}

/* glibc's figures wrap; ours stop. */
static int to_int(size_t n)
{
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

struct mallinfo API(mallinfo)(void)
{
    const struct mallinfo2 i = API(mallinfo2)();
    return (struct mallinfo){
        .arena = to_int(i.arena),
        .hblks = to_int(i.hblks),
        .hblkhd = to_int(i.hblkhd),
        .fsmblks = to_int(i.fsmblks),
        .uordblks = to_int(i.uordblks),
        .fordblks = to_int(i.fordblks),
        .keepcost = to_int(i.keepcost),
    };
}

int API(malloc_trim)(size_t pad)
{
    (void)pad;
    return hmalloc_purge() > 0;
}

/* 1: taken, or of no meaning here; 0: unknown, or no value for it. */
int API(mallopt)(int parameter, int value)
{
    if (!thread_init())
        return 0;
    switch (parameter) {
    case M_TRIM_THRESHOLD: /* -1: never */
        __atomic_store_n(&options.dirty_min, value < 0 ? SIZE_MAX / 2 : (uint64_t)value,
                         __ATOMIC_RELAXED);
        return 1;
    case M_MXFAST:
        return value >= 0 && value <= (int)(80 * sizeof(size_t) / 4);
    case M_TOP_PAD:
    case M_MMAP_THRESHOLD:
    case M_MMAP_MAX:
    case M_ARENA_TEST:
    case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

void API(malloc_stats)(void)
{
    char line[384];
    struct text t = {.buffer = line, .size = sizeof line};
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    const struct {
        size_t bytes;
        const char *what;
    } parts[] = {
        {s.allocated, " bytes in use, "},
        {s.large, " of them large, "},
        {s.magazines, " in magazines, "},
        {s.slabs_free, " free in slabs, "},
        {s.dirty, " dirty, "},
        {s.kept, " kept, "},
        {s.metadata, " metadata, "},
        {s.mapped, " mapped\n"},
    };
    text_add(&t, "hmalloc: ");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        text_add_number(&t, parts[i].bytes);
        text_add(&t, parts[i].what);
    }
    os_write_error(line, t.length < sizeof line ? t.length : sizeof line);
}

/* ---- malloc_info: glibc's elements, with what stands in them here ---- */

static void print_class(FILE *file, unsigned class, const struct class_figures *c)
{
    const size_t size = class_size(class);
    const uint64_t blocks = c->slabs * (class_units(class) * UNIT_SIZE / size);
    const uint64_t out = c->out - c->magazines, free = blocks - out;
    if (free > 0)
        fprintf(file, "  <size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%" PRIu64 "\"/>\n",
                class > 1 ? (size_t)class_size(class - 1) + 1 : 1, size, (size_t)(free * size),
                free);
}

static void print_heap(FILE *file, unsigned number, const struct heap_figures *f)
{
    uint64_t cached = 0;
    fprintf(file, "<heap nr=\"%u\">\n<sizes>\n", number);
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        print_class(file, class, &f->classes[class]);
        cached += f->classes[class].magazines;
    }
    fprintf(file,
            "</sizes>\n"
            "<total type=\"fast\" count=\"%" PRIu64 "\" size=\"%" PRIu64 "\"/>\n"
            "<total type=\"rest\" count=\"0\" size=\"%" PRIu64 "\"/>\n"
            "<system type=\"current\" size=\"%" PRIu64 "\"/>\n"
            "</heap>\n",
            cached, f->magazines, (f->free + f->virgin), f->slabs);
}

int API(malloc_info)(int options_none, FILE *file)
{
    struct heap_figures f;
    struct hmalloc_stats s;
    unsigned number = 0;
    if (options_none != 0)
        return EINVAL;
    fputs("<malloc version=\"1\">\n", file);
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next) {
        stats_heap(h, &f);
        print_heap(file, number++, &f);
    }
    hmalloc_stats_get(&s);
    const struct large_figures large = large_figures();
    fprintf(file,
            "<total type=\"fast\" count=\"0\" size=\"%zu\"/>\n"
            "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
            "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
            "<system type=\"current\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n"
            "</malloc>\n",
            s.magazines, s.slabs_free + s.dirty, large.direct_count, large.direct_bytes,
            s.committed, s.mapped);
    return ferror(file) ? EIO : 0;
}
