/* /host: the machine that measures, as comparisons and people need to know it. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

static void write_facts(struct writer *w, const struct host_facts *f)
{
    w_open(w, "facts", '{');
    w_str(w, "cpu_model", f->cpu_model);
    w_str(w, "microcode", f->microcode);
    w_str(w, "kernel_release", f->kernel_release);
    w_str(w, "kernel_version", f->kernel_version);
    w_str(w, "cmdline", f->cmdline);
    w_str(w, "libc", f->libc);
    w_str(w, "governor", f->governor);
    w_str(w, "boost", f->boost);
    w_str(w, "smt", f->smt);
    w_u64(w, "memory_bytes", f->memory_bytes);
    w_int(w, "aslr", f->aslr);
    w_int(w, "numa_balancing", f->numa_balancing);
    w_str(w, "cgroup", f->cgroup);
    w_str(w, "hypervisor", f->hypervisor);
    w_end(w, '}');
}

static void write_node(struct writer *w, const char *key, const struct topo_node *node)
{
    if (key)
        w_open(w, key, '{');
    else
        w_begin(w, '{');
    w_str(w, "type", node->type);
    w_str(w, "name", node->name);
    w_int(w, "index", node->index);
    w_str(w, "cpus", node->cpus);
    w_u64(w, "size_bytes", node->size_bytes);
    w_bool(w, "allowed", node->allowed);
    w_open(w, "children", '[');
    for (unsigned i = 0; i < node->children_count; i++)
        write_node(w, NULL, &node->children[i]);
    w_end(w, ']');
    w_end(w, '}');
}

static int write_topology(struct writer *w, const struct topo *topo, struct err *e)
{
    struct topo_node *root = topo_describe(topo);
    char cpus[1024];
    if (!root)
        return err_set(e, ERR_IO, NULL, "out of memory");
    write_node(w, "topology", root);
    topo_node_free(root);
    (void)cpulist_format(topo_allowed(topo), cpus, sizeof cpus);
    w_str(w, "cpus", cpus);
    return 0;
}

static void write_pages(struct writer *w, const struct host_facts *f)
{
    w_open(w, "pages", '{');
    w_open(w, "thp", '{');
    w_str(w, "enabled", f->thp_enabled);
    w_str(w, "defrag", f->thp_defrag);
    w_end(w, '}');
    w_open(w, "hugetlb", '[');
    for (unsigned i = 0; i < f->pools_count; i++) {
        const struct host_pool *p = &f->pools[i];
        w_begin(w, '{');
        w_u64(w, "size_bytes", p->page_bytes);
        w_u64(w, "total", p->total);
        w_u64(w, "free", p->free);
        w_u64(w, "reserved", p->reserved);
        w_u64(w, "surplus", p->surplus);
        w_u64(w, "overcommit", p->overcommit);
        w_end(w, '}');
    }
    w_end(w, ']');
    w_end(w, '}');
}

static void write_memory(struct writer *w, const struct host_facts *f)
{
    static const char *const overcommit[] = {"heuristic", "always", "never"};
    w_open(w, "swap", '{');
    w_u64(w, "bytes", f->swap_bytes);
    w_int(w, "swappiness", f->swappiness);
    w_bool(w, "zswap", f->zswap == 1);
    w_str_or_null(w, "zswap_compressor", f->zswap_compressor);
    w_end(w, '}');
    w_open(w, "overcommit", '{');
    int mode = f->overcommit_memory;
    w_str(w, "policy", mode >= 0 && mode <= 2 ? overcommit[mode] : "unknown");
    w_int(w, "ratio", f->overcommit_ratio);
    w_end(w, '}');
}

static void write_supervisor(struct writer *w, const struct wire_hello *hello)
{
    w_open(w, "cgroups", '{');
    for (unsigned i = 0; i < CONTROLLER_COUNT_; i++) {
        char reason[sizeof hello->reason[0] + 1] = "";
        memcpy(reason, hello->reason[i], sizeof hello->reason[0]);
        w_open(w, wire_controller_name(i), '{');
        w_u64(w, "version", hello->cgroup_version[i]);
        w_str_or_null(w, "reason", reason);
        w_end(w, '}');
    }
    w_end(w, '}');
    w_open(w, "isolation", '{');
    w_str(w, "level", isolation_level(hello->isolation));
    w_open(w, "bits", '[');
    for (unsigned i = 0; i < ISOLATION_BIT_COUNT_; i++)
        if (hello->isolation & (1u << i))
            w_string(w, isolation_bit_name(i));
    w_end(w, ']');
    w_end(w, '}');
    char build_id[RING_BUILD_ID_SIZE + 1] = "";
    memcpy(build_id, hello->build_id, RING_BUILD_ID_SIZE);
    w_open(w, "supervisor", '{');
    w_str(w, "build_id", build_id);
    w_u64(w, "generation", hello->generation);
    w_bool(w, "can_reserve_hugetlb", hello->can_reserve_hugetlb);
    w_bool(w, "can_set_thp", hello->can_set_thp);
    w_end(w, '}');
}

static int host_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    (void)rq;
    const struct api_host *host = &api_of(ctx)->host;
    cleanup_(free_p) struct host_facts *facts = calloc(1, sizeof *facts);
    if (!facts)
        return err_set(e, ERR_IO, NULL, "out of memory");
    host->facts(host->ctx, facts);
    /* Of the facts shown, which may have changed since the start. */
    char shape[1024], key[HOST_KEY_SIZE];
    topo_fingerprint(host->topo, shape, sizeof shape);
    bool known = host_key(facts, shape, key) >= 0;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    w_str(&w, "key", known ? key : host->key);
    w_str(&w, "name", host->name);
    write_facts(&w, facts);
    int r = write_topology(&w, host->topo, e);
    if (r < 0)
        return r;
    w_bool(&w, "housekeeping", topo_housekeeping(host->topo));
    w_u64(&w, "housekeeping_threads", topo_housekeeping_threads(host->topo));
    write_pages(&w, facts);
    write_memory(&w, facts);
    struct wire_hello hello = {0};
    if (host->hello(host->ctx, &hello) == 0) {
        write_supervisor(&w, &hello);
    } else {
        w_raw(&w, "cgroups", "{}");
        w_raw(&w, "isolation", "{\"level\":\"none\",\"bits\":[]}");
        w_null(&w, "supervisor");
    }
    w_end(&w, '}');
    http_reply_etag(reply);
    return w_reply(&w, reply, e);
}

const struct http_route host_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/host",
     .scope = SCOPE_READ,
     .handle = host_get,
     .name = "getHost",
     .summary = "Host key, facts, topology, huge pages, memory settings, isolation available.",
     .returns = "Host"},
    {0},
};
