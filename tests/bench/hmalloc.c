/* ./dev bench hmalloc: our allocator against every other one that is installed.
 *
 * Steady cases: a ring of two processes, hmalloc and a rival, that take turns slice by slice in
 * ABBA order (docs/architecture.md, "The baton"); an estimate is the median over quadruples of the
 * log ratio, and a case is judged by REPEATS rings of fresh processes. One-shot cases, which are
 * about memory, run interleaved. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/stats/stats.h"
#include "tests/bench/hmalloc_cases.h"
#include "tests/bench/hmalloc_process.h"
#include "tests/bench/report.h"

#define REPEATS    10
#define QUADRUPLES 10
#define CASES_MAX  32
#define RIVALS_MAX 8
#define CONFIDENCE 0.95

static char our_path[PATH_MAX];
static const struct contender ours = {"hmalloc", our_path, NULL};
static const struct contender all_rivals[] = {
    {"glibc", "", NULL},
    {"jemalloc", "libjemalloc.so.2", NULL},
    {"tcmalloc", "libtcmalloc_minimal.so.4", NULL},
    {"mimalloc", "libmimalloc.so.2.0", NULL},
    {"mimalloc, no THP", "libmimalloc.so.2.0", "MIMALLOC_ALLOW_THP=0"},
    {"tbb", "libtbbmalloc_proxy.so.2", NULL},
};

static const struct contender *rivals[RIVALS_MAX];
static unsigned rivals_count;
static struct report *report;

/* ln(hmalloc / rival) of time, and of peak memory, by case and rival. */
static struct stats_estimate times[CASES_MAX][RIVALS_MAX];
static double peaks[CASES_MAX][RIVALS_MAX];

static void find_ours(void)
{
    const ssize_t n = readlink("/proc/self/exe", our_path, sizeof our_path - 32);
    our_path[n > 0 ? n : 0] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(our_path, '/');
        if (slash)
            *slash = '\0';
    }
    const size_t length = strlen(our_path);
    snprintf(our_path + length, sizeof our_path - length, "/lib/libhmalloc.so");
}

/* One quadruple: ours, rival, rival, ours, or the other way round. */
static double quadruple(const struct process *us, const struct process *them, bool us_first,
                        double *ret_ns)
{
    const struct process *order[4] = {us, them, them, us};
    double ns[4], sums[2] = {0, 0};
    for (int i = 0; i < 4; i++) {
        const struct process *p = us_first ? order[i] : order[i] == us ? them : us;
        if (!process_slice(p, &ns[i]))
            report_fail(report, "a worker died");
        sums[p == them] += ns[i];
    }
    *ret_ns = sums[0] / 2;
    return log(sums[0] / sums[1]);
}

/* One ring. Returns its estimate. */
static double ring(unsigned index, const struct contender *rival, double *ret_ns, double *ret_peak)
{
    struct process us, them;
    double ratios[QUADRUPLES], ns[QUADRUPLES], estimate, peak_us, peak_them;
    if (!process_start(&ours, "steady", index, &us))
        report_fail(report, "hmalloc: %s does not start", steady_cases[index].name);
    if (!process_start(rival, "steady", index, &them))
        report_fail(report, "%s: %s does not start", rival->name, steady_cases[index].name);
    for (int i = 0; i < QUADRUPLES; i++)
        ratios[i] = quadruple(&us, &them, i % 2 == 0, &ns[i]);
    if (!process_end(&us, &peak_us) || !process_end(&them, &peak_them))
        report_fail(report, "a worker failed at its end: %s", steady_cases[index].name);
    (void)stats_median(ratios, QUADRUPLES, &estimate);
    (void)stats_median(ns, QUADRUPLES, ret_ns);
    *ret_peak = log(peak_us / peak_them);
    return estimate;
}

static double compare(unsigned index, unsigned r)
{
    double estimates[REPEATS], ns[REPEATS], peak[REPEATS], median_ns;
    for (int i = 0; i < REPEATS; i++)
        estimates[i] = ring(index, rivals[r], &ns[i], &peak[i]);
    (void)stats_hodges_lehmann(estimates, REPEATS, CONFIDENCE, &times[index][r]);
    (void)stats_median(ns, REPEATS, &median_ns);
    (void)stats_median(peak, REPEATS, &peaks[index][r]);
    return median_ns;
}

static unsigned steady(void)
{
    unsigned index = 0;
    for (; steady_cases[index].name; index++)
        for (unsigned r = 0; r < rivals_count; r++) {
            char what[96];
            const double ns = compare(index, r);
            const struct stats_estimate *t = &times[index][r];
            snprintf(what, sizeof what, "%s: time / %s (%.1f ns)", steady_cases[index].name,
                     rivals[r]->name, ns);
            report_value(report, &(struct report_value){what, "x", "95% interval", exp(t->value),
                                                        exp(t->low), exp(t->high)});
        }
    return index;
}

/* ---- what the cases say together ---- */

static double mean_ratio(unsigned cases, unsigned r, bool of_time)
{
    double sum = 0;
    for (unsigned i = 0; i < cases; i++)
        sum += of_time ? times[i][r].value : peaks[i][r];
    return exp(sum / cases);
}

/* The best rival of a case is the one we are slowest against. */
static const struct stats_estimate *hardest(unsigned index, unsigned *ret_r)
{
    const struct stats_estimate *worst = &times[index][0];
    *ret_r = 0;
    for (unsigned r = 1; r < rivals_count; r++)
        if (times[index][r].value > worst->value) {
            worst = &times[index][r];
            *ret_r = r;
        }
    return worst;
}

