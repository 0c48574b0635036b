#include "daemon/cli/sse.h"

#include <stdio.h>
#include <string.h>

static void event_reset(struct sse *s)
{
    s->data_length = 0;
    s->has_data = s->broken = false;
    s->event[0] = '\0';
}

void sse_restart(struct sse *s)
{
    s->line_length = 0;
    s->line_long = s->after_cr = false;
    event_reset(s);
}

static bool event_dispatch(struct sse *s)
{
    bool go_on = true;
    if (s->has_data && !s->broken) {
        s->data[s->data_length] = '\0';
        go_on = s->handler(s->ctx, s->event[0] ? s->event : "message", s->data, s->id);
    }
    event_reset(s);
    return go_on;
}

static void data_add(struct sse *s, const char *value)
{
    size_t length = strlen(value);
    if (s->data_length + length + 2 > sizeof s->data) {
        s->broken = true;
        return;
    }
    if (s->has_data)
        s->data[s->data_length++] = '\n';
    memcpy(s->data + s->data_length, value, length);
    s->data_length += length;
    s->has_data = true;
}

static void field_take(struct sse *s, const char *name, const char *value)
{
    if (strcmp(name, "data") == 0)
        data_add(s, value);
    else if (strcmp(name, "event") == 0 && strlen(value) < sizeof s->event)
        snprintf(s->event, sizeof s->event, "%s", value);
    else if (strcmp(name, "id") == 0 && strlen(value) < sizeof s->id)
        snprintf(s->id, sizeof s->id, "%s", value);
}

static bool line_end(struct sse *s)
{
    bool was_long = s->line_long;
    s->line[s->line_length] = '\0';
    size_t length = s->line_length;
    s->line_length = 0;
    s->line_long = false;
    if (was_long) {
        s->broken = true;
        return true;
    }
    if (length == 0)
        return event_dispatch(s);
    if (s->line[0] == ':')
        return true;
    char *colon = strchr(s->line, ':');
    const char *value = "";
    if (colon) {
        *colon = '\0';
        value = colon + 1 + (colon[1] == ' ');
    }
    field_take(s, s->line, value);
    return true;
}

bool sse_feed(struct sse *s, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char c = bytes[i];
        bool second = s->after_cr && c == '\n'; /* CR LF is one end of line */
        s->after_cr = c == '\r';
        if (second)
            continue;
        if (c == '\n' || c == '\r') {
            if (!line_end(s))
                return false;
        } else if (s->line_length + 1 < sizeof s->line) {
            s->line[s->line_length++] = c;
        } else {
            s->line_long = true;
        }
    }
    return true;
}
