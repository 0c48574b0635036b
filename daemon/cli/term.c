#include "daemon/cli/term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color; /* set once by term_setup */

void term_setup(const char *when)
{
    const char *no_color = getenv("NO_COLOR");
    if (when && strcmp(when, "always") == 0)
        color = COLOR_ALWAYS;
    else if (when && strcmp(when, "never") == 0)
        color = COLOR_NEVER;
    else
        color = no_color && no_color[0] ? COLOR_NEVER : COLOR_AUTO;
}

bool term_is_terminal(FILE *f)
{
    return isatty(fileno(f)) == 1;
}

unsigned term_columns(void)
{
    struct winsize size;
    const char *text = getenv("COLUMNS");
    unsigned long given = text ? strtoul(text, NULL, 10) : 0;
    if (given >= 20 && given <= 10000)
        return (unsigned)given;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 0;
}

static bool has_color(FILE *f)
{
    return color == COLOR_ALWAYS || (color == COLOR_AUTO && term_is_terminal(f));
}

const char *term_begin(FILE *f, enum term_style style)
{
    static const char *const codes[STYLE_COUNT_] = {
        [STYLE_PLAIN] = "",          [STYLE_BOLD] = "\033[1m", [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[1;32m", [STYLE_BAD] = "\033[31m",
    };
    return has_color(f) ? codes[style] : "";
}

const char *term_end(FILE *f, enum term_style style)
{
    return style != STYLE_PLAIN && has_color(f) ? "\033[0m" : "";
}

/* Bytes of the character at s, by its first byte; 1 for what is not UTF-8. */
static size_t character_bytes(const unsigned char *s)
{
    size_t n = s[0] < 0xc2 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 1;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

void term_clean(char *dst, size_t dst_size, const char *src)
{
    const unsigned char *s = (const unsigned char *)src;
    size_t used = 0;
    while (*s) {
        size_t n = character_bytes(s);
        bool bad = n == 1 ? *s < 0x20 || *s >= 0x7f : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;
        if (used + (bad ? 1 : n) >= dst_size)
            break;
        if (bad)
            dst[used++] = '?';
        else
            memcpy(dst + used, s, n), used += n;
        s += n;
    }
    dst[used] = '\0';
}

size_t term_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}
