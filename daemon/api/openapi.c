/* The OpenAPI 3.1 document: paths from the routes, schemas from components.json, names and bounds
 * from the rows. schema/openapi.json is its text as committed; a test compares the two. */
#include "daemon/api/internal.h"

#include <stdio.h>
#include <string.h>

extern const struct embedded_file api_components[];

#define PROBLEM_TYPE "application/problem+json"

static json_t *reference(const char *schema)
{
    char text[96];
    snprintf(text, sizeof text, "#/components/schemas/%s", schema);
    return json_pack("{s:s}", "$ref", text);
}

static json_t *content(const char *type, const char *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", reference(schema));
}

static json_t *query_schema(const struct http_query_row *row)
{
    json_t *schema;
    switch (row->type) {
    case HTTP_COUNT:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)row->min,
                         "maximum", (json_int_t)row->max);
    case HTTP_TIME:
        return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
    case HTTP_CHOICE:
        schema = json_pack("{s:s, s:[]}", "type", "string", "enum");
        for (const char *const *c = row->choices; *c; c++)
            json_array_append_new(json_object_get(schema, "enum"), json_string(*c));
        return schema;
    case HTTP_CURSOR:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[0-9]{1,18}$");
    case HTTP_TEXT:
        break;
    }
    return json_pack("{s:s}", "type", "string");
}

static json_t *parameter(const char *name, const char *where, bool required, const char *help,
                         json_t *schema)
{
    return json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", name, "in", where, "required", required,
                     "description", help, "schema", schema);
}

static json_t *parameters(const struct http_route *r)
{
    json_t *list = json_array();
    for (const char *p = strchr(r->pattern, '{'); p; p = strchr(p + 1, '{')) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p + 1, "}"), p + 1);
        json_array_append_new(list, parameter(name, "path", true, "Which one.",
                                              json_pack("{s:s}", "type", "string")));
    }
    for (const struct http_query_row *q = r->query; q && q->name; q++)
        json_array_append_new(list, parameter(q->name, "query", false, q->help, query_schema(q)));
    if (r->accepts && strcmp(r->accepts, "JobRequest") == 0)
        json_array_append_new(
            list, parameter("Idempotency-Key", "header", false,
                            "The same key and body give the first reply again.",
                            json_pack("{s:s, s:i}", "type", "string", "maxLength", 128)));
    return list;
}

static json_t *success_content(const struct http_route *r)
{
    if (r->flags & HTTP_EVENTS)
        return content("text/event-stream", "EventStream");
    if (r->returns)
        return content("application/json", r->returns);
    return content(strcmp(r->pattern, "/metrics") == 0 ? "text/plain" : "*/*", "Text");
}

static json_t *responses(const struct http_route *r)
{
    char status[16];
    json_t *all = json_object();
    snprintf(status, sizeof status, "%u", r->success ? r->success : 200);
    json_t *success =
        json_pack("{s:s, s:o}", "description", "Success.", "content", success_content(r));
    if (strcmp(r->name, "queryResults") == 0) {
        json_t *types = json_object_get(success, "content");
        json_object_update_new(types, content("application/x-ndjson", "Text"));
        json_object_update_new(types, content("text/csv", "Text"));
    }
    json_object_set_new(all, status, success);
    if (strcmp(r->name, "submitJob") == 0)
        json_object_set_new(all, "200",
                            json_pack("{s:s, s:o}", "description", "dry_run=1.", "content",
                                      content("application/json", "DryRun")));
    if (strcmp(r->name, "cancelJob") == 0)
        json_object_set_new(all, "202",
                            json_pack("{s:s, s:o}", "description", "Stopping.", "content",
                                      content("application/json", "Job")));
    if (strcmp(r->name, "getReadiness") == 0)
        json_object_set_new(all, "503",
                            json_pack("{s:s, s:o}", "description", "Not ready.", "content",
                                      content("application/json", "Readiness")));
    json_object_set_new(all, "default",
                        json_pack("{s:s, s:o}", "description", "A problem (RFC 9457).", "content",
                                  content(PROBLEM_TYPE, "Problem")));
    return all;
}

static json_t *operation(const struct http_route *r)
{
    json_t *op = json_pack("{s:s, s:s, s:o, s:o}", "operationId", r->name, "summary", r->summary,
                           "parameters", parameters(r), "responses", responses(r));
    if (r->accepts)
        json_object_set_new(op, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content",
                                      content("application/json", r->accepts)));
    json_t *security = json_array();
    if (r->scope) {
        /* Without a token: loopback addresses, for what is not administration. */
        if (r->scope != SCOPE_ADMIN)
            json_array_append_new(security, json_object());
        json_array_append_new(security, json_pack("{s:[s]}", "token", api_scope_name(r->scope)));
    }
    json_object_set_new(op, "security", security);
    return op;
}

