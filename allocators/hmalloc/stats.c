/* What hmalloc says of itself. There are no counters on the fast paths: allocated is what slabs
 * handed out less what waits in magazines. */
#include "allocators/hmalloc/stats.h"

#include <string.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/guard.h"
#include "allocators/hmalloc/harden.h"
#include "allocators/hmalloc/hmalloc.h"
#include "allocators/hmalloc/large.h"
#include "allocators/hmalloc/magazine.h"
#include "allocators/hmalloc/meta.h"
#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/purge.h"
#include "allocators/hmalloc/sizes.h"
#include "allocators/hmalloc/slab.h"
#include "allocators/hmalloc/text.h"
#include "allocators/hmalloc/thread.h"

EXPORT const char *hmalloc_version(void)
{
    return HMALLOC_VERSION;
}

struct slab_sums {
    size_t slabs, handed_out, free, magazines, held;
    uint64_t heaps;
};

static struct slab_sums slab_sums(void)
{
    struct slab_sums sums = {0};
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next) {
        lock_take(&h->lock);
        sums.heaps++;
        sums.slabs += h->slab_bytes;
        sums.free += h->free_bytes;
        sums.held += harden_held(h);
        sums.handed_out += h->block_bytes - h->free_bytes - h->virgin_bytes;
        sums.magazines += magazine_held(h);
        lock_leave(&h->lock);
    }
    return sums;
}

EXPORT void hmalloc_stats_get(struct hmalloc_stats *ret)
{
    const struct slab_sums slabs = slab_sums();
    const struct large_figures large = large_figures();
    const struct chunk_figures chunks = chunk_figures();
    const size_t idle = slabs.magazines + slabs.held, guarded = guard_bytes();
    const size_t small = slabs.handed_out > idle ? slabs.handed_out - idle : 0;
    *ret = (struct hmalloc_stats){
        .allocated = small + guarded + large.run_bytes + large.direct_bytes,
        .large = large.run_bytes + large.direct_bytes,
        .magazines = slabs.magazines,
        .slabs_free = slabs.free,
        .quarantined = slabs.held,
        .guarded = guarded,
        .dirty = chunks.dirty_units << UNIT_SHIFT,
        .kept = large.cached_bytes,
        .metadata = meta_bytes(),
        .committed = ((chunks.used_units + chunks.dirty_units) << UNIT_SHIFT) + large.direct_bytes +
                     large.cached_bytes + meta_bytes(),
        .mapped =
            chunks.chunks * CHUNK_SIZE + large.direct_bytes + large.cached_bytes + meta_bytes(),
        .heaps_count = slabs.heaps,
        .faults_count = fault_count(),
    };
}

EXPORT size_t hmalloc_purge(void)
{
    return purge_all();
}

EXPORT int hmalloc_check(void)
{
    bool fine = true;
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h && fine;
         h = h->next) {
        lock_take(&h->lock);
        fine = slab_check(h);
        lock_leave(&h->lock);
    }
    return fine ? 0 : -1;
}

/* ---- per heap and class ---- */

void stats_heap(struct heap *h, struct heap_figures *ret)
{
    struct heap_figures f = {.is_shared = h->is_shared};
    lock_take(&h->lock);
    f.is_orphan = atomic_load_explicit(&h->is_orphan, memory_order_relaxed);
    f.slabs = h->slab_bytes;
    f.free = h->free_bytes;
    f.virgin = h->virgin_bytes;
    f.quarantined = harden_held(h);
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        struct class_figures *c = &f.classes[class];
        *c = (struct class_figures){h->class_slabs[class], h->class_out[class],
                                    magazine_blocks(h, class)};
        /* Magazines go on while we count. */
        c->magazines = c->magazines < c->out ? c->magazines : c->out;
        f.magazines += c->magazines * class_size(class);
        f.handed_out += c->out * class_size(class);
    }
    lock_leave(&h->lock);
    *ret = f;
}

void stats_classes(struct class_figures ret[CLASS_COUNT], uint64_t *ret_heaps)
{
    struct heap_figures f;
    memset(ret, 0, CLASS_COUNT * sizeof ret[0]);
    *ret_heaps = 0;
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next) {
        stats_heap(h, &f);
        ++*ret_heaps;
        for (unsigned class = 1; class < CLASS_COUNT; class ++) {
            ret[class].slabs += f.classes[class].slabs;
            ret[class].out += f.classes[class].out;
            ret[class].magazines += f.classes[class].magazines;
        }
    }
}

