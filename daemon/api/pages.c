/* The pages: files built into the program. Epoll thread; nothing here can block. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *suffix, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".json", "application/json"},
    {".png", "image/png"},
    {".woff2", "font/woff2"},
};

static const char *type_of(const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t n = strlen(types[i].suffix);
        if (size > n && strcmp(name + size - n, types[i].suffix) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

static const struct embedded_file *file_find(const struct api_context *api, const char *name)
{
    char page[80];
    if (!api->web_files)
        return NULL;
    const struct embedded_file *file = embedded_find(api->web_files, name);
    if (file || strchr(name, '.'))
        return file;
    int n = snprintf(page, sizeof page, "%s.html", name); /* "/job" is job.html */
    return n > 0 && (size_t)n < sizeof page ? embedded_find(api->web_files, page) : NULL;
}

static int page_get(void *ctx, struct http_request *rq, struct http_reply *reply, struct err *e)
{
    const char *name = rq->params[0] ? rq->params[0] : "index.html";
    const struct embedded_file *file = file_find(api_of(ctx), name);
    if (!file)
        return err_set(e, ERR_NOT_FOUND, NULL, "no such address: /%.200s", name);
    http_reply_constant(reply, type_of(file->name), file->begin, embedded_size(file));
    return 0;
}

const struct http_route pages_routes[] = {
    {.method = HTTP_GET,
     .pattern = "/",
     .flags = HTTP_INLINE | HTTP_ANY_QUERY,
     .handle = page_get,
     .name = "getIndexPage",
     .summary = "The list of jobs, for people."},
    {.method = HTTP_GET,
     .pattern = "/{page}",
     .flags = HTTP_INLINE | HTTP_ANY_QUERY,
     .handle = page_get,
     .name = "getPage",
     .summary = "A page or a file of one."},
    {0},
};
