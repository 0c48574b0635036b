/* JSON written straight into a growing text: no tree, no error to check until the end. Commas are
 * put by the writer; keys are constants, strings are escaped, what is not finite becomes null. */
#ifndef HEAPMARK_DAEMON_API_WRITER_H
#define HEAPMARK_DAEMON_API_WRITER_H

#include <jansson.h>

#include "daemon/http/http.h"

struct writer {
    struct http_text text;
    bool comma; /* something stands before at this level */
};

void w_begin(struct writer *w, char bracket);                 /* '{' or '[' as an element */
void w_open(struct writer *w, const char *key, char bracket); /* the same under a key */
void w_end(struct writer *w, char bracket);
void w_key(struct writer *w, const char *key);

/* Elements of an array (or values after w_key). */
void w_string(struct writer *w, const char *value); /* NULL: null */
void w_number(struct writer *w, double value);
void w_integer(struct writer *w, int64_t value);

/* Members of an object. */
void w_str(struct writer *w, const char *key, const char *value);         /* NULL: null */
void w_str_or_null(struct writer *w, const char *key, const char *value); /* "": null */
void w_num(struct writer *w, const char *key, double value);
void w_int(struct writer *w, const char *key, int64_t value);
void w_u64(struct writer *w, const char *key, uint64_t value);
void w_bool(struct writer *w, const char *key, bool value);
void w_null(struct writer *w, const char *key);
void w_time(struct writer *w, const char *key, int64_t us); /* 0: null */
/* Text that is JSON already. */
void w_raw(struct writer *w, const char *key, const char *json);
/* Takes the reference; NULL marks the text as failed. */
void w_json(struct writer *w, const char *key, json_t *json);

/* Shortest decimal that reads back as the same number; "null" when not finite. buf of 32. */
void writer_format_number(double value, char buf[32]);

/* Hand the text over as an application/json reply. */
int w_reply(struct writer *w, struct http_reply *reply, struct err *e);

#define cleanup_writer cleanup_(writer_done)
static inline void writer_done(struct writer *w)
{
    http_text_done(&w->text);
}

#endif
