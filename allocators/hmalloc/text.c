#include "allocators/hmalloc/text.h"

void text_add(struct text *t, const char *string)
{
    for (; *string; string++, t->length++)
        if (t->length + 1 < t->size)
            t->buffer[t->length] = *string;
}

void text_add_number(struct text *t, uint64_t number)
{
    char digits[21];
    unsigned at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    text_add(t, digits + at);
}

void text_add_address(struct text *t, const void *address)
{
    char digits[17];
    unsigned at = sizeof digits - 1;
    uintptr_t rest = (uintptr_t)address;
    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[rest & 15];
    while ((rest >>= 4) > 0);
    text_add(t, "0x");
    text_add(t, digits + at);
}

void text_add_name(struct text *t, const char *name)
{
    if (!t->is_first)
        text_add(t, ",");
    t->is_first = false;
    if (!name)
        return;
    text_add(t, "\"");
    text_add(t, name);
    text_add(t, "\":");
}

void text_open(struct text *t, const char *name, const char *bracket)
{
    text_add_name(t, name);
    text_add(t, bracket);
    t->is_first = true;
}

void text_close(struct text *t, const char *bracket)
{
    text_add(t, bracket);
    t->is_first = false;
}

void text_add_member(struct text *t, const char *name, uint64_t number)
{
    text_add_name(t, name);
    text_add_number(t, number);
}

void text_end(struct text *t)
{
    if (t->size > 0)
        t->buffer[t->length < t->size ? t->length : t->size - 1] = '\0';
}
