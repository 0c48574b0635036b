/* A query whose conditions depend on what was asked. The text is built from literals of ours only;
 * every value is a parameter. Internal to daemon/store. */
#ifndef HEAPMARK_DAEMON_STORE_QUERY_H
#define HEAPMARK_DAEMON_STORE_QUERY_H

#include "daemon/store/db.h"

#define QUERY_TEXT_MAX   4096
#define QUERY_PARAMS_MAX 24

struct query {
    char text[QUERY_TEXT_MAX];
    size_t used;
    unsigned params_count;
    struct {
        const char *text; /* NULL: number */
        int64_t number;
    } params[QUERY_PARAMS_MAX];
};

/* Append a literal without parameters. */
void query_add(struct query *q, const char *literal);
/* Append a literal with one "?" each; the _if forms do nothing for NULL, or for a number that
 * means "any". Texts must live until the query has ended. */
void query_text(struct query *q, const char *literal, const char *value);
void query_text_if(struct query *q, const char *literal, const char *value);
void query_int(struct query *q, const char *literal, int64_t value);
void query_int_if(struct query *q, const char *literal, bool wanted, int64_t value);

struct stmt query_begin(struct db *db, const struct query *q);

#endif
