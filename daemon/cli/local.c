#include "daemon/cli/local.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/io.h"
#include "daemon/cli/client.h"
#include "daemon/cli/term.h"

#define READY_WAIT_NS  (30 * NS_PER_S)
#define READY_POLL_MS  50
#define DRAIN_WAIT_MS  500
#define STOP_WAIT_MS   15000
#define LOG_TAIL_BYTES 1500

/* ---- the keeper ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    (void)remove(path);
    return 0;
}

static void sleep_ms(long ms)
{
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
}

/* Wait for the daemon at most `ms`; true when it is gone. */
static bool daemon_wait(pid_t pid, long ms)
{
    for (;; ms -= 20) {
        pid_t r = waitpid(pid, NULL, WNOHANG);
        if (r == pid || (r < 0 && errno != EINTR))
            return true;
        if (ms <= 0)
            return false;
        sleep_ms(20);
    }
}

/* Until the command is gone or the daemon is. */
static void keeper_watch(pid_t daemon, int pipe_fd)
{
    struct pollfd fd = {.fd = pipe_fd, .events = POLLIN};
    for (;;) {
        int r = poll(&fd, 1, 200);
        if (r > 0 || (r < 0 && errno != EINTR))
            break;
        if (daemon_wait(daemon, 0))
            return;
    }
    kill(daemon, SIGTERM);
    if (daemon_wait(daemon, DRAIN_WAIT_MS))
        return;
    kill(daemon, SIGTERM); /* the second one breaks the running ring off */
    if (daemon_wait(daemon, STOP_WAIT_MS))
        return;
    kill(daemon, SIGKILL);
    (void)daemon_wait(daemon, STOP_WAIT_MS);
}

