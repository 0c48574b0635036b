/* Putting the API together: start, stop, who may listen where. Called by main. */
#include "daemon/api/internal.h"

#include <stdlib.h>

const struct http_route *const api_routes[] = {
    meta_routes, jobs_routes,       parts_routes, events_routes, results_routes, series_routes,
    rows_routes, allocators_routes, host_routes,  tokens_routes, pages_routes,   NULL,
};

static void private_free(struct api_private *p)
{
    free(p->version);
    free(p->openapi);
    free(p->workloads);
    free(p->metrics);
    free(p->presets);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int api_start(struct api_context *api, struct err *e)
{
    struct api_private *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_IO, NULL, "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    p->started_ns = clock_monotonic_ns();
    p->version = meta_version_text();
    p->openapi = api_openapi_text();
    p->workloads = rows_workloads_text();
    p->metrics = rows_metrics_text();
    p->presets = rows_presets_text();
    if (!p->version || !p->openapi || !p->workloads || !p->metrics || !p->presets) {
        private_free(p);
        return err_set(e, ERR_IO, NULL, "out of memory");
    }
    api->private_ = p;
    return 0;
}

void api_stop(struct api_context *api)
{
    if (api->private_)
        private_free(api->private_);
    api->private_ = NULL;
}

void api_auth(struct api_context *api, struct http_auth *ret)
{
    *ret = (struct http_auth){
        .plausible = token_plausible,
        .verify = token_verify,
        .scopes_loopback = SCOPE_READ | SCOPE_SUBMIT,
        .scopes_owner = SCOPE_READ | SCOPE_SUBMIT | SCOPE_UPLOAD | SCOPE_ADMIN,
        .scopes_remote = api->public_read ? SCOPE_READ : 0,
    };
}

int api_check_listen(struct api_context *api, const struct http_listen *listen, unsigned count,
                     struct err *e)
{
    for (unsigned i = 0; i < count; i++) {
        if (listen[i].loopback)
            continue;
        unsigned usable;
        int r = tokens_usable(api, &usable, e);
        if (r < 0)
            return r;
        if (usable > 0)
            return 0;
        return err_set(e, ERR_FORBIDDEN, "listen",
                       "%s can be reached by others and there is no token: start on 127.0.0.1 or "
                       "a Unix socket and make one first (heapmark token)",
                       listen[i].address);
    }
    return 0;
}

void api_set_http(struct api_context *api, struct http_server *server)
{
    atomic_store_explicit(&api->private_->http, server, memory_order_release);
}

void api_drain(struct api_context *api)
{
    atomic_store_explicit(&api->private_->draining, true, memory_order_relaxed);
}
