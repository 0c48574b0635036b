#include "daemon/store/query.h"

#include <assert.h>
#include <string.h>

void query_add(struct query *q, const char *literal)
{
    size_t n = strlen(literal);
    assert(q->used + n < sizeof q->text); /* all texts are ours: too long is a bug */
    memcpy(q->text + q->used, literal, n + 1);
    q->used += n;
}

void query_text(struct query *q, const char *literal, const char *value)
{
    assert(q->params_count < QUERY_PARAMS_MAX && value);
    query_add(q, literal);
    q->params[q->params_count++].text = value;
}

void query_text_if(struct query *q, const char *literal, const char *value)
{
    if (value)
        query_text(q, literal, value);
}

void query_int(struct query *q, const char *literal, int64_t value)
{
    assert(q->params_count < QUERY_PARAMS_MAX);
    query_add(q, literal);
    q->params[q->params_count].text = NULL;
    q->params[q->params_count++].number = value;
}

void query_int_if(struct query *q, const char *literal, bool wanted, int64_t value)
{
    if (wanted)
        query_int(q, literal, value);
}

struct stmt query_begin(struct db *db, const struct query *q)
{
    struct stmt st = stmt_begin_once(db, q->text);
    for (unsigned i = 0; i < q->params_count; i++) {
        if (q->params[i].text)
            stmt_text(&st, q->params[i].text);
        else
            stmt_int(&st, q->params[i].number);
    }
    return st;
}
