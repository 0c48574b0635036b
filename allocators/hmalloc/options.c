#include "allocators/hmalloc/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "allocators/hmalloc/fault.h"

struct options options = {
    .on_fault = ON_FAULT_ABORT,
    .decay_ms = 250,
    .dirty_percent = 20,
    .dirty_min = MIB(1),
    .magazine_bytes = KIB(64),
    .thp = true,
};

struct number_option {
    const char *name;
    uint64_t min, max, unit;
    uint64_t *ret;
};

/* Decimal digits only; false when it is anything else or out of bounds. */
static bool parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > max)
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    if (n < min || n > max)
        return false;
    *ret = n;
    return true;
}

static void read_number(const struct number_option *option)
{
    const char *text = getenv(option->name);
    uint64_t n;
    if (!text)
        return;
    if (parse(text, option->min, option->max, &n))
        *option->ret = n * option->unit;
    else
        fault_note("an option of the environment is no number within its bounds, ignored",
                   option->name);
}

static void read_on_fault(void)
{
    static const char *const names[] = {"abort", "report", "ignore"};
    const char *text = getenv("HMALLOC_ON_FAULT");
    if (!text)
        return;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, names[i]) == 0) {
            options.on_fault = (enum on_fault)i;
            return;
        }
    fault_note("HMALLOC_ON_FAULT is none of abort, report, ignore; it stays", text);
}

void options_init(void)
{
    if (getauxval(AT_SECURE))
        return;
    uint64_t hardened = options.hardened, percent = options.dirty_percent, thp = options.thp;
    uint64_t dirty_min = options.dirty_min, magazine = options.magazine_bytes;
    const struct number_option numbers[] = {
        {"HMALLOC_HARDEN", 0, 3, 1, &hardened},
        {"HMALLOC_DECAY_MS", 1, 3600000, 1, &options.decay_ms},
        {"HMALLOC_DIRTY_PERCENT", 0, 1000, 1, &percent},
        {"HMALLOC_DIRTY_MIN_KIB", 0, 1u << 30, 1024, &dirty_min},
        {"HMALLOC_MAGAZINE_KIB", 0, 1024, 1024, &magazine},
        {"HMALLOC_THP", 0, 1, 1, &thp},
    };
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        read_number(&numbers[i]);
    read_on_fault();
    options.hardened = (unsigned)hardened;
    options.dirty_percent = (unsigned)percent;
    options.dirty_min = dirty_min;
    options.magazine_bytes = magazine;
    options.thp = thp;
}
