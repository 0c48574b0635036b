/* Numbers for people. */
#ifndef HEAPMARK_DAEMON_CLI_FORMAT_H
#define HEAPMARK_DAEMON_CLI_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define FORMAT_SIZE 48

/* A value in its metric's unit with three significant digits: "12.3 M/s", "215 ns", "64.0 MiB",
 * "17.4 %". "–" for NaN. */
void format_value(double value, const char *unit, char buf[FORMAT_SIZE]);
/* The scale a column of values shares: divide by it, and say its name in the header. */
struct format_scale {
    double divisor;
    const char *unit;
};
struct format_scale format_scale_for(double largest, const char *unit);
/* Three significant digits, no exponent: "0.123", "12.3", "1234". */
void format_number(double value, char buf[FORMAT_SIZE]);
/* How an interval is written: relative "12.3 ±2%", absolute "12.3 [11.9–12.6]", or in percentage
 * points "12.3 ±0.4 pp", for a value that is a percentage itself. */
enum format_form { FORMAT_PERCENT, FORMAT_RANGE, FORMAT_POINTS };
/* Without an interval the number alone. */
void format_interval(double value, double low, double high, enum format_form form,
                     char buf[FORMAT_SIZE]);
/* "45 s", "2:05", "1:02:03" */
void format_duration(double seconds, char buf[FORMAT_SIZE]);

#endif
