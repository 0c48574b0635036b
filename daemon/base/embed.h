/* Files built into the program by heapmark_embed() (cmake/HeapmarkEmbed.cmake). */
#ifndef HEAPMARK_BASE_EMBED_H
#define HEAPMARK_BASE_EMBED_H

#include <stddef.h>
#include <string.h>

struct embedded_file {
    const char *name;                 /* relative path; NULL ends a table */
    const unsigned char *begin, *end; /* a NUL byte follows end, so text can be used in place */
};

static inline size_t embedded_size(const struct embedded_file *file)
{
    return (size_t)(file->end - file->begin);
}

static inline const struct embedded_file *embedded_find(const struct embedded_file *table,
                                                        const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

#endif
