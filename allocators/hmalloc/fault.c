#include "allocators/hmalloc/fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/hmalloc/options.h"
#include "allocators/hmalloc/os.h"

static _Atomic uint64_t faults; /* statistics: relaxed */

struct line {
    char text[256];
    size_t length;
};

static void line_add(struct line *l, const char *text)
{
    for (; *text && l->length < sizeof l->text - 1; text++)
        l->text[l->length++] = *text;
}

static void line_add_address(struct line *l, const void *address)
{
    char digits[19] = "0x";
    unsigned n = 2;
    bool begun = false;
    for (int shift = 60; shift >= 0; shift -= 4) {
        const unsigned digit = (unsigned)((uintptr_t)address >> shift) & 15;
        begun = begun || digit != 0 || shift == 0;
        if (begun)
            digits[n++] = "0123456789abcdef"[digit];
    }
    digits[n] = '\0';
    line_add(l, digits);
}

static void line_add_number(struct line *l, size_t n)
{
    char digits[24];
    unsigned at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    line_add(l, digits + at);
}

static void line_write(struct line *l)
{
    l->text[l->length++] = '\n';
    os_write_error(l->text, l->length);
}

void fault(const char *call, const void *block, const char *what)
{
    struct line l = {.length = 0};
    atomic_fetch_add_explicit(&faults, 1, memory_order_relaxed);
    if (options.on_fault == ON_FAULT_IGNORE)
        return;
    line_add(&l, "hmalloc: ");
    line_add(&l, call);
    line_add(&l, "(");
    line_add_address(&l, block);
    line_add(&l, "): ");
    line_add(&l, what);
    line_write(&l);
    if (options.on_fault == ON_FAULT_ABORT)
        abort();
}

void fault_note(const char *what, const void *where)
{
    struct line l = {.length = 0};
    line_add(&l, "hmalloc: ");
    line_add(&l, what);
    line_add(&l, " (at ");
    line_add_address(&l, where);
    line_add(&l, ")");
    line_write(&l);
}

void fault_tell(const char *name, const char *what)
{
    struct line l = {.length = 0};
    line_add(&l, "hmalloc: ");
    line_add(&l, name);
    line_add(&l, ": ");
    line_add(&l, what);
    line_write(&l);
}

void fault_touch(const void *address, const char *what, const void *block, size_t size)
{
    struct line l = {.length = 0};
    line_add(&l, "hmalloc: access to ");
    line_add_address(&l, address);
    line_add(&l, ": ");
    line_add(&l, what);
    line_add(&l, " (");
    line_add_address(&l, block);
    line_add(&l, ", ");
    line_add_number(&l, size);
    line_add(&l, " bytes)");
    line_write(&l);
}

uint64_t fault_count(void)
{
    return atomic_load_explicit(&faults, memory_order_relaxed);
}
