#include "daemon/cli/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct scale_row {
    const char *unit; /* of the metric */
    double from, divisor;
    const char *name;
};

/* The first row whose `from` the largest value reaches. */
static const struct scale_row scales[] = {
    {"pairs/s", 1e9, 1e9, "G pairs/s"},
    {"pairs/s", 1e6, 1e6, "M pairs/s"},
    {"pairs/s", 1e3, 1e3, "k pairs/s"},
    {"ns", 1e9, 1e9, "s"},
    {"ns", 1e6, 1e6, "ms"},
    {"ns", 1e4, 1e3, "\xc2\xb5s"},
    {"us", 1e6, 1e6, "s"},
    {"us", 1e4, 1e3, "ms"},
    {"bytes", 0x1p30, 0x1p30, "GiB"},
    {"bytes", 0x1p20, 0x1p20, "MiB"},
    {"bytes", 0x1p10, 0x1p10, "KiB"},
};

struct format_scale format_scale_for(double largest, const char *unit)
{
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
        if (strcmp(scales[i].unit, unit) == 0 && fabs(largest) >= scales[i].from)
            return (struct format_scale){scales[i].divisor, scales[i].name};
    if (strcmp(unit, "bytes") == 0)
        return (struct format_scale){1, "B"};
    return (struct format_scale){1, unit};
}

void format_number(double value, char buf[FORMAT_SIZE])
{
    double size = fabs(value);
    if (!isfinite(value))
        snprintf(buf, FORMAT_SIZE, "\xe2\x80\x93");
    else if (size >= 99.95)
        snprintf(buf, FORMAT_SIZE, "%.0f", value);
    else if (size >= 9.995)
        snprintf(buf, FORMAT_SIZE, "%.1f", value);
    else if (size >= 0.9995 || value == 0)
        snprintf(buf, FORMAT_SIZE, "%.2f", value);
    else
        snprintf(buf, FORMAT_SIZE, "%.3f", value);
}

void format_value(double value, const char *unit, char buf[FORMAT_SIZE])
{
    char number[FORMAT_SIZE];
    struct format_scale scale = format_scale_for(value, unit);
    format_number(value / scale.divisor, number);
    if (strcmp(scale.unit, "B") == 0 && isfinite(value))
        snprintf(number, sizeof number, "%.0f", value); /* whole by nature */
    if (!isfinite(value) || !scale.unit[0] || strcmp(scale.unit, "ratio") == 0)
        snprintf(buf, FORMAT_SIZE, "%s", number);
    else
        snprintf(buf, FORMAT_SIZE, "%.24s %.16s", number, scale.unit);
}

void format_interval(double value, double low, double high, enum format_form form,
                     char buf[FORMAT_SIZE])
{
    char number[FORMAT_SIZE], a[FORMAT_SIZE], b[FORMAT_SIZE];
    format_number(value, number);
    if (!isfinite(value) || !isfinite(low) || !isfinite(high)) {
        snprintf(buf, FORMAT_SIZE, "%s", number);
        return;
    }
    if (form == FORMAT_RANGE) {
        format_number(low, a);
        format_number(high, b);
        snprintf(buf, FORMAT_SIZE, "%.12s [%.12s\xe2\x80\x93%.12s]", number, a, b);
        return;
    }
    double side = value - low > high - value ? value - low : high - value;
    if (form == FORMAT_POINTS) {
        snprintf(buf, FORMAT_SIZE, "%.24s \xc2\xb1%.2f pp", number, side);
        return;
    }
    double percent = value != 0 ? 100 * side / fabs(value) : 0;
    if (percent < 9.95)
        snprintf(buf, FORMAT_SIZE, "%.24s \xc2\xb1%.1f%%", number, percent);
    else
        snprintf(buf, FORMAT_SIZE, "%.24s \xc2\xb1%.0f%%", number, percent);
}

void format_duration(double seconds, char buf[FORMAT_SIZE])
{
    long s = seconds > 0 && seconds < 1e9 ? lround(seconds) : 0;
    if (s < 60)
        snprintf(buf, FORMAT_SIZE, "%ld s", s);
    else if (s < 3600)
        snprintf(buf, FORMAT_SIZE, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(buf, FORMAT_SIZE, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}
