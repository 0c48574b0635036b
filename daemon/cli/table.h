/* Tables on standard output: a title, one or two header lines, rows, columns as wide as needed. A
 * table wider than the terminal is cut into parts that repeat the first column. */
#ifndef HEAPMARK_DAEMON_CLI_TABLE_H
#define HEAPMARK_DAEMON_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/base/cleanup.h"
#include "daemon/cli/term.h"

#define TABLE_COLUMNS_MAX 24
#define TABLE_CELL_SIZE   96

struct table;

struct table *table_new(void); /* aborts when out of memory, as all of this file */
void table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)

/* Returns the column's index. `second` is the second header line, "" if none. Numbers stand
 * right. */
unsigned table_column(struct table *table, const char *first, const char *second, bool right);
/* Columns that are there. */
unsigned table_columns(const struct table *table);
/* Begin a row; its cells are empty. */
void table_row(struct table *table);
void table_cell(struct table *table, unsigned column, enum term_style style, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
unsigned table_width(const struct table *table);
/* columns 0: no limit. */
void table_print(const struct table *table, FILE *out, unsigned columns);

#endif
