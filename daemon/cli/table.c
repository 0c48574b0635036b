#include "daemon/cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2

struct cell {
    char text[TABLE_CELL_SIZE];
    enum term_style style;
};

struct column {
    char first[TABLE_CELL_SIZE], second[TABLE_CELL_SIZE];
    bool right;
    unsigned width;
};

struct table {
    struct column columns[TABLE_COLUMNS_MAX];
    unsigned columns_count;
    struct cell *cells; /* rows of TABLE_COLUMNS_MAX */
    unsigned rows_count, rows_capacity;
};

static void *must(void *p)
{
    if (!p) {
        fputs("heapmark: out of memory\n", stderr);
        abort();
    }
    return p;
}

struct table *table_new(void)
{
    return must(calloc(1, sizeof(struct table)));
}

void table_free(struct table *table)
{
    if (table)
        free(table->cells);
    free(table);
}

unsigned table_column(struct table *table, const char *first, const char *second, bool right)
{
    assert(table->columns_count < TABLE_COLUMNS_MAX);
    struct column *c = &table->columns[table->columns_count];
    term_clean(c->first, sizeof c->first, first);
    term_clean(c->second, sizeof c->second, second);
    c->right = right;
    size_t a = term_width(c->first), b = term_width(c->second);
    c->width = (unsigned)(a > b ? a : b);
    return table->columns_count++;
}

unsigned table_columns(const struct table *table)
{
    return table->columns_count;
}

void table_row(struct table *table)
{
    if (table->rows_count == table->rows_capacity) {
        table->rows_capacity = 2 * table->rows_capacity + 8;
        table->cells = must(reallocarray(table->cells, table->rows_capacity,
                                         TABLE_COLUMNS_MAX * sizeof *table->cells));
    }
    memset(&table->cells[table->rows_count * TABLE_COLUMNS_MAX], 0,
           TABLE_COLUMNS_MAX * sizeof *table->cells);
    table->rows_count++;
}

void table_cell(struct table *table, unsigned column, enum term_style style, const char *fmt, ...)
{
    assert(table->rows_count > 0 && column < table->columns_count);
    struct cell *cell = &table->cells[(table->rows_count - 1) * TABLE_COLUMNS_MAX + column];
    char text[4 * TABLE_CELL_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    term_clean(cell->text, sizeof cell->text, text);
    cell->style = style;
    unsigned width = (unsigned)term_width(cell->text);
    if (width > table->columns[column].width)
        table->columns[column].width = width;
}

unsigned table_width(const struct table *table)
{
    unsigned width = 0;
    for (unsigned i = 0; i < table->columns_count; i++)
        width += table->columns[i].width + (i ? GAP : 0);
    return width;
}

/* Columns [from, ret) that fit beside the first one; at least one. */
static unsigned part_end(const struct table *table, unsigned from, unsigned columns)
{
    unsigned width = table->columns[0].width, end = from;
    for (; end < table->columns_count; end++) {
        width += GAP + table->columns[end].width;
        if (columns && width > columns && end > from)
            break;
    }
    return end;
}

static void print_cell(FILE *out, const struct column *column, const char *text,
                       enum term_style style, bool last)
{
    unsigned pad = column->width - (unsigned)term_width(text);
    style = text[0] ? style : STYLE_PLAIN;
    fprintf(out, "%*s%s%s%s%*s", column->right ? (int)pad : 0, "", term_begin(out, style), text,
            term_end(out, style), column->right || last ? 0 : (int)pad, "");
}

/* The first column and [from, end) of one line; text and style by `at`. */
static void print_line(FILE *out, const struct table *table, unsigned from, unsigned end,
                       const struct cell *row, int header)
{
    for (unsigned i = 0; i < end; i = i ? i + 1 : from) {
        const struct column *c = &table->columns[i];
        const char *text = header == 1 ? c->first : header == 2 ? c->second : row[i].text;
        bool last = i + 1 == end || (i == 0 && from >= end);
        if (i)
            fprintf(out, "%*s", GAP, "");
        print_cell(out, c, text, header ? STYLE_BOLD : row[i].style, last);
        if (i == 0 && from >= end)
            break;
    }
    fputc('\n', out);
}

static bool has_second(const struct table *table)
{
    for (unsigned i = 0; i < table->columns_count; i++)
        if (table->columns[i].second[0])
            return true;
    return false;
}

void table_print(const struct table *table, FILE *out, unsigned columns)
{
    unsigned from = 1;
    do {
        unsigned end = part_end(table, from, columns);
        if (from > 1)
            fputc('\n', out);
        print_line(out, table, from, end, NULL, 1);
        if (has_second(table))
            print_line(out, table, from, end, NULL, 2);
        for (unsigned r = 0; r < table->rows_count; r++)
            print_line(out, table, from, end, &table->cells[r * TABLE_COLUMNS_MAX], 0);
        from = end;
    } while (from < table->columns_count);
}
