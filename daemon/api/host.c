/* /host: the machine that measures, as comparisons and people need to know it. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

#include "daemon/base/hash.h"

/* The kernel's command line can name disks, hosts and boot servers, and now and then holds a
 * password: nothing for everybody who may look. Once there are tokens it is only for who shows one,
 * or administers; and never for who comes from elsewhere without one, whom public_read lets look
 * but not submit, also when the last token has expired. What it decides about results it decides
 * through its hash. */
static int may_see_cmdline(struct api_context *api, const struct http_request *rq, bool *ret,
                           struct err *e)
{
    unsigned tokens = 0;
    *ret = strcmp(rq->principal.name, "local") != 0 || (rq->principal.scopes & SCOPE_ADMIN);
    if (*ret || !(rq->principal.scopes & SCOPE_SUBMIT))
        return 0;
    int r = tokens_usable(api, &tokens, e);
    *ret = tokens == 0;
    return r;
}

static void write_facts(struct writer *w, const struct host_facts *f, bool with_cmdline)
{
    char sha256[SHA256_HEX_SIZE];
    hash_sha256_hex(f->cmdline, strlen(f->cmdline), sha256);
    w_open(w, "facts", '{');
    w_str(w, "cpu_model", f->cpu_model);
    w_str(w, "microcode", f->microcode);
    w_str(w, "kernel_release", f->kernel_release);
    w_str(w, "kernel_version", f->kernel_version);
    w_str(w, "cmdline", with_cmdline ? f->cmdline : NULL);
    w_str(w, "cmdline_sha256", sha256);
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

static void write_cpu_or_null(struct writer *w, const char *key, int cpu)
{
    if (cpu < 0)
        w_null(w, key);
    else
        w_int(w, key, cpu);
}

/* Where threads would go: thread i on cpus[i]. The same plan as for a trial, unless the trial
 * cgroup's cpuset allows fewer CPUs than this process has. */
static void write_placement(struct writer *w, const struct topo *topo, enum placement policy,
                            uint32_t threads)
{
    const struct topo_request request = {.placement = policy, .threads = threads};
    struct topo_plan plan;
    struct err why = {0};
    int r = topo_place(topo, &request, &plan, &why);
    w_begin(w, '{');
    w_str(w, "policy", placement_name(policy));
    w_u64(w, "threads", threads);
    w_open(w, "cpus", '[');
    for (uint32_t i = 0; r == 0 && i < plan.count; i++)
        w_integer(w, plan.cpus[i]);
    w_end(w, ']');
    write_cpu_or_null(w, "housekeeping_cpu", r == 0 ? plan.housekeeping_cpu : -1);
    w_str_or_null(w, "reason", why.message);
    w_end(w, '}');
}

/* At one thread and at "max", for every policy that needs no list of CPUs. */
static void write_placements(struct writer *w, const struct topo *topo)
{
    uint32_t most = topo_counts(topo).cores_allowed;
    most = most < 1 ? 1 : most < RING_THREADS_MAX ? most : RING_THREADS_MAX;
    const struct topo_request widest = {.placement = PLACE_COMPACT, .threads = most};
    struct topo_plan plan;
    int r = topo_place(topo, &widest, &plan, NULL);
    write_cpu_or_null(w, "housekeeping_cpu", r == 0 ? plan.housekeeping_cpu : -1);
    w_open(w, "placements", '[');
    for (int policy = 0; policy < PLACE_COUNT_; policy++) {
        if (policy == PLACE_EXPLICIT)
            continue;
        write_placement(w, topo, (enum placement)policy, 1);
        if (most > 1)
            write_placement(w, topo, (enum placement)policy, most);
    }
    w_end(w, ']');
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
    const struct api_host *host = &api_of(ctx)->host;
    cleanup_(free_p) struct host_facts *facts = calloc(1, sizeof *facts);
    bool with_cmdline;
    if (!facts)
        return err_set(e, ERR_IO, NULL, "out of memory");
    int r = may_see_cmdline(api_of(ctx), rq, &with_cmdline, e);
    if (r < 0)
        return r;
    host->facts(host->ctx, facts);
    /* Of the facts shown, which may have changed since the start. */
    char shape[1024], key[HOST_KEY_SIZE];
    topo_fingerprint(host->topo, shape, sizeof shape);
    bool known = host_key(facts, shape, key) >= 0;
    cleanup_writer struct writer w = {0};
    w_begin(&w, '{');
    w_str(&w, "key", known ? key : host->key);
    w_str(&w, "name", host->name);
    write_facts(&w, facts, with_cmdline);
    r = write_topology(&w, host->topo, e);
    if (r < 0)
        return r;
    w_bool(&w, "housekeeping", topo_housekeeping(host->topo));
    w_u64(&w, "housekeeping_threads", topo_housekeeping_threads(host->topo));
    write_placements(&w, host->topo);
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