static json_t *paths(void)
{
    json_t *all = json_object();
    for (const struct http_route *const *at = api_routes; *at; at++)
        for (const struct http_route *r = *at; r->pattern; r++) {
            json_t *path = json_object_get(all, r->pattern);
            if (!path) {
                path = json_object();
                json_object_set_new(all, r->pattern, path);
            }
            json_object_set_new(path, r->method == HTTP_POST ? "post" : "get", operation(r));
        }
    return all;
}

/* ---- from the rows ---- */

static json_t *param_schema(const struct param_row *row)
{
    json_t *schema = json_pack("{s:s}", "description", row->help);
    json_t *type;
    switch (row->type) {
    case PARAM_F64:
        json_object_update_new(schema,
                               json_pack("{s:s, s:f, s:f, s:f}", "type", "number", "minimum",
                                         row->min.f, "maximum", row->max.f, "default", row->def.f));
        return schema;
    case PARAM_BOOL:
        json_object_update_new(
            schema, json_pack("{s:s, s:b}", "type", "boolean", "default", row->def.u != 0));
        return schema;
    case PARAM_ENUM:
        json_object_update_new(schema, json_pack("{s:s, s:s, s:[]}", "type", "string", "default",
                                                 row->choices[row->def.u], "enum"));
        for (const char *const *c = row->choices; *c; c++)
            json_array_append_new(json_object_get(schema, "enum"), json_string(*c));
        return schema;
    case PARAM_SIZE: /* also as text: "256MiB" */
        type = json_pack("[s, s]", "integer", "string");
        break;
    default:
        type = json_string("integer");
    }
    json_object_update_new(
        schema, json_pack("{s:o, s:I, s:I, s:I}", "type", type, "minimum", (json_int_t)row->min.u,
                          "maximum", (json_int_t)row->max.u, "default", (json_int_t)row->def.u));
    return schema;
}

/* A parameter of a job is one value or a list of them. */
static json_t *workload_params_schema(const struct workload *wl)
{
    json_t *properties = json_object();
    for (unsigned i = 0; i < wl->params_count; i++) {
        json_t *one = param_schema(&wl->params[i]);
        json_object_set_new(properties, wl->params[i].name,
                            json_pack("{s:[O, {s:s, s:i, s:o}]}", "anyOf", one, "type", "array",
                                      "maxItems", JOB_VALUES_MAX, "items", one));
    }
    return json_pack("{s:s, s:s, s:o, s:b}", "description", wl->summary, "type", "object",
                     "properties", properties, "additionalProperties", 0);
}

static void schemas_from_rows(json_t *schemas)
{
    json_t *names = json_array(), *metric_names = json_array();
    for (const struct workload *const *at = workloads; *at; at++) {
        char name[64];
        snprintf(name, sizeof name, "Params-%s", (*at)->name);
        json_object_set_new(schemas, name, workload_params_schema(*at));
        json_array_append_new(names, json_string((*at)->name));
    }
    for (unsigned i = 0; i < METRIC_COUNT_; i++)
        json_array_append_new(metric_names, json_string(metrics[i].name));
    json_object_set_new(schemas, "WorkloadName",
                        json_pack("{s:s, s:o}", "type", "string", "enum", names));
    json_object_set_new(schemas, "MetricName",
                        json_pack("{s:s, s:o}", "type", "string", "enum", metric_names));
}

char *api_openapi_text(void)
{
    json_t *schemas =
        json_loads((const char *)api_components[0].begin, JSON_REJECT_DUPLICATES, NULL);
    if (!schemas)
        return NULL;
    schemas_from_rows(schemas);
    json_t *document = json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:o, s:{s:o, s:{s:{s:s, s:s, s:s}}}}", "openapi",
        "3.1.0", "info", "title", "heapmark", "version", HEAPMARK_VERSION, "description",
        "Measures memory allocators and the memory system under them. Lists are paged by cursor "
        "(Link: rel=next); errors are problem+json with a stable type and a JSON Pointer.",
        "license", "name", "MIT", "identifier", "MIT", "paths", paths(), "components", "schemas",
        schemas, "securitySchemes", "token", "type", "http", "scheme", "bearer", "description",
        "A token of heapmark (hmk_...). Not needed on loopback addresses to read and submit.");
    char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(document);
    return text;
}
