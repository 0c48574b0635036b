#include "daemon/heapmarkd/host.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int subject_options(const struct catalog_entry *entry, const struct job_subject *subject,
                           const char *field, struct err *e)
{
    const char *names[RING_OPTIONS_MAX];
    uint32_t count = 0;
    while (count < RING_OPTIONS_MAX && subject->options[count][0]) {
        names[count] = subject->options[count];
        count++;
    }
    cleanup_(free_p) struct catalog_environment *environment = malloc(sizeof *environment);
    struct err why = {0};
    if (!environment)
        return err_set(e, ERR_INTERNAL, field, "out of memory");
    if (catalog_environment(entry, names, count, environment, &why) < 0)
        return err_set(e, why.code, field, "%s", why.message);
    return 0;
}

static int host_subject_check(void *ctx, struct job_subject *subject, const char *field,
                              struct err *e)
{
    const struct host *h = ctx;
    const struct catalog_entry *entry = catalog_find(h->catalog, subject->allocator);
    if (!entry)
        return err_set(e, ERR_UNKNOWN_NAME, field,
                       "no allocator \"%s\"; GET /api/v1/allocators lists them",
                       subject->allocator);
    subject->flags = entry->flags;
    int r = subject_options(entry, subject, field, e);
    if (r < 0)
        return r;
    cleanup_(close_p) int fd = -1;
    char path[CATALOG_PATH_SIZE];
    struct err why = {0};
    if (catalog_open(h->catalog, entry, &fd, path, &why) < 0)
        return err_set(e, why.code, field, "%s", why.message);
    return 0;
}

static const struct host_pool *pool_find(const struct host_facts *facts, uint64_t page_bytes)
{
    for (unsigned i = 0; i < facts->pools_count; i++)
        if (facts->pools[i].page_bytes == page_bytes)
            return &facts->pools[i];
    return NULL;
}

static int host_pages_check(void *ctx, enum page_mode mode, const char *field, struct err *e)
{
    const struct host *h = ctx;
    if (mode == PAGES_4K)
        return 0;
    struct wire_hello hello;
    cleanup_(free_p) struct host_facts *facts = malloc(sizeof *facts);
    if (!facts)
        return err_set(e, ERR_INTERNAL, field, "out of memory");
    host_facts_gather("", facts);
    node_hello(h->node, &hello);
    if (mode == PAGES_THP) {
        if (facts->thp_enabled[0] == '\0')
            return err_set(e, ERR_UNAVAILABLE, field,
                           "pages thp: this kernel has no transparent huge pages");
        if (strcmp(facts->thp_enabled, "never") == 0 && !hello.can_set_thp)
            return err_set(e, ERR_UNAVAILABLE, field,
                           "pages thp: transparent huge pages are off and heapmark may not change "
                           "that: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
        return 0;
    }
    const struct host_pool *pool = pool_find(facts, page_mode_bytes(mode));
    if (!pool)
        return err_set(e, ERR_UNAVAILABLE, field, "pages %s: this host has no pages of that size",
                       page_mode_name(mode));
    if (!hello.can_reserve_hugetlb && pool->free == 0)
        return err_set(e, ERR_UNAVAILABLE, field,
                       "pages %s: none are reserved and heapmark may not reserve any: raise "
                       "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages or run as root",
                       page_mode_name(mode), (unsigned long long)pool->page_bytes / 1024);
    return 0;
}

int host_key_now(const struct host *h, char ret_key[HOST_KEY_SIZE], struct err *e)
{
    char shape[1024];
    cleanup_(free_p) struct host_facts *facts = malloc(sizeof *facts);
    if (!facts)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    host_facts_gather("", facts);
    topo_fingerprint(h->topo, shape, sizeof shape);
    if (host_key(facts, shape, ret_key) < 0)
        return err_set(e, ERR_INTERNAL, NULL, "the host key could not be made");
    return 0;
}

int host_init(struct host *h, struct err *e)
{
    cleanup_(free_p) struct host_facts *facts = malloc(sizeof *facts);
    memset(h, 0, sizeof *h);
    if (!facts)
        return err_set(e, ERR_INTERNAL, NULL, "out of memory");
    int r = topo_load(NULL, &h->topo, e);
    if (r < 0)
        return r;
    host_facts_gather("", facts);
    r = host_key_now(h, h->key, e);
    if (r < 0)
        return r;
    if (gethostname(h->name, sizeof h->name - 1) < 0)
        snprintf(h->name, sizeof h->name, "unknown");
    struct topo_counts counts = topo_counts(h->topo);
    h->limits = (struct job_limits){
        .cpus_max = counts.cpus_allowed,
        .cores_max = counts.cores_allowed,
        .memory_bytes = facts->memory_bytes,
        .subject_check = host_subject_check,
        .pages_check = host_pages_check,
        .ctx = h,
    };
    return 0;
}

void host_done(struct host *h)
{
    topo_free(h->topo);
    h->topo = NULL;
}

char *host_facts_json(const struct host *h)
{
    char shape[1024];
    cleanup_(free_p) struct host_facts *facts = malloc(sizeof *facts);
    cleanup_(free_p) char *text = malloc(HOST_TEXT_SIZE);
    if (!facts || !text)
        return NULL;
    host_facts_gather("", facts);
    topo_fingerprint(h->topo, shape, sizeof shape);
    if (host_key_text(facts, shape, text, HOST_TEXT_SIZE) < 0)
        return NULL;
    json_t *json = json_object();
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = '\0';
        json_object_set_new(json, line, json_string(value));
    }
    char *out = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    return out;
}
