#include "allocators/hmalloc/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "allocators/hmalloc/fault.h"
#include "allocators/hmalloc/hmalloc.h"

#define DEFAULTS                                                                           \
    {                                                                                      \
        .on_fault = ON_FAULT_ABORT, .hardened = HARDEN_NONE, .quarantine_bytes = KIB(256), \
        .guard_sample = 1000, .guard_slots = 128, .decay_ms = 250, .dirty_percent = 20,    \
        .dirty_min = KIB(512), .magazine_bytes = KIB(256), .thp = 1,                       \
    }

struct options options = DEFAULTS;
static const struct options defaults = DEFAULTS;

static const char *const on_fault_names[] = {"abort", "report", "ignore", NULL};

static const struct row {
    const char *name, *help;
    size_t offset; /* in struct options */
    uint64_t min, max;
    uint64_t unit; /* one of the option's is so many of the field's */
    enum hmalloc_option_kind kind;
    bool at_run_time;
    const char *const *choices;
} table[] = {
#define FIELD(f) offsetof(struct options, f)
    {"HMALLOC_ON_FAULT",
     "what follows the line about a misuse: abort(); go on; go on without the line",
     FIELD(on_fault), ON_FAULT_ABORT, ON_FAULT_IGNORE, 1, HMALLOC_CHOICE, true, on_fault_names},
    {"HMALLOC_HARDEN", "hardening level", FIELD(hardened), 0, HARDEN_GUARD, 1, HMALLOC_NUMBER,
     false, NULL},
    {"HMALLOC_QUARANTINE_KIB", "level 2: freed blocks held back per heap, in KiB",
     FIELD(quarantine_bytes), 0, 1 << 20, 1024, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_GUARD_SAMPLE", "level 3: one block in so many is put before a guard page",
     FIELD(guard_sample), 1, 1000000000, 1, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_GUARD_SLOTS", "level 3: guarded blocks at a time, freed ones included",
     FIELD(guard_slots), 1, 4096, 1, HMALLOC_NUMBER, false, NULL},
    {"HMALLOC_DECAY_MS", "how often half of the free memory nobody needed is given back",
     FIELD(decay_ms), 1, 3600000, 1, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_DIRTY_PERCENT", "free memory kept at once, in percent of the memory in use",
     FIELD(dirty_percent), 0, 1000, 1, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_DIRTY_MIN_KIB", "free memory kept at least, in KiB", FIELD(dirty_min), 0, 1u << 30,
     1024, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_MAGAZINE_KIB", "blocks of one size class a thread caches at most, in KiB",
     FIELD(magazine_bytes), 0, 1024, 1024, HMALLOC_NUMBER, true, NULL},
    {"HMALLOC_THP", "transparent huge pages for densely used memory", FIELD(thp), 0, 1, 1,
     HMALLOC_SWITCH, false, NULL},
    {"HMALLOC_STATS_AT_EXIT", "1: a line of JSON on stderr at exit; else appended to this file",
     FIELD(stats_at_exit), 0, OPTION_TEXT_SIZE - 1, 1, HMALLOC_TEXT, false, NULL},
#undef FIELD
};
#define ROWS (sizeof table / sizeof table[0])

static uint64_t *value_of(const struct row *row)
{
    return (uint64_t *)(void *)((char *)&options + row->offset);
}

static uint64_t default_of(const struct row *row)
{
    return *(const uint64_t *)(const void *)((const char *)&defaults + row->offset);
}

/* Decimal digits only; false when it is anything else or out of bounds. */
static bool parse_number(const struct row *row, const char *text, uint64_t *ret)
{
    uint64_t n = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > row->max)
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *ret = n;
    return n >= row->min && n <= row->max;
}

static bool parse_choice(const struct row *row, const char *text, uint64_t *ret)
{
    for (uint64_t i = 0; row->choices[i]; i++)
        if (strcmp(row->choices[i], text) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

static bool parse(const struct row *row, const char *text)
{
    uint64_t n = 0;
    if (row->kind == HMALLOC_TEXT) {
        const size_t length = strlen(text);
        if (length > row->max)
            return false;
        memcpy(value_of(row), text, length + 1);
        return true;
    }
    if (!(row->kind == HMALLOC_CHOICE ? parse_choice : parse_number)(row, text, &n))
        return false;
    *value_of(row) = n * row->unit;
    return true;
}

void options_init(void)
{
    if (getauxval(AT_SECURE))
        return;
    for (size_t i = 0; i < ROWS; i++) {
        const char *text = getenv(table[i].name);
        if (text && !parse(&table[i], text))
            fault_tell(table[i].name, "is set to no value within its bounds; ignored");
    }
}

/* ---- at run time ---- */

static const struct row *row_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    errno = ENOENT;
    return NULL;
}

static uint64_t value_now(const struct row *row)
{
    if (row->kind == HMALLOC_TEXT)
        return options.stats_at_exit[0] != '\0';
    return __atomic_load_n(value_of(row), __ATOMIC_RELAXED) / row->unit;
}

EXPORT int hmalloc_option_at(size_t index, struct hmalloc_option *ret)
{
    if (index >= ROWS) {
        errno = ENOENT;
        return -1;
    }
    const struct row *row = &table[index];
    *ret = (struct hmalloc_option){
        .name = row->name,
        .help = row->help,
        .choices = row->choices,
        .kind = row->kind,
        .at_run_time = row->at_run_time,
        .minimum = row->min,
        .maximum = row->max,
        .standard = row->kind == HMALLOC_TEXT ? 0 : default_of(row) / row->unit,
        .value = value_now(row),
    };
    return 0;
}

EXPORT int hmalloc_option_get(const char *name, uint64_t *ret)
{
    const struct row *row = row_find(name);
    if (!row)
        return -1;
    *ret = value_now(row);
    return 0;
}

EXPORT int hmalloc_option_set(const char *name, uint64_t value)
{
    const struct row *row = row_find(name);
    if (!row)
        return -1;
    if (!row->at_run_time || value < row->min || value > row->max) {
        errno = row->at_run_time ? EINVAL : EPERM;
        return -1;
    }
    __atomic_store_n(value_of(row), value * row->unit, __ATOMIC_RELAXED);
    return 0;
}
