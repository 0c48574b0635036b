/* Shared by the files of daemon/api and by nobody else. */
#ifndef HEAPMARK_DAEMON_API_INTERNAL_H
#define HEAPMARK_DAEMON_API_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/api/api.h"
#include "daemon/api/writer.h"
#include "daemon/base/clock.h"
#include "daemon/base/embed.h"

#define TOKEN_CACHE_MAX   64
#define TOKEN_CACHE_NS    (10 * NS_PER_S) /* how late an expiry is seen; revoking clears at once */
#define TOKEN_USED_US_MIN (INT64_C(60) * 1000000) /* how often last use is written */

struct token_cached {
    char sha256[SHA256_HEX_SIZE]; /* "": free */
    struct store_token token;
    uint64_t until_ns;
};

struct api_private {
    pthread_mutex_t lock; /* guards tokens */
    struct token_cached tokens[TOKEN_CACHE_MAX];
    unsigned tokens_next;               /* the slot to overwrite next */
    unsigned tokens_generation;         /* grows when one is revoked */
    _Atomic bool draining;              /* relaxed: a late look is harmless */
    _Atomic(struct http_server *) http; /* release by api_set_http, acquire by readers */
    uint64_t started_ns;
    /* Bodies that never change, made at the start. */
    char *version, *openapi, *workloads, *metrics, *presets;
};

/* One table per file, each ended by a row without pattern. */
extern const struct http_route jobs_routes[], parts_routes[], events_routes[], results_routes[],
    series_routes[], rows_routes[], allocators_routes[], host_routes[], tokens_routes[],
    meta_routes[], pages_routes[];

/* ---- lists ---- */

#define QUERY_LIMIT                                                         \
    {                                                                       \
        .name = "limit", .type = HTTP_COUNT, .min = 1, .max = API_LIST_MAX, \
        .help = "Items of one page (default 50)."                           \
    }
#define QUERY_CURSOR                                                                  \
    {                                                                                 \
        .name = "cursor", .type = HTTP_CURSOR, .help = "Where the page before ended." \
    }

extern const char *const pages_choices[]; /* of ?pages, ended by NULL */

uint32_t list_limit(const struct http_request *rq);
int64_t list_cursor(const struct http_request *rq); /* 0: from the start */

/* A page of a list while it is written: {"items": […], "next": …}. The query is asked for
 * `limit + 1` rows: one more than the page holds means that there is a next page. */
struct list_page {
    struct writer *w;
    uint32_t limit, count;
    int64_t last, next; /* next: the cursor of the page after this one, 0 none */
};

/* Without a request (NULL) the list is one page, however long. */
void list_page_begin(struct list_page *page, struct writer *w, const struct http_request *rq);
/* Whether the row with this id belongs on the page; the caller then writes it. */
bool list_page_take(struct list_page *page, int64_t id);
/* Close the list; if a page follows, with a Link header. Of one page: rq and reply may be NULL. */
void list_page_end(const struct list_page *page, const struct http_request *rq,
                   struct http_reply *reply);
/* Close the list and reply, with an ETag too. */
int list_page_reply(const struct list_page *page, const struct http_request *rq,
                    struct http_reply *reply, struct err *e);

/* ---- shared between resources ---- */

static inline struct api_context *api_of(void *ctx)
{
    return ctx;
}

static inline bool api_draining(const struct api_context *api)
{
    return atomic_load_explicit(&api->private_->draining, memory_order_relaxed);
}

int view_acquire(struct api_context *api, struct store_view **ret, struct err *e);
/* ERR_NOT_FOUND also for what is no UUID. */
int view_job(struct store_view *v, const char *uuid, struct store_job *ret, struct err *e);

void write_job(struct writer *w, const char *key, const struct store_job *job, bool with_spec);
/* "jemalloc+thp-off" */
void format_subject(const char *allocator, const char *options_key, char *buf, size_t size);
void write_subject(struct writer *w, const char *allocator, const char *options_key);
void write_param(struct writer *w, const struct param_row *row, union param_value value);
void write_point_params(struct writer *w, const struct workload *wl,
                        const struct workload_point *point);
/* All values of a point, from its key with the defaults left out. */
void write_key_params(struct writer *w, const char *workload, const char *params_key);
/* The members a summary and a flat result row share. */
/* What is left of a pair's time without the harness: at least that is the allocator's. No interval:
 * how far harness and allocator overlap in the processor is not known. NaN: none. */
double summary_net(const struct store_summary *s);
void write_summary_members(struct writer *w, const struct store_summary *s);

/* jobs.c: has the job ended? Handlers of streams need it. */
int job_is_final(struct api_context *api, const char *uuid, enum job_state *ret_state,
                 struct err *e);

/* tokens.c */
bool token_plausible(void *ctx, const char *token);
int token_verify(void *ctx, const char *token, struct http_principal *ret, struct err *e);
int tokens_usable(struct api_context *api, unsigned *ret_count, struct err *e);

/* rows.c, openapi.c, meta.c: the bodies that never change; NULL without memory. */
char *rows_workloads_text(void);
char *rows_metrics_text(void);
char *rows_presets_text(void);
char *meta_version_text(void);

#endif