static _Noreturn void daemon_exec(const char *program, char *const argv[], const char *directory,
                                  pid_t keeper)
{
    char path[96];
    /* Should the keeper itself be killed, the daemon ends too. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != keeper)
        _exit(127);
    snprintf(path, sizeof path, "%s/log", directory);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (log < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(127);
    execv(program, argv);
    dprintf(STDERR_FILENO, "cannot execute %s: %s\n", program, strerror(errno));
    _exit(127);
}

static _Noreturn void keeper_main(const char *program, char *const argv[], const char *directory,
                                  int pipe_fd)
{
    /* Ctrl-C in the terminal is for the command alone; a hang-up must not stop the tidying. */
    (void)setsid();
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};
    pid_t keeper = getpid();
    pid_t daemon = fork();
    if (daemon == 0)
        daemon_exec(program, argv, directory, keeper);
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        (void)signal(ignored[i], SIG_IGN);
    if (daemon > 0)
        keeper_watch(daemon, pipe_fd);
    /* The command reads the log after a failed start: it is the one to say that all is read. */
    struct pollfd fd = {.fd = pipe_fd, .events = POLLIN};
    while (poll(&fd, 1, -1) < 0 && errno == EINTR)
        ;
    (void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

/* ---- the command's side ---- */

static enum cli_exit program_find(struct cli *c, char program[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", program, PATH_MAX - 32);
    char *slash = NULL;
    if (n > 0) {
        program[n] = '\0';
        slash = strrchr(program, '/');
    }
    if (!slash)
        return cli_fail(c, CLI_FAILED, "cannot read /proc/self/exe");
    memcpy(slash + 1, "heapmarkd", sizeof "heapmarkd"); /* a build tree */
    if (access(program, X_OK) == 0)
        return CLI_OK;
    memcpy(slash + 1, "../sbin/heapmarkd", sizeof "../sbin/heapmarkd"); /* an installation */
    if (access(program, X_OK) == 0)
        return CLI_OK;
    return cli_fail(c, CLI_FAILED, "--local: cannot execute %s: %s", program, strerror(errno));
}

static enum cli_exit state_make(struct cli *c, const char *given, const char *directory,
                                char state[PATH_MAX])
{
    if (!given) {
        snprintf(state, PATH_MAX, "%s/state", directory);
        return mkdir(state, 0700) == 0
                   ? CLI_OK
                   : cli_fail(c, CLI_FAILED, "cannot make %s: %s", state, strerror(errno));
    }
    if (mkdir(given, 0700) < 0 && errno != EEXIST)
        return cli_fail(c, CLI_USAGE, "cannot make %s: %s", given, strerror(errno));
    if (!realpath(given, state))
        return cli_fail(c, CLI_USAGE, "%s: %s", given, strerror(errno));
    return CLI_OK;
}

static enum cli_exit keeper_start(struct cli *c, struct local *local, const char *program,
                                  const char *state)
{
    char listen[160], store[PATH_MAX + 32], supervisor[PATH_MAX + 48];
    int ends[2];
    snprintf(listen, sizeof listen, "server.listen=%s", local->server);
    snprintf(store, sizeof store, "store.directory=%s", state);
    snprintf(supervisor, sizeof supervisor, "supervisor.directory=%s/supervisor", state);
    char *const argv[] = {(char *)"heapmarkd",
                          (char *)"--set",
                          listen,
                          (char *)"--set",
                          store,
                          (char *)"--set",
                          supervisor,
                          (char *)"--set",
                          (char *)"log.level=warning",
                          NULL};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return cli_fail(c, CLI_FAILED, "no pipe: %s", strerror(errno));
    local->keeper = fork();
    if (local->keeper == 0) {
        close(ends[1]);
        keeper_main(program, argv, local->directory, ends[0]);
    }
    close(ends[0]);
    if (local->keeper < 0) {
        close(ends[1]);
        return cli_fail(c, CLI_FAILED, "no process: %s", strerror(errno));
    }
    local->pipe_fd = ends[1];
    return CLI_OK;
}

static enum cli_exit log_tail_fail(struct cli *c, const struct local *local, const char *why)
{
    char path[96], text[65536], clean[LOG_TAIL_BYTES];
    snprintf(path, sizeof path, "%s/log", local->directory);
    ssize_t n = io_read_file(AT_FDCWD, path, text, sizeof text);
    const char *tail = n > LOG_TAIL_BYTES / 4 ? text + n - LOG_TAIL_BYTES / 4 : text;
    term_clean(clean, sizeof clean, n > 0 ? tail : "its log is empty");
    return cli_fail(c, CLI_UNREACHABLE, "the private heapmarkd %s: %.400s", why, clean);
}

static bool daemon_is_gone(const struct local *local)
{
    char path[96];
    struct stat status;
    siginfo_t info = {0};
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)local->keeper,
             (int)local->keeper);
    char children[64] = "";
    if (waitid(P_PID, (id_t)local->keeper, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0)
        return true;
    return stat(path, &status) == 0 && io_read_file(AT_FDCWD, path, children, sizeof children) == 0;
}

static enum cli_exit ready_wait(struct cli *c, const struct local *local)
{
    cleanup_(client_free_p) struct client *client = NULL;
    uint64_t end = clock_monotonic_ns() + READY_WAIT_NS;
    enum cli_exit code = client_new(local->server, NULL, &client, &c->err);
    sleep_ms(READY_POLL_MS);
    while (code == CLI_OK && clock_monotonic_ns() < end) {
        cleanup_(json_decref_p) json_t *reply = NULL;
        struct err e;
        if (client_get(client, "/readyz", &reply, &e) == CLI_OK)
            return CLI_OK;
        if (cli_interrupts() > 0)
            return cli_fail(c, CLI_INTERRUPTED, "interrupted");
        if (daemon_is_gone(local))
            return log_tail_fail(c, local, "did not start");
        sleep_ms(READY_POLL_MS);
    }
    return code == CLI_OK ? log_tail_fail(c, local, "is not ready after 30 s") : code;
}

enum cli_exit local_start(struct cli *c, const char *state_dir, struct local *ret_local)
{
    char program[PATH_MAX], state[PATH_MAX];
    *ret_local = (struct local){.pipe_fd = -1, .keeper = -1};
    enum cli_exit code = program_find(c, program);
    if (code != CLI_OK)
        return code;
    snprintf(ret_local->directory, sizeof ret_local->directory, "/tmp/heapmark-XXXXXX");
    if (!mkdtemp(ret_local->directory)) {
        ret_local->directory[0] = '\0';
        return cli_fail(c, CLI_FAILED, "no temporary directory: %s", strerror(errno));
    }
    snprintf(ret_local->server, sizeof ret_local->server, "unix:%s/socket", ret_local->directory);
    code = state_make(c, state_dir, ret_local->directory, state);
    if (code == CLI_OK)
        code = keeper_start(c, ret_local, program, state);
    return code == CLI_OK ? ready_wait(c, ret_local) : code;
}

enum cli_exit local_lost(struct cli *c, const struct local *local)
{
    return log_tail_fail(c, local, "went away");
}

void local_stop(struct local *local)
{
    if (local->pipe_fd >= 0)
        close(local->pipe_fd);
    local->pipe_fd = -1;
    if (local->keeper > 0)
        while (waitpid(local->keeper, NULL, 0) < 0 && errno == EINTR)
            ;
    else if (local->directory[0])
        (void)nftw(local->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    local->keeper = -1;
    local->directory[0] = '\0';
}
