/* Text put together in a buffer of bounded size, without allocating. What does not fit is counted
 * and not written, as snprintf does. No state. */
#ifndef HEAPMARK_ALLOCATORS_HMALLOC_TEXT_H
#define HEAPMARK_ALLOCATORS_HMALLOC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *buffer;
    size_t size;   /* of the buffer; the last byte is for the NUL */
    size_t length; /* of the whole text, without NUL */
    bool is_first; /* no comma before the next value */
};

void text_add(struct text *t, const char *string);
void text_add_number(struct text *t, uint64_t number);
void text_add_address(struct text *t, const void *address); /* 0x7f.. */

/* JSON: commas are put where they are due. */
void text_open(struct text *t, const char *name, const char *bracket); /* name NULL: none */
void text_close(struct text *t, const char *bracket);
void text_add_name(struct text *t, const char *name); /* a value follows; NULL: in an array */
void text_add_member(struct text *t, const char *name, uint64_t number);

/* Ends the text with a NUL if the buffer has any room. */
void text_end(struct text *t);

#endif