static void judge(unsigned cases)
{
    double best_time = 0, best_peak = 0, oracle = 0, worst_low = -INFINITY;
    char what[128], worst_name[64] = "";
    for (unsigned r = 0; r < rivals_count; r++) {
        const double t = mean_ratio(cases, r, true), m = mean_ratio(cases, r, false);
        report_say(report, "  geometric mean against %-18s time %.3f, peak memory %.3f",
                   rivals[r]->name, t, m);
        best_time = fmax(best_time, t);
        best_peak = fmax(best_peak, m);
    }
    for (unsigned i = 0; i < cases; i++) {
        unsigned r;
        const struct stats_estimate *t = hardest(i, &r);
        oracle += t->value;
        if (exp(t->low) > 1.10)
            report_say(report, "  behind: %s, %.2f x %s", steady_cases[i].name, exp(t->value),
                       rivals[r]->name);
        if (t->low > worst_low) {
            worst_low = t->low;
            snprintf(worst_name, sizeof worst_name, "%s against %s", steady_cases[i].name,
                     rivals[r]->name);
        }
    }
    report_target(report, "geometric mean of time / best single rival's", best_time, "<=", 0.80);
    report_target(report, "geometric mean of time / best rival's of each case", exp(oracle / cases),
                  "<=", 1.00);
    snprintf(what, sizeof what, "worst case, better end of its interval (%s)", worst_name);
    report_target(report, what, exp(worst_low), "<=", 1.10);
    report_target(report, "geometric mean of peak memory / best rival's", best_peak, "<=", 1.00);
}

/* ---- one-shot ---- */

#define FIGURES_MAX 16

struct figure {
    char name[64];
    double values[RIVALS_MAX + 1][REPEATS]; /* hmalloc first */
};
static struct figure figures[FIGURES_MAX];
static unsigned figures_count;

static struct figure *figure_find(const char *name)
{
    for (unsigned i = 0; i < figures_count; i++)
        if (strcmp(figures[i].name, name) == 0)
            return &figures[i];
    if (figures_count == FIGURES_MAX)
        report_fail(report, "more figures than expected");
    snprintf(figures[figures_count].name, sizeof figures[0].name, "%.63s", name);
    return &figures[figures_count++];
}

static void run_once(const struct contender *c, unsigned who, unsigned index, int repeat)
{
    struct process p;
    char line[256];
    if (!process_start(c, "once", index, &p))
        report_fail(report, "%s: %s does not start", c->name, once_cases[index].name);
    FILE *out = fdopen(p.from, "re");
    while (out && fgets(line, sizeof line, out)) {
        char *tab = strchr(line, '\t');
        if (tab) {
            *tab = '\0';
            figure_find(line)->values[who][repeat] = strtod(tab + 1, NULL);
        } else {
            report_fail(report, "%s: \"%s\" is no figure", once_cases[index].name, line);
        }
    }
    p.from = dup(p.from);
    if (out)
        (void)fclose(out);
    if (!process_end(&p, NULL))
        report_fail(report, "%s: %s failed", c->name, once_cases[index].name);
}

static double figure_report(struct figure *f, unsigned who, const char *name)
{
    char what[128];
    struct report_value v = {.what = what, .unit = "", .spread = "min-max of runs"};
    snprintf(what, sizeof what, "%s: %s", f->name, name);
    report_spread(f->values[who], REPEATS, &v);
    report_value(report, &v);
    return v.median;
}

static void once(void)
{
    for (unsigned index = 0; once_cases[index].name; index++)
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            run_once(&ours, 0, index, repeat);
            for (unsigned r = 0; r < rivals_count; r++)
                run_once(rivals[r], r + 1, index, repeat);
        }
    static const struct {
        const char *name;
        double bound;
    } bounds[] = {
        {"RSS/live, full", 1.07},    {"RSS/live, 90% freed", 6.5},
        {"RSS/live, refilled", 1.3}, {"MiB left 2 s after all was freed, idle", 2},
        {"KiB per thread", 64},
    };
    for (unsigned i = 0; i < figures_count; i++) {
        const double ours_median = figure_report(&figures[i], 0, "hmalloc");
        double glibc = NAN;
        for (unsigned r = 0; r < rivals_count; r++) {
            const double median = figure_report(&figures[i], r + 1, rivals[r]->name);
            if (!rivals[r]->library[0])
                glibc = median;
        }
        for (unsigned b = 0; b < sizeof bounds / sizeof bounds[0]; b++)
            if (strcmp(bounds[b].name, figures[i].name) == 0)
                report_target(report, bounds[b].name, ours_median, "<=", bounds[b].bound);
        if (strcmp(figures[i].name, "KiB resident, trivial program") == 0)
            report_target(report, "KiB of a trivial program over glibc's", ours_median - glibc,
                          "<=", 300);
    }
}

int main(int argc, char **argv)
{
    report = report_new("hmalloc", argc, argv);
    find_ours();
    if (!contender_exists(&ours))
        report_fail(report, "%s cannot be loaded", our_path);
    for (unsigned i = 0; i < sizeof all_rivals / sizeof all_rivals[0]; i++)
        if (contender_exists(&all_rivals[i]))
            rivals[rivals_count++] = &all_rivals[i];
        else
            report_say(report, "  not installed, left out: %s", all_rivals[i].name);
    report_say(report,
               "%d rings of hmalloc and one rival for each case, %d quadruples of slices each; "
               "below 1 hmalloc is faster",
               REPEATS, QUADRUPLES);
    judge(steady());
    once();
    return report_end(report);
}
