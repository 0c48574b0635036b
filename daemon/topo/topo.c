#include "daemon/topo/topo.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hwloc.h>

#include "daemon/base/text.h"
#include "daemon/topo/shape.h"

struct topo {
    hwloc_topology_t hwloc;
    struct shape shape;
    bool this_system;
};

void topo_free(struct topo *t)
{
    if (!t)
        return;
    free(t->shape.cores);
    if (t->hwloc)
        hwloc_topology_destroy(t->hwloc);
    free(t);
}

static int topo_open(struct topo *t, const char *source, struct err *e)
{
    if (hwloc_topology_init(&t->hwloc) < 0) {
        t->hwloc = NULL;
        return err_set(e, ERR_INTERNAL, NULL, "hwloc cannot start");
    }
    /* The whole machine, so that its fingerprint does not depend on our own cpuset. */
    (void)hwloc_topology_set_flags(t->hwloc, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    size_t length = source ? strlen(source) : 0;
    bool xml = length > 4 && strcmp(source + length - 4, ".xml") == 0;
    if (xml && access(source, R_OK) < 0)
        return err_set_errno(e, ERR_NOT_FOUND, errno, "topology file %.200s", source);
    if (source && (xml ? hwloc_topology_set_xml(t->hwloc, source)
                       : hwloc_topology_set_synthetic(t->hwloc, source)) < 0)
        return err_set(e, ERR_INVALID, NULL, "\"%.200s\" is not a topology", source);
    if (hwloc_topology_load(t->hwloc) < 0)
        return err_set(e, ERR_INVALID, NULL, "the topology %.200s cannot be loaded",
                       source ? source : "of this host");
    t->this_system = hwloc_topology_is_thissystem(t->hwloc) == 1;
    return 0;
}

static void bitmap_to_list(hwloc_const_bitmap_t bitmap, struct cpulist *ret)
{
    *ret = (struct cpulist){0};
    if (hwloc_bitmap_weight(bitmap) < 0) /* infinite: never a real set of CPUs */
        return;
    for (int cpu = hwloc_bitmap_next(bitmap, -1); cpu >= 0; cpu = hwloc_bitmap_next(bitmap, cpu))
        cpulist_add(ret, (unsigned)cpu);
}

/* The affinity mask includes the cpuset cgroup; another machine's topology allows all it has. */
static int topo_find_allowed(struct topo *t, struct err *e)
{
    struct cpulist online;
    bitmap_to_list(hwloc_topology_get_allowed_cpuset(t->hwloc), &online);
    t->shape.allowed = online;
    if (!t->this_system)
        return 0;
    cpu_set_t mask[CPULIST_MAX / CPU_SETSIZE];
    memset(mask, 0, sizeof mask);
    if (sched_getaffinity(0, sizeof mask, mask) < 0)
        return err_set_errno(e, ERR_IO, errno, "sched_getaffinity");
    for (int cpu = cpulist_next(&online, 0); cpu >= 0;
         cpu = cpulist_next(&online, (unsigned)cpu + 1))
        if (!CPU_ISSET_S((size_t)cpu, sizeof mask, mask))
            cpulist_remove(&t->shape.allowed, (unsigned)cpu);
    return 0;
}

static int ancestor_index(hwloc_topology_t h, hwloc_obj_t obj, hwloc_obj_type_t type)
{
    hwloc_obj_t found = hwloc_get_ancestor_obj_by_type(h, type, obj);
    return found ? (int)found->logical_index : -1;
}

static unsigned core_kind(hwloc_topology_t h, hwloc_obj_t core)
{
    int efficiency = -1;
    int kind = hwloc_cpukinds_get_by_cpuset(h, core->cpuset, 0);
    if (kind >= 0 &&
        hwloc_cpukinds_get_info(h, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0) < 0)
        return 0;
    return efficiency > 0 ? (unsigned)efficiency : 0;
}

static uint64_t core_mems(hwloc_topology_t h, hwloc_obj_t core)
{
    uint64_t mask = 0;
    hwloc_const_bitmap_t allowed = hwloc_topology_get_allowed_nodeset(h);
    if (!core->nodeset || hwloc_bitmap_weight(core->nodeset) < 0)
        return 0;
    for (int node = hwloc_bitmap_next(core->nodeset, -1); node >= 0;
         node = hwloc_bitmap_next(core->nodeset, node)) {
        if (node >= WIRE_MEMS_MAX)
            return 0;
        if (hwloc_bitmap_isset(allowed, (unsigned)node))
            mask |= UINT64_C(1) << node;
    }
    return mask;
}

static void core_init(hwloc_topology_t h, hwloc_obj_t obj, struct shape_core *core)
{
    *core = (struct shape_core){
        .package = ancestor_index(h, obj, HWLOC_OBJ_PACKAGE),
        .l3 = ancestor_index(h, obj, HWLOC_OBJ_L3CACHE),
        .kind = core_kind(h, obj),
        .mems_mask = core_mems(h, obj),
    };
    for (int cpu = hwloc_bitmap_next(obj->cpuset, -1); cpu >= 0 && core->cpus_count < SHAPE_SMT_MAX;
         cpu = hwloc_bitmap_next(obj->cpuset, cpu))
        if (cpu < CPULIST_MAX)
            core->cpus[core->cpus_count++] = (uint16_t)cpu;
}

/* Machines that do not tell their cores count each CPU as one. */
static int topo_find_cores(struct topo *t, struct err *e)
{
    int cores = hwloc_get_nbobjs_by_type(t->hwloc, HWLOC_OBJ_CORE);
    hwloc_obj_type_t type = cores > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int count = hwloc_get_nbobjs_by_type(t->hwloc, type);
    if (count < 1)
        return err_set(e, ERR_UNAVAILABLE, NULL, "the topology has no CPU");
    t->shape.cores = calloc((size_t)count, sizeof *t->shape.cores);
    if (!t->shape.cores)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    for (int i = 0; i < count; i++)
        core_init(t->hwloc, hwloc_get_obj_by_type(t->hwloc, type, (unsigned)i),
                  &t->shape.cores[t->shape.cores_count++]);
    return 0;
}

int topo_load(const char *source, struct topo **ret, struct err *e)
{
    cleanup_(topo_free_p) struct topo *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    int r = topo_open(t, source, e);
    if (r == 0)
        r = topo_find_allowed(t, e);
    if (r == 0)
        r = topo_find_cores(t, e);
    if (r == 0)
        *ret = take_ptr(t);
    return r;
}

bool topo_is_this_system(const struct topo *t)
{
    return t->this_system;
}

static unsigned topo_count(const struct topo *t, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(t->hwloc, type);
    return n > 0 ? (unsigned)n : 0;
}

struct topo_counts topo_counts(const struct topo *t)
{
    struct topo_counts counts = {
        .packages = topo_count(t, HWLOC_OBJ_PACKAGE),
        .numa_nodes = topo_count(t, HWLOC_OBJ_NUMANODE),
        .l3_caches = topo_count(t, HWLOC_OBJ_L3CACHE),
        .cores = t->shape.cores_count,
        .cpus = topo_count(t, HWLOC_OBJ_PU),
        .cpus_allowed = cpulist_count(&t->shape.allowed),
    };
    for (unsigned i = 0; i < t->shape.cores_count; i++) {
        bool allowed = false;
        for (unsigned c = 0; c < t->shape.cores[i].cpus_count; c++)
            allowed |= cpulist_has(&t->shape.allowed, t->shape.cores[i].cpus[c]);
        counts.cores_allowed += allowed;
    }
    return counts;
}

const struct cpulist *topo_allowed(const struct topo *t)
{
    return &t->shape.allowed;
}

int topo_place(const struct topo *t, const struct topo_request *request, struct topo_plan *ret,
               struct err *e)
{
    return shape_place(&t->shape, request, ret, e);
}

/* ---- for people ----------------------------------------------------------------------------- */

static uint64_t obj_size(hwloc_obj_t obj)
{
    if (obj && obj->type == HWLOC_OBJ_NUMANODE)
        return obj->attr->numanode.local_memory;
    return obj && hwloc_obj_type_is_cache(obj->type) ? obj->attr->cache.size : 0;
}

static void node_cpus(const struct cpulist *cpus, char *buf, size_t buf_size)
{
    static const char more[] = ",…";
    if (cpulist_format(cpus, buf, buf_size - sizeof more) < 0) /* cut between items */
        memcpy(buf + strlen(buf), more, sizeof more);
}

static bool node_fill(const struct topo *t, hwloc_obj_t obj, struct topo_node *node)
{
    struct cpulist cpus;
    hwloc_obj_type_snprintf(node->type, sizeof node->type, obj, 1);
    const char *name = obj->name ? obj->name : hwloc_obj_get_info_by_name(obj, "CPUModel");
    (void)text_copy(node->name, sizeof node->name, name ? name : "");
    node->index = obj->os_index == HWLOC_UNKNOWN_INDEX ? -1 : (int)obj->os_index;
    node->size_bytes = obj_size(obj);
    bitmap_to_list(obj->cpuset, &cpus);
    node_cpus(&cpus, node->cpus, sizeof node->cpus);
    for (unsigned i = 0; i < CPULIST_MAX / 64; i++)
        node->allowed |= (cpus.words[i] & t->shape.allowed.words[i]) != 0;
    node->children = calloc(obj->arity + obj->memory_arity + 1, sizeof *node->children);
    if (!node->children)
        return false;
    /* As deep as hwloc's tree, which is a dozen levels. */
    for (hwloc_obj_t c = obj->memory_first_child; c; c = c->next_sibling)
        if (!node_fill(t, c, &node->children[node->children_count++]))
            return false;
    for (hwloc_obj_t c = obj->first_child; c; c = c->next_sibling)
        if (!node_fill(t, c, &node->children[node->children_count++]))
            return false;
    return true;
}

static void node_clear(struct topo_node *node)
{
    for (unsigned i = 0; i < node->children_count; i++)
        node_clear(&node->children[i]);
    free(node->children);
}

void topo_node_free(struct topo_node *root)
{
    if (root)
        node_clear(root);
    free(root);
}

struct topo_node *topo_describe(const struct topo *t)
{
    struct topo_node *root = calloc(1, sizeof *root);
    if (root && node_fill(t, hwloc_get_root_obj(t->hwloc), root))
        return root;
    topo_node_free(root);
    return NULL;
}

struct line {
    char *buf;
    size_t size, used;
};

static void line_add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line_add(struct line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->buf + l->used, l->size - l->used, fmt, args);
    va_end(args);
    if (n > 0)
        l->used = (size_t)n < l->size - l->used ? l->used + (size_t)n : l->size - 1;
}

