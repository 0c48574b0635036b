/* An allocator that attacks the ring from inside the runner: it tries to get write access to
 * every shared mapping and descriptor that is not the runner's own page, and to map its own page
 * writable again. It says on stderr what worked. Its malloc works, so the trial goes on. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

static unsigned attempts;

static void report(int won, const char *how, const char *where)
{
    attempts++;
    if (won)
        fprintf(stderr, "INTRUDED %s %s\n", how, where);
}

/* A new writable mapping of what /proc says is mapped there, own page included. */
static void attack_file(unsigned long start, unsigned long end, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", start, end);
    int fd = open(path, O_RDWR);
    report(fd >= 0 && mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED,
           "map again", name);
    if (fd < 0)
        return;
    report(pwrite(fd, "x", 1, 0) == 1, "write to", name);
    report(ftruncate(fd, 0) == 0, "truncate", name);
    close(fd);
}

static void attack_mappings(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        char *at, *name = strstr(line, "/memfd:");
        const unsigned long start = strtoul(line, &at, 16), end = strtoul(at + 1, &at, 16);
        if (!name)
            continue;
        name[strcspn(name, "\n")] = '\0';
        if (at[2] == '-') /* " rw-s": not writable */
            report(mprotect((void *)start, end - start, PROT_READ | PROT_WRITE) == 0, "mprotect",
                   name);
        attack_file(start, end, name);
    }
    if (maps)
        fclose(maps);
}

static void attack_descriptors(void)
{
    char path[64], target[256];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (strncmp(target, "/memfd:", 7) != 0)
            continue;
        report(pwrite(fd, "x", 1, 0) == 1, "write to", target);
        int again = open(path, O_RDWR);
        report(again >= 0 && pwrite(again, "x", 1, 0) == 1, "reopen and write to", target);
        report(again >= 0 &&
                   mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED,
               "reopen and map", target);
    }
}

static __attribute__((constructor)) void attack(void)
{
    attack_mappings();
    attack_descriptors();
    fprintf(stderr, "attempts: %u\n", attempts);
}

EXPORT void *malloc(size_t size)
{
    return __libc_malloc(size);
}

EXPORT void free(void *block)
{
    __libc_free(block);
}
