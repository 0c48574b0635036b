/* field [--any] [NUMBER ...]: the field complaints as tests, one case per number, one process per
 * case. Under LD_PRELOAD=libhmalloc.so; with --any whatever malloc is there, to see a rival's
 * figures by hand:
 *
 *   LD_PRELOAD=libjemalloc.so.2 build/release/tests/field --any
 *
 * Exit status: 0, or 1 when a figure missed its bound. */
#include "field.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct field_case *running;
static bool failed;

/* ---- figures ---- */

static void report(const char *what, size_t figure, const char *word, size_t bound,
                   const char *unit, bool fine)
{
    failed = failed || !fine;
    printf("%u. %s: %s %zu%s%s, %s %zu%s%s%s\n", running->number, running->title, what, figure,
           *unit ? " " : "", unit, word, bound, *unit ? " " : "", unit, fine ? "" : " MISSED");
    (void)fflush(stdout);
}

void field_most(const char *what, size_t figure, size_t bound, const char *unit)
{
    report(what, figure, "bound", bound, unit, figure <= bound);
}

void field_least(const char *what, size_t figure, size_t bound, const char *unit)
{
    report(what, figure, "at least", bound, unit, figure >= bound);
}

void field_most_mib(const char *what, size_t bytes, size_t bound)
{
    report(what, (bytes + MIB(1) - 1) >> 20, "bound", bound >> 20, "MiB", bytes <= bound);
}

void field_die(const char *what)
{
    fprintf(stderr, "field: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ---- what the kernel says ---- */

/* All of a file of /proc, in steps; on_line gets each line. */
static void each_line(const char *path, void (*on_line)(const char *line, void *data), void *data)
{
    static _Thread_local char buffer[8192];
    size_t held = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        field_die(path);
    ssize_t n;
    while ((n = read(fd, buffer + held, sizeof buffer - 1 - held)) > 0) {
        held += (size_t)n;
        buffer[held] = '\0';
        char *line = buffer, *end;
        while ((end = strchr(line, '\n'))) {
            *end = '\0';
            on_line(line, data);
            line = end + 1;
        }
        held = (size_t)(buffer + held - line);
        memmove(buffer, line, held);
    }
    (void)close(fd);
}

struct search {
    const char *key;
    size_t found;
};

static void find_key(const char *line, void *data)
{
    struct search *s = data;
    if (strncmp(line, s->key, strlen(s->key)) == 0)
        s->found = strtoul(line + strlen(s->key), NULL, 10) << 10;
}

static void find_text(const char *line, void *data)
{
    struct search *s = data;
    s->found += strstr(line, s->key) != NULL;
}

size_t field_rollup(const char *key)
{
    struct search s = {key, 0};
    each_line("/proc/self/smaps_rollup", find_key, &s);
    return s.found;
}

size_t field_lines_with(const char *path, const char *text)
{
    struct search s = {text, 0};
    each_line(path, find_text, &s);
    return s.found;
}

struct huge_sums {
    size_t size, rss; /* of the mapping being read */
    size_t missing;
};

static void find_huge(const char *line, void *data)
{
    struct huge_sums *s = data;
    if (strncmp(line, "Size:", 5) == 0)
        s->size = strtoul(line + 5, NULL, 10) << 10;
    else if (strncmp(line, "Rss:", 4) == 0)
        s->rss = strtoul(line + 4, NULL, 10) << 10;
    else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " hg"))
        s->missing += s->size - s->rss;
}

size_t field_huge_missing(void)
{
    struct huge_sums s = {0};
    each_line("/proc/self/smaps", find_huge, &s);
    return s.missing;
}

size_t field_rss(void)
{
    return field_rollup("Rss:");
}

size_t field_rss_over(size_t before)
{
    const size_t now = field_rss();
    return now > before ? now - before : 0;
}

size_t field_faults(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_minflt;
}

void field_sleep_ms(unsigned ms)
{
    struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/* ---- blocks ---- */

void *field_pages(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        field_die("mmap");
    return p;
}

void *field_block(size_t size)
{
    void *block = malloc(size);
    if (!block)
        field_die("malloc");
    memset(block, 0xa5, size);
    return block;
}

size_t field_fill(void **blocks, size_t room, size_t bytes, size_t smallest, size_t largest)
{
    uint64_t state = bytes ^ (smallest << 20) ^ largest ^ 0x9e3779b97f4a7c15u;
    size_t count = 0, out = 0;
    while (count < room && out < bytes) {
        const size_t size = smallest + field_random(&state) % (largest - smallest + 1);
        blocks[count++] = field_block(size);
        out += size;
    }
    return count;
}

void field_free_all(void **blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

/* ---- other processes ---- */

const char *field_library(void)
{
    Dl_info info;
    void *symbol = dlsym(RTLD_DEFAULT, "malloc");
    if (!symbol || dladdr(symbol, &info) == 0)
        field_die("dladdr");
    return info.dli_fname;
}

int field_wait(int pid, unsigned seconds)
{
    int status;
    for (unsigned i = 0; i < seconds * 500; i++) {
        const int done = waitpid(pid, &status, WNOHANG);
        if (done == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        if (done < 0)
            field_die("waitpid");
        field_sleep_ms(2);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return 2000;
}

int field_spawn(unsigned number, const char *argument, bool preload, size_t address_space)
{
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%u", number);
    (void)fflush(NULL);
    const int pid = fork();
    if (pid < 0)
        field_die("fork");
    if (pid == 0) {
        const struct rlimit limit = {address_space, address_space};
        if (!preload)
            (void)unsetenv("LD_PRELOAD");
        if (address_space > 0 && setrlimit(RLIMIT_AS, &limit) < 0)
            _exit(120);
        execl("/proc/self/exe", "field", "--child", digits, argument, (char *)NULL);
        _exit(121);
    }
    return field_wait(pid, 60);
}

/* ---- the table ---- */

static const struct field_case *find_case(unsigned number)
{
    const struct field_case *const tables[] = {field_threads, field_memory, field_process};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct field_case *c = tables[i]; c->number > 0; c++)
            if (c->number == number)
                return c;
    return NULL;
}

/* In a process of its own, so that no case sees another's memory. */
static int run_apart(unsigned number)
{
    running = find_case(number);
    (void)fflush(NULL);
    const int pid = fork();
    if (pid < 0)
        field_die("fork");
    if (pid == 0) {
        running->run();
        exit(failed ? 1 : 0);
    }
    const int status = field_wait(pid, 300);
    if (status > 1)
        printf("%u. %s: %s %d MISSED\n", number, running->title,
               status >= 1000 ? "ended by signal" : "ended with status", status % 1000);
    return status;
}

int main(int argc, char **argv)
{
    int at = 1;
    bool missed = false;
    if (argc > 3 && strcmp(argv[1], "--child") == 0) {
        running = find_case((unsigned)strtoul(argv[2], NULL, 10));
        return running && running->child ? running->child(argc - 3, argv + 3) : 122;
    }
    if (argc > 1 && strcmp(argv[1], "--any") == 0)
        at++;
    else if (!dlsym(RTLD_DEFAULT, "hmalloc_version"))
        field_die("hmalloc is not preloaded (--any: whatever there is)");
    printf("malloc of %s\n", field_library());
    for (unsigned number = 1; at == argc && find_case(number); number++)
        missed = run_apart(number) != 0 || missed;
    for (; at < argc; at++) {
        const unsigned number = (unsigned)strtoul(argv[at], NULL, 10);
        if (!find_case(number))
            field_die("no such case");
        missed = run_apart(number) != 0 || missed;
    }
    return missed ? 1 : 0;
}
