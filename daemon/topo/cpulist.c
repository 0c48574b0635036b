#include "daemon/topo/cpulist.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

void cpulist_add(struct cpulist *list, unsigned cpu)
{
    if (cpu < CPULIST_MAX)
        list->words[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

void cpulist_remove(struct cpulist *list, unsigned cpu)
{
    if (cpu < CPULIST_MAX)
        list->words[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
}

bool cpulist_has(const struct cpulist *list, unsigned cpu)
{
    return cpu < CPULIST_MAX && (list->words[cpu / 64] >> cpu % 64 & 1);
}

unsigned cpulist_count(const struct cpulist *list)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CPULIST_MAX / 64; i++)
        count += (unsigned)__builtin_popcountll(list->words[i]);
    return count;
}

int cpulist_next(const struct cpulist *list, unsigned from)
{
    for (unsigned cpu = from; cpu < CPULIST_MAX; cpu++) {
        uint64_t rest = list->words[cpu / 64] >> cpu % 64;
        if (rest)
            return (int)(cpu + (unsigned)__builtin_ctzll(rest));
        cpu |= 63; /* the loop's step goes to the next word */
    }
    return -1;
}

/* One number; digits only, no sign, no space. */
static int parse_cpu(const char **at, const char *text, const char *field, unsigned *ret,
                     struct err *e)
{
    unsigned value = 0;
    if (!isdigit((unsigned char)**at))
        return err_set(e, ERR_MALFORMED, field,
                       "\"%.64s\" is not a CPU list such as \"0-3,8\" (byte %d)", text,
                       (int)(*at - text));
    for (; isdigit((unsigned char)**at); ++*at) {
        value = value * 10 + (unsigned)(**at - '0');
        if (value >= CPULIST_MAX)
            return err_set(e, ERR_OUT_OF_RANGE, field, "\"%.64s\": CPU numbers go from 0 to %d",
                           text, CPULIST_MAX - 1);
    }
    *ret = value;
    return 0;
}

/* "8" or "0-3". */
static int parse_range(const char **at, const char *text, const char *field, unsigned *ret_first,
                       unsigned *ret_last, struct err *e)
{
    unsigned first = 0, last;
    int r = parse_cpu(at, text, field, &first, e);
    if (r < 0)
        return r;
    last = first;
    if (**at == '-') {
        ++*at;
        r = parse_cpu(at, text, field, &last, e);
        if (r < 0)
            return r;
        if (last < first)
            return err_set(e, ERR_INVALID, field, "\"%.64s\": the range %u-%u runs backwards", text,
                           first, last);
    }
    *ret_first = first;
    *ret_last = last;
    return 0;
}

/* Calls take() for each CPU in the order written. */
static int parse_list(const char *text, const char *field,
                      int (*take)(void *context, unsigned cpu, struct err *e), void *context,
                      struct err *e)
{
    const char *at = text;
    while (*at) {
        unsigned first = 0, last = 0;
        int r = parse_range(&at, text, field, &first, &last, e);
        for (unsigned cpu = first; r == 0 && cpu <= last; cpu++)
            r = take(context, cpu, e);
        if (r < 0)
            return r;
        if (!*at)
            return 0;
        if (*at != ',' || !at[1])
            return err_set(e, ERR_MALFORMED, field,
                           "\"%.64s\" is not a CPU list such as \"0-3,8\" (byte %d)", text,
                           (int)(at - text));
        at++;
    }
    return 0;
}

struct order {
    const char *field;
    struct cpulist seen;
    uint16_t *cpus;
    size_t count, capacity;
};

static int order_take(void *context, unsigned cpu, struct err *e)
{
    struct order *o = context;
    if (cpulist_has(&o->seen, cpu))
        return err_set(e, ERR_INVALID, o->field, "CPU %u is listed twice", cpu);
    if (o->cpus && o->count == o->capacity)
        return err_set(e, ERR_TOO_LARGE, o->field, "more than %zu CPUs listed", o->capacity);
    cpulist_add(&o->seen, cpu);
    if (o->cpus)
        o->cpus[o->count++] = (uint16_t)cpu;
    return 0;
}

int cpulist_parse(const char *text, const char *field, struct cpulist *ret, struct err *e)
{
    struct order o = {.field = field};
    int r = parse_list(text, field, order_take, &o, e);
    if (r == 0)
        *ret = o.seen;
    return r;
}

int cpulist_parse_order(const char *text, const char *field, uint16_t *ret_cpus, size_t capacity,
                        struct err *e)
{
    struct order o = {.field = field, .cpus = ret_cpus, .capacity = capacity};
    int r = parse_list(text, field, order_take, &o, e);
    return r < 0 ? r : (int)o.count;
}

int cpulist_format(const struct cpulist *list, char *buf, size_t buf_size)
{
    size_t used = 0;
    if (buf_size == 0)
        return -ENOSPC;
    buf[0] = '\0';
    for (int first = cpulist_next(list, 0); first >= 0;) {
        unsigned last = (unsigned)first;
        while (cpulist_has(list, last + 1))
            last++;
        char item[16];
        int n = snprintf(item, sizeof item, last > (unsigned)first ? "%s%d-%u" : "%s%d",
                         used ? "," : "", first, last);
        if ((size_t)n >= buf_size - used)
            return -ENOSPC;
        snprintf(buf + used, buf_size - used, "%s", item);
        used += (size_t)n;
        first = cpulist_next(list, last + 1);
    }
    return (int)used;
}
