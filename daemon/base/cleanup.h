/* Scope cleanup: a local releases itself; take_ptr/take_fd hand it over. */
#ifndef HEAPMARK_BASE_CLEANUP_H
#define HEAPMARK_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup_(fn) __attribute__((cleanup(fn)))

/* DEFINE_CLEANUP(type *, fn): static inline void fn##_p(type **p), for cleanup_(fn_p). */
#define DEFINE_CLEANUP(type, fn)       \
    static inline void fn##_p(type *p) \
    {                                  \
        if (*p)                        \
            fn(*p);                    \
    }

static inline void free_p(void *p)
{
    free(*(void **)p);
}

static inline void close_p(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)

/* Return the pointer (or fd) and leave NULL (or -1), so the scope no longer owns it. */
#define take_ptr(p)                               \
    ({                                            \
        __typeof__(p) *take_where_ = &(p);        \
        __typeof__(p) take_value_ = *take_where_; \
        *take_where_ = NULL;                      \
        take_value_;                              \
    })

static inline int take_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

#endif
