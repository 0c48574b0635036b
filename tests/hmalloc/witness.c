/* Preloaded beside an allocator: writes down, in every process of a tree, whose malloc is really in
 * use and what hmalloc says of itself at exit. Lines are appended to the file HM_WITNESS names:
 *
 *   begin PID PROGRAM MALLOC                       (hmalloc, another or unknown)
 *   end PID PROGRAM MAPPED HEAPS FAULTS CHECK      (not by processes that end by _exit or exec)
 *
 * programs.py reads them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allocators/hmalloc/hmalloc.h"

#define BLOCK 100000

static void append(const char *line, int length, size_t room)
{
    const char *path = getenv("HM_WITNESS");
    if (!path || length < 0 || (size_t)length >= room)
        return;
    const int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, line, (size_t)length) != length)
        (void)write(STDERR_FILENO, "witness: cannot write\n", 22);
    (void)close(fd);
}

static char program[64]; /* a copy: servers write their state over argv */

typedef void (*stats_get)(struct hmalloc_stats *);

/* Addresses prove little (a program may take malloc's as its own PLT's): what counts is whether
 * hmalloc's figures move with a block. */
static const char *malloc_library(void)
{
    struct hmalloc_stats before, after;
    const stats_get get = (stats_get)dlsym(RTLD_DEFAULT, "hmalloc_stats_get");
    if (!get)
        return "unknown";
    get(&before);
    void *block = malloc(BLOCK);
    get(&after);
    free(block);
    return after.large - before.large >= BLOCK ? "hmalloc" : "another";
}

__attribute__((constructor)) static void begin(void)
{
    char line[512];
    const int saved = errno;
    (void)snprintf(program, sizeof program, "%s", program_invocation_short_name);
    append(line,
           snprintf(line, sizeof line, "begin %d %s %s\n", getpid(), program, malloc_library()),
           sizeof line);
    errno = saved;
}

__attribute__((destructor)) static void end(void)
{
    char line[512];
    struct hmalloc_stats stats;
    const stats_get get = (stats_get)dlsym(RTLD_DEFAULT, "hmalloc_stats_get");
    int (*check)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "hmalloc_check");
    if (!get || !check)
        return;
    get(&stats);
    append(line,
           snprintf(line, sizeof line, "end %d %s %zu %llu %llu %d\n", getpid(), program,
                    stats.mapped, (unsigned long long)stats.heaps_count,
                    (unsigned long long)stats.faults_count, check()),
           sizeof line);
}
