/* Shared by the files of this directory only. */
#ifndef HEAPMARK_DAEMON_CONFIG_INTERNAL_H
#define HEAPMARK_DAEMON_CONFIG_INTERNAL_H

#include "daemon/config/config.h"

/* The address of a setting's value inside *c, typed by the row. */
static inline void *config_slot(struct config *c, const struct config_setting *row)
{
    return (char *)c + row->offset;
}

static inline const void *config_slot_const(const struct config *c,
                                            const struct config_setting *row)
{
    return (const char *)c + row->offset;
}

/* Text to value, checked; *c untouched on failure. The message has no place in front. */
int config_value_set(struct config *c, const struct config_setting *row, const char *text,
                     struct err *e);
/* The value as a file would write it. */
void config_value_format(const struct config *c, const struct config_setting *row, char *buf,
                         size_t buf_size);

const struct config_setting *config_setting_find(const char *section, const char *key);

#endif
