#include "tests/bench/hmalloc_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void worker_path(char ret[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", ret, PATH_MAX - 16);
    ret[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(ret, '/');
    char *name = slash ? slash + 1 : ret;
    snprintf(name, (size_t)(ret + PATH_MAX - name), "hmalloc_worker");
}

static void child(const struct contender *c, const char *kind, unsigned index, int in, int out)
{
    char path[PATH_MAX], number[16], setting[64];
    worker_path(path);
    snprintf(number, sizeof number, "%u", index);
    (void)dup2(in, STDIN_FILENO);
    (void)dup2(out, STDOUT_FILENO);
    if (c->library[0])
        (void)setenv("LD_PRELOAD", c->library, 1);
    else
        (void)unsetenv("LD_PRELOAD");
    snprintf(setting, sizeof setting, "%s", c->setting ? c->setting : "");
    if (setting[0])
        (void)putenv(setting); /* it stays in place until exec has copied it */
    (void)execl(path, path, kind, number, (char *)NULL);
    _exit(127);
}

/* A library that cannot be preloaded is left out by the loader with a warning: look. */
static bool is_loaded(pid_t pid, const char *library)
{
    char path[64], line[PATH_MAX + 128], real[PATH_MAX];
    const char *name = strrchr(library, '/');
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    if (name && realpath(library, real) && (name = strrchr(real, '/')))
        name++;
    else
        name = library;
    FILE *maps = fopen(path, "re");
    bool found = false;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, name);
    if (maps)
        (void)fclose(maps);
    return found;
}

bool process_start(const struct contender *c, const char *kind, unsigned index, struct process *ret)
{
    int in[2], out[2];
    double ready = 0;
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return false;
    const pid_t pid = fork();
    if (pid == 0)
        child(c, kind, index, in[0], out[1]);
    (void)close(in[0]);
    (void)close(out[1]);
    *ret = (struct process){pid, in[1], out[0]};
    if (pid < 0)
        return false;
    if (strcmp(kind, "once") == 0)
        return true;
    return process_read(ret, &ready) && (!c->library[0] || is_loaded(pid, c->library));
}

bool process_read(const struct process *p, double *ret)
{
    size_t got = 0;
    while (got < sizeof *ret) {
        const ssize_t n = read(p->from, (char *)ret + got, sizeof *ret - got);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return false;
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool process_slice(const struct process *p, double *ret_ns)
{
    return write(p->to, "m", 1) == 1 && process_read(p, ret_ns);
}

bool process_end(struct process *p, double *ret_peak_bytes)
{
    int status = 0;
    (void)close(p->to);
    const bool told = !ret_peak_bytes || process_read(p, ret_peak_bytes);
    (void)close(p->from);
    return waitpid(p->pid, &status, 0) == p->pid && status == 0 && told;
}

bool contender_exists(const struct contender *c)
{
    struct process p;
    double peak;
    if (!c->library[0])
        return true;
    const bool started = process_start(c, "steady", 0, &p);
    return process_end(&p, &peak) && started;
}