/* ---- as JSON ---- */

static void add_classes(struct text *t, const struct class_figures classes[CLASS_COUNT])
{
    text_open(t, "classes", "[");
    for (unsigned class = 1; class < CLASS_COUNT; class ++) {
        const struct class_figures *c = &classes[class];
        if (c->slabs == 0)
            continue;
        const uint64_t size = class_size(class);
        text_open(t, NULL, "{");
        text_add_member(t, "size", size);
        text_add_member(t, "slabs", c->slabs);
        text_add_member(t, "blocks", c->slabs * (class_units(class) * UNIT_SIZE / size));
        text_add_member(t, "handed_out", c->out);
        text_add_member(t, "in_magazines", c->magazines);
        text_close(t, "}");
    }
    text_close(t, "]");
}

static void add_heap(struct text *t, struct heap *h)
{
    struct heap_figures f;
    stats_heap(h, &f);
    text_open(t, NULL, "{");
    text_add_name(t, "kind");
    text_add(t, f.is_shared ? "\"shared\"" : f.is_orphan ? "\"orphan\"" : "\"thread\"");
    text_add_member(t, "slab_bytes", f.slabs);
    text_add_member(t, "handed_out", f.handed_out);
    text_add_member(t, "magazines", f.magazines);
    text_add_member(t, "free", f.free);
    text_add_member(t, "virgin", f.virgin);
    text_add_member(t, "quarantined", f.quarantined);
    add_classes(t, f.classes);
    text_close(t, "}");
}

static void add_process(struct text *t)
{
    struct hmalloc_stats s;
    const struct large_figures large = large_figures();
    hmalloc_stats_get(&s);
    text_open(t, "process", "{");
    text_add_member(t, "allocated", s.allocated);
    text_add_member(t, "large", s.large);
    text_add_member(t, "large_count", large.run_count + large.direct_count);
    text_add_member(t, "magazines", s.magazines);
    text_add_member(t, "slabs_free", s.slabs_free);
    text_add_member(t, "dirty", s.dirty);
    text_add_member(t, "kept", s.kept);
    text_add_member(t, "committed", s.committed);
    text_add_member(t, "metadata", s.metadata);
    text_add_member(t, "mapped", s.mapped);
    text_add_member(t, "quarantined", s.quarantined);
    text_add_member(t, "guarded", s.guarded);
    text_add_member(t, "heaps_count", s.heaps_count);
    text_add_member(t, "faults_count", s.faults_count);
    text_close(t, "}");
}

static void add_options(struct text *t)
{
    struct hmalloc_option o;
    text_open(t, "options", "{");
    for (size_t i = 0; hmalloc_option_at(i, &o) == 0; i++)
        text_add_member(t, o.name, o.value);
    text_close(t, "}");
}

EXPORT size_t hmalloc_stats_json(char *buffer, size_t size)
{
    struct text t = {.buffer = buffer, .size = size, .is_first = true};
    struct class_figures classes[CLASS_COUNT];
    uint64_t heaps;
    const int saved = errno;
    text_open(&t, NULL, "{");
    text_add_name(&t, "version");
    text_add(&t, "\"" HMALLOC_VERSION "\"");
    add_process(&t);
    stats_classes(classes, &heaps);
    add_classes(&t, classes);
    text_open(&t, "heaps", "[");
    for (struct heap *h = atomic_load_explicit(&heap_list, memory_order_acquire); h; h = h->next)
        add_heap(&t, h);
    text_close(&t, "]");
    add_options(&t);
    text_close(&t, "}");
    text_end(&t);
    errno = saved;
    return t.length;
}

/* ---- at exit ---- */

/* Into memory of its own, for the program's may be what is being reported. Nothing is written when
 * there is none. */
__attribute__((destructor)) static void stats_at_exit(void)
{
    if (options.stats_at_exit[0] == '\0' || !thread_init())
        return;
    const size_t room = ALIGN_UP(hmalloc_stats_json(NULL, 0) + KIB(64), os_page_size());
    char *json = os_map(room, false);
    if (!json)
        return;
    size_t length = hmalloc_stats_json(json, room);
    length = length < room - 1 ? length : room - 2;
    json[length] = '\n';
    if (strcmp(options.stats_at_exit, "1") == 0)
        os_write_error(json, length + 1);
    else if (!os_append(options.stats_at_exit, json, length + 1))
        fault_tell("HMALLOC_STATS_AT_EXIT", "the file cannot be written");
    os_unmap(json, room);
}
