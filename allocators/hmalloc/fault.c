#include "allocators/hmalloc/fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"
#include "allocators/hmalloc/text.h"

static _Atomic uint64_t faults; /* statistics: relaxed */

#define LINE_SIZE 256

static void line_begin(struct text *t, char line[LINE_SIZE])
{
    *t = (struct text){.buffer = line, .size = LINE_SIZE};
    text_add(t, "hmalloc: ");
}

static void line_write(struct text *t)
{
    size_t length = t->length < LINE_SIZE - 1 ? t->length : LINE_SIZE - 1;
    t->buffer[length++] = '\n';
    os_write_error(t->buffer, length);
}

void fault(const char *call, const void *block, const char *what)
{
    char line[LINE_SIZE];
    struct text l;
    atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
    if (options.on_fault == ON_FAULT_IGNORE)
        return;
    line_begin(&l, line);
    text_add(&l, call);
    text_add(&l, "(");
    text_add_address(&l, block);
    text_add(&l, "): ");
    text_add(&l, what);
    line_write(&l);
    if (options.on_fault == ON_FAULT_ABORT)
        abort();
}

void fault_note(const char *what, const void *where)
{
    char line[LINE_SIZE];
    struct text l;
    line_begin(&l, line);
    text_add(&l, what);
    text_add(&l, " (at ");
    text_add_address(&l, where);
    text_add(&l, ")");
    line_write(&l);
}

void fault_tell(const char *name, const char *what)
{
    char line[LINE_SIZE];
    struct text l;
    line_begin(&l, line);
    text_add(&l, name);
    text_add(&l, ": ");
    text_add(&l, what);
    line_write(&l);
}

void fault_touch(const void *address, const char *what, const void *block, size_t size)
{
    char line[LINE_SIZE];
    struct text l;
    line_begin(&l, line);
    text_add(&l, "access to ");
    text_add_address(&l, address);
    text_add(&l, ": ");
    text_add(&l, what);
    text_add(&l, " (");
    text_add_address(&l, block);
    text_add(&l, ", ");
    text_add_number(&l, size);
    text_add(&l, " bytes)");
    line_write(&l);
}

uint64_t fault_count(void)
{
    return atomic_load_explicit(&faults, memory_order_relaxed);
}
