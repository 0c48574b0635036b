#include "tests/bench/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>

struct report {
    const char *name;
    bool json;
    json_t *values, *targets;
    char machine[256];
    char target_lines[4096];
};

static void machine_text(char *buf, size_t size)
{
    char line[256], model[128] = "unknown CPU";
    struct utsname u;
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n]", model) == 1)
            break;
    if (f)
        fclose(f);
    uname(&u);
    snprintf(buf, size, "%s, %ld CPUs, Linux %s", model, sysconf(_SC_NPROCESSORS_ONLN), u.release);
}

struct report *report_new(const char *name, int argc, char **argv)
{
    struct report *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->name = name;
    r->json = argc == 2 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !r->json) {
        fprintf(stderr, "usage: ./dev bench %s [--json]\n", name);
        exit(2);
    }
    r->values = json_array();
    r->targets = json_array();
    machine_text(r->machine, sizeof r->machine);
    if (!r->json)
        printf("%s on %s\n", name, r->machine);
    return r;
}

void report_say(struct report *r, const char *fmt, ...)
{
    if (r->json)
        return;
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

void report_value(struct report *r, const struct report_value *v)
{
    json_array_append_new(r->values, json_pack("{s:s, s:s, s:f, s:f, s:f, s:s}", "what", v->what,
                                               "unit", v->unit, "median", v->median, "low", v->low,
                                               "high", v->high, "spread", v->spread));
    if (r->json)
        return;
    printf("  %-52s %10.4g %-10s [%.4g, %.4g] %s\n", v->what, v->median, v->unit, v->low, v->high,
           v->spread);
    fflush(stdout);
}

void report_target(struct report *r, const char *what, double value, const char *op, double bound)
{
    bool met = strcmp(op, "<=") == 0 ? value <= bound : value >= bound;
    size_t used = strlen(r->target_lines);
    json_array_append_new(r->targets, json_pack("{s:s, s:f, s:s, s:f, s:b}", "what", what, "value",
                                                value, "op", op, "bound", bound, "met", met));
    snprintf(r->target_lines + used, sizeof r->target_lines - used,
             "target: %s: %.4g %s %.4g: %s\n", what, value, op, bound, met ? "met" : "missed");
}

void report_fail(struct report *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: could not measure: ", r->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

int report_end(struct report *r)
{
    if (r->json) {
        json_t *all = json_pack("{s:s, s:s, s:o, s:o}", "bench", r->name, "machine", r->machine,
                                "values", r->values, "targets", r->targets);
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
    } else {
        fputs(r->target_lines, stdout);
        json_decref(r->values);
        json_decref(r->targets);
    }
    free(r);
    return 0;
}

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void report_spread(double *values, size_t count, struct report_value *v)
{
    qsort(values, count, sizeof *values, double_order);
    v->low = count ? values[0] : 0;
    v->high = count ? values[count - 1] : 0;
    v->median = count ? (values[(count - 1) / 2] + values[count / 2]) / 2 : 0;
}