unsigned topo_housekeeping_threads(const struct topo *t)
{
    unsigned cpus = topo_counts(t).cpus_allowed;
    unsigned spare = cpus > 0 ? cpus - 1 : 0;
    return spare < RING_THREADS_MAX ? spare : RING_THREADS_MAX;
}

bool topo_housekeeping(const struct topo *t)
{
    unsigned cores = topo_counts(t).cores_allowed;
    return topo_housekeeping_threads(t) >= (cores < RING_THREADS_MAX ? cores : RING_THREADS_MAX);
}

/* "8x33554432": count and size in runs of equal size, so uneven machines stay apart. */
static void line_caches(struct line *l, const struct topo *t, hwloc_obj_type_t type,
                        const char *name)
{
    unsigned count = topo_count(t, type);
    for (unsigned first = 0, end; first < count; first = end) {
        uint64_t size = obj_size(hwloc_get_obj_by_type(t->hwloc, type, first));
        for (end = first + 1; end < count; end++)
            if (obj_size(hwloc_get_obj_by_type(t->hwloc, type, end)) != size)
                break;
        line_add(l, "%s%s%ux%llu", first ? "+" : " ", first ? "" : name, end - first,
                 (unsigned long long)size);
    }
}

void topo_fingerprint(const struct topo *t, char *buf, size_t buf_size)
{
    struct line l = {.buf = buf, .size = buf_size};
    struct topo_counts counts = topo_counts(t);
    if (buf_size == 0)
        return;
    buf[0] = '\0';
    line_add(&l, "packages=%u cores=%u cpus=%u numa=%u", counts.packages, counts.cores, counts.cpus,
             counts.numa_nodes);
    line_caches(&l, t, HWLOC_OBJ_L3CACHE, "L3=");
    line_caches(&l, t, HWLOC_OBJ_L2CACHE, "L2=");
    line_caches(&l, t, HWLOC_OBJ_L1CACHE, "L1d=");
}
