/* /allocators: the catalogue as this host has it, and the builds results were measured on. */
#include "daemon/api/internal.h"

#include <string.h>

#include "daemon/base/text.h"

static int build_each(void *ctx, const struct store_build *b)
{
    struct writer *w = ctx;
    w_begin(w, '{');
    w_str(w, "sha256", b->sha256);
    w_str(w, "version", b->version);
    w_str(w, "path", b->path);
    w_time(w, "first_seen", b->first_seen_us);
    w_time(w, "last_seen", b->last_seen_us);
    w_end(w, '}');
    return 0;
}

/* Is the library there, and which file is it? What is missing is said as the catalogue says it. */
static void write_availability(struct writer *w, struct catalog *catalog,
                               const struct catalog_entry *entry)
{
    cleanup_(close_p) int fd = -1;
    char path[CATALOG_PATH_SIZE] = "", hex[SHA256_HEX_SIZE] = "";
    struct catalog_identity identity;
    struct err why = {0};
    int r = catalog_open(catalog, entry, &fd, path, &why);
    if (r == 0)
        r = catalog_identify(catalog, entry, fd, &identity, &why);
    if (r == 0)
        text_hex(identity.sha256, sizeof identity.sha256, hex);
    w_bool(w, "available", r == 0);
    w_str_or_null(w, "reason", r == 0 ? NULL : why.message);
    w_str_or_null(w, "package", entry->package);
    w_str_or_null(w, "path", path);
    w_str_or_null(w, "sha256", hex);
}

static int write_entry(struct writer *w, struct api_context *api, struct store_view *v,
                       const struct catalog_entry *entry, struct err *e)
{
    w_begin(w, '{');
    w_str(w, "name", entry->name);
    w_str(w, "summary", entry->summary);
    w_str(w, "kind", catalog_kind_name(entry->kind));
    write_availability(w, api->catalog, entry);
    w_open(w, "options", '[');
    for (uint32_t i = 0; i < entry->options_count; i++) {
        w_begin(w, '{');
        w_str(w, "name", entry->options[i].name);
        w_str(w, "help", entry->options[i].summary);
        w_end(w, '}');
    }
    w_end(w, ']');
    w_open(w, "builds", '[');
    int r = store_view_builds(v, entry->name, build_each, w, e);
    w_end(w, ']');
    w_end(w, '}');
    return r;
}

static int allocators_get(void *ctx, struct http_request *rq, struct http_reply *reply,
                          struct err *e)
{
    struct api_context *api = api_of(ctx);
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    struct list_page page;
    list_page_begin(&page, &w, NULL);
    int r = view_acquire(api, &v, e);
    for (uint32_t i = 0; i < catalog_count(api->catalog) && r == 0; i++)
        r = write_entry(&w, api, v, catalog_get(api->catalog, i), e);
    return r < 0 ? r : list_page_reply(&page, rq, reply, e);
}

static int allocator_get(void *ctx, struct http_request *rq, struct http_reply *reply,
                         struct err *e)
{
    struct api_context *api = api_of(ctx);
    const struct catalog_entry *entry = catalog_find(api->catalog, rq->params[0]);
    if (!entry)
        return err_set(e, ERR_NOT_FOUND, NULL, "no allocator is called \"%.64s\"", rq->params[0]);
    cleanup_(store_view_release_p) struct store_view *v = NULL;
    cleanup_writer struct writer w = {0};
    int r = view_acquire(api, &v, e);
    if (r == 0)
        r = write_entry(&w, api, v, entry, e);
    if (r < 0)
        return r;
    http_reply_etag(reply);
    return w_reply(&w, reply, e);
}

const struct http_route allocators_routes[] = {
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/allocators",
     .scope = SCOPE_READ,
     .handle = allocators_get,
     .name = "listAllocators",
     .summary = "The catalogue: what can be measured here, what is missing, builds seen.",
     .returns = "AllocatorList"},
    {.method = HTTP_GET,
     .pattern = API_PREFIX "/allocators/{name}",
     .scope = SCOPE_READ,
     .handle = allocator_get,
     .name = "getAllocator",
     .summary = "One allocator.",
     .returns = "Allocator"},
    {0},
};
