/* Loading and modes; see probe.h. */
#include "tests/allocator/probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECONDS_MAX 60 /* a probe that hangs dies by SIGALRM */

static const struct mode {
    const char *name;
    const char *(*run)(struct probe *p, const char *arg);
} modes[] = {
    {"api", probe_api},         {"stream", probe_stream},     {"fork", probe_fork},
    {"threads", probe_threads}, {"enomem", probe_enomem},     {"adapter", probe_adapter},
    {"misuse", probe_misuse},   {"identity", probe_identity}, {"pages", probe_pages},
};

void *probe_symbol(struct probe *p, const char *name)
{
    void *symbol = dlsym(p->dl, name);
    if (!symbol) {
        fprintf(stderr, "probe: %s\n", dlerror());
        exit(2);
    }
    return symbol;
}

static void *optional_symbol(struct probe *p, const char *name)
{
    return *name ? probe_symbol(p, name) : NULL;
}

/* The file every resolved symbol lives in is the one asked for. */
static bool lives_in(const void *symbol, const char *device_inode)
{
    Dl_info info;
    struct stat st;
    char text[64];
    if (!symbol)
        return true;
    if (!dladdr(symbol, &info) || stat(info.dli_fname, &st) < 0)
        return false;
    snprintf(text, sizeof text, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    return strcmp(text, device_inode) == 0;
}

const char *probe_identity(struct probe *p, const char *arg)
{
    EXPECT(lives_in((void *)p->malloc, arg));
    EXPECT(lives_in((void *)p->free, arg));
    EXPECT(lives_in((void *)p->calloc, arg));
    EXPECT(lives_in((void *)p->realloc, arg));
    EXPECT(lives_in((void *)p->aligned_alloc, arg));
    EXPECT(lives_in((void *)p->usable_size, arg));
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 11) {
        fprintf(stderr, "probe: too few arguments\n");
        return 2;
    }
    alarm(SECONDS_MAX);
    struct probe p = {.adapter = argv[3], .flags = (uint32_t)strtoul(argv[4], NULL, 10)};
    p.dl = strcmp(argv[2], "libc") == 0 ? dlopen(NULL, RTLD_NOW)
                                        : dlopen(argv[2], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!p.dl) {
        fprintf(stderr, "probe: %s\n", dlerror());
        return 2;
    }
    p.malloc = (void *(*)(size_t))probe_symbol(&p, argv[5]);
    p.free = (void (*)(void *))probe_symbol(&p, argv[6]);
    p.calloc = (void *(*)(size_t, size_t))optional_symbol(&p, argv[7]);
    p.realloc = (void *(*)(void *, size_t))optional_symbol(&p, argv[8]);
    p.aligned_alloc = (void *(*)(size_t, size_t))optional_symbol(&p, argv[9]);
    p.usable_size = (size_t(*)(void *))optional_symbol(&p, argv[10]);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, argv[1]) != 0)
            continue;
        const char *failed = modes[i].run(&p, argc > 11 ? argv[11] : "");
        if (failed)
            fprintf(stderr, "probe %s: expected %s\n", argv[1], failed);
        fflush(NULL);
        _exit(failed ? 1 : 0); /* allocators' exit handlers are not what is tested */
    }
    fprintf(stderr, "probe: no mode %s\n", argv[1]);
    return 2;
}
