#include "daemon/cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/cli/format.h"
#include "daemon/cli/term.h"

#define BAR_WIDTH     24
#define LINE_EVERY_NS (10 * NS_PER_S)
#define LINE_SHARE    0.1

void progress_init(struct progress *p, bool quiet)
{
    memset(p, 0, sizeof *p);
    p->quiet = quiet;
    p->is_terminal = term_is_terminal(stderr);
    p->seconds_left = NAN;
}

static void bar_format(const struct progress *p, char *buf, size_t buf_size)
{
    double share = p->steps_total > 0 ? p->steps_done / p->steps_total : 0;
    int full = (int)(BAR_WIDTH * (share < 0 ? 0 : share > 1 ? 1 : share));
    size_t used = 0;
    for (int i = 0; i < BAR_WIDTH && used + 4 < buf_size; i++)
        used += (size_t)snprintf(buf + used, buf_size - used, "%s",
                                 i < full ? "\xe2\x96\x88" : "\xe2\x96\x91");
}

static void text_format(const struct progress *p, char *buf, size_t buf_size)
{
    char left[FORMAT_SIZE] = "";
    double passed = (double)(clock_monotonic_ns() - p->told_ns) / 1e9;
    if (isfinite(p->seconds_left))
        format_duration(p->seconds_left - passed, left);
    int n = 0;
    if (p->steps_total > 0)
        n = snprintf(buf, buf_size, "%.0f/%.0f", p->steps_done, p->steps_total);
    else
        n = snprintf(buf, buf_size, "%s", p->state);
    if (left[0])
        n += snprintf(buf + n, buf_size - (size_t)n, "  %s left", left);
    if (p->what[0])
        n += snprintf(buf + n, buf_size - (size_t)n, "  %s", p->what);
    if (p->steps_failed > 0)
        n += snprintf(buf + n, buf_size - (size_t)n, "  %.0f failed", p->steps_failed);
    if (p->steps_discarded > 0)
        n += snprintf(buf + n, buf_size - (size_t)n, "  %.0f discarded", p->steps_discarded);
    if (p->steps_given_up > 0)
        snprintf(buf + n, buf_size - (size_t)n, "  %.0f given up", p->steps_given_up);
}

/* Cut at the terminal's width: a line that wraps could not be redrawn. */
static void cut(char *text, size_t columns)
{
    size_t width = 0;
    for (char *at = text; *at; at++) {
        bool first = ((unsigned char)*at & 0xc0) != 0x80;
        if (first && ++width >= columns) {
            *at = '\0';
            return;
        }
    }
}

static void draw(struct progress *p)
{
    char bar[4 * BAR_WIDTH + 1] = "", text[320], line[sizeof bar + sizeof text + 8];
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    text_format(p, text, sizeof text);
    if (p->steps_total > 0)
        bar_format(p, bar, sizeof bar);
    snprintf(line, sizeof line, "%s%s%s", bar, bar[0] ? "  " : "", text);
    cut(line, known ? size.ws_col : 80);
    fprintf(stderr, "\r%s\033[K", line);
    p->drawn = true;
}

void progress_show(struct progress *p)
{
    if (p->quiet)
        return;
    if (p->is_terminal) {
        draw(p);
        return;
    }
    uint64_t now = clock_monotonic_ns();
    bool first = p->line_ns == 0;
    bool enough = p->steps_done - p->line_done >= LINE_SHARE * p->steps_total;
    bool late = now - p->line_ns >= LINE_EVERY_NS && p->steps_done > p->line_done;
    if (!first && !(enough && p->steps_done > p->line_done) && !late)
        return;
    char text[320];
    text_format(p, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    p->line_ns = now;
    p->line_done = p->steps_done;
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}
