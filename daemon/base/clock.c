#include "daemon/base/clock.h"

#include <stdio.h>

void clock_format_utc(int64_t realtime_us, char buf[32])
{
    time_t seconds = (time_t)(realtime_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char date[24];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf, 32, "%s.%03dZ", date, (int)(realtime_us / 1000 % 1000));
}
