/* The terminal: how wide, whether to colour, and text that cannot command it. */
#ifndef HEAPMARK_DAEMON_CLI_TERM_H
#define HEAPMARK_DAEMON_CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum term_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD, STYLE_COUNT_ };

/* Once, at start: `when` is --color's value or NULL. */
void term_setup(const char *when);
bool term_is_terminal(FILE *f);
/* Columns of standard output's terminal, or $COLUMNS, or 0: no limit. */
unsigned term_columns(void);
/* Escape sequences, "" where the file gets no colour. */
const char *term_begin(FILE *f, enum term_style style);
const char *term_end(FILE *f, enum term_style style);

/* Copy with control characters (also C1, as UTF-8) replaced, cut at whole characters. */
void term_clean(char *dst, size_t dst_size, const char *src);
/* Columns a UTF-8 text takes, one for each character. */
size_t term_width(const char *text);

#endif
