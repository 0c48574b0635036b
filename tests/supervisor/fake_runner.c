/* A runner that keeps to the ring's protocol, and misbehaves as FAKE_MODE says. Started by the
 * real supervisor in tests. Exit status 42: it reached something it must not reach. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workloads/ring/ring.h"

#define EXIT_REACHED 42

struct fake {
    unsigned index;
    const char *mode;
    struct ring_plan *plan;
    struct ring_gate *gate;
    struct ring_page *page;
    uint64_t page_bytes;
    struct ring_page *pages[RING_RUNNERS_MAX];
};

static bool is_mode(const struct fake *f, const char *mode)
{
    return strcmp(f->mode, mode) == 0;
}

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void *map_fd(int fd, int protection, uint64_t *ret_bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        _exit(90);
    void *map = mmap(NULL, (size_t)st.st_size, protection, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        _exit(91);
    if (ret_bytes)
        *ret_bytes = (uint64_t)st.st_size;
    return map;
}

static void wait_word(const _Atomic uint32_t *word, uint32_t value)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void publish(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_seq_cst);
    (void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

static void reached(const char *what)
{
    say("reached: ");
    say(what);
    say("\n");
    _exit(EXIT_REACHED);
}

static bool reopens_for_writing(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR);
    bool opened = again >= 0;
    /* With our own user id the open can work before the seal is there; mapping it must not. */
    if (opened && mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED)
        opened = false;
    return opened;
}

/* Everything a runner could try against memory that is not its own. */
static void try_shared_memory(const struct fake *f)
{
    for (unsigned i = 0; i < f->plan->runners_count; i++) {
        int fd = RING_FD_OTHERS + (int)i;
        if (mprotect(f->pages[i], 4096, PROT_READ | PROT_WRITE) == 0)
            reached("mprotect of a page");
        if (mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
            reached("a writable map of a page");
        if (pwrite(fd, "x", 1, 0) == 1 || ftruncate(fd, 0) == 0)
            reached("a write to a page");
        if (reopens_for_writing(fd))
            reached("a page opened again");
    }
    /* Our own page is sealed by now: no second writable map, no write, no truncation. */
    if (mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, RING_FD_PAGE, 0) != MAP_FAILED ||
        pwrite(RING_FD_PAGE, "x", 1, 0) == 1 || ftruncate(RING_FD_PAGE, 0) == 0)
        reached("our own page after it was sealed");
    for (int fd = RING_FD_PLAN; fd <= RING_FD_GATE; fd++)
        if (pwrite(fd, "x", 1, 0) == 1 || ftruncate(fd, 0) == 0 || reopens_for_writing(fd) ||
            mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
            reached("plan or gate");
    if (mprotect(f->gate, 4096, PROT_READ | PROT_WRITE) == 0)
        reached("mprotect of the gate");
}

static void try_privileges(void)
{
    struct rlimit core;
    if (getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max != 0)
        reached("core dumps");
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        reached("new privileges");
    for (int fd = RING_FD_COUNT_; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            reached("a descriptor that was not closed");
    if (fcntl(RING_FD_TAPE, F_GETFD) >= 0)
        reached("a tape nobody gave us");
    char path[64];
    snprintf(path, sizeof path, "/tmp/fake-runner.%d", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd >= 0) {
        bool wrote = write(fd, "x", 1) == 1;
        (void)unlink(path);
        if (wrote)
            reached("a file that grew");
    }
    if (getenv("FAKE_EXPECT_UID")) {
        if (geteuid() == 0 || setuid(0) == 0 || kill(getppid(), SIGCONT) == 0)
            reached("another identity");
        snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
        if (open(path, O_RDONLY) >= 0)
            reached("the supervisor's memory");
    }
    if (getenv("FAKE_EXPECT_EMPTY_NETWORK")) {
        char text[4096] = "";
        int net = open("/proc/self/net/dev", O_RDONLY);
        if (net >= 0 && read(net, text, sizeof text - 1) > 0)
            for (const char *line = text; (line = strchr(line, ':')); line++)
                if (line < text + 2 || strncmp(line - 2, "lo", 2) != 0)
                    reached("a network device");
    }
}

/* The environment must be built from empty. */
static void try_environment(void)
{
    static const char *const known[] = {"GLIBC_TUNABLES=", "FAKE_", "HEAPMARK_PAD=", NULL};
    if (!getenv("HEAPMARK_PAD") || strlen(getenv("HEAPMARK_PAD")) > 4095 ||
        !getenv("GLIBC_TUNABLES"))
        reached("an environment without padding or tunables");
    for (char **e = environ; *e; e++) {
        bool is_known = false;
        for (unsigned i = 0; known[i]; i++)
            is_known |= strncmp(*e, known[i], strlen(known[i])) == 0;
        if (!is_known)
            reached(*e);
    }
}

static void act_memory(void)
{
    for (;;) {
        char *block =
            mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            sleep_for_ever();
        memset(block, 1, 1 << 20);
    }
}

/* Leaves a child that left our session, ignores what it can and has executed another program. */
static void act_orphan(void)
{
    if (fork() != 0)
        return;
    (void)setsid();
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    if (fork() != 0)
        _exit(0);
    prctl(PR_SET_PDEATHSIG, 0);
    char *argv[] = {(char *)"fake-orphan", (char *)"orphan", NULL};
    execve("/proc/self/exe", argv, environ);
    sleep_for_ever();
}

static void act_flood(void)
{
    char line[4096];
    memset(line, 'f', sizeof line);
    for (unsigned i = 0; i < 25600; i++)
        (void)!write(STDERR_FILENO, line, sizeof line);
}

static void act_fork_bomb(void)
{
    for (;;)
        (void)fork();
}

static void act_failed(struct fake *f)
{
    f->page->failure = FAIL_ENOMEM;
    snprintf(f->page->message, sizeof f->page->message, "as asked");
    publish(&f->page->state, RUNNER_FAILED);
    publish(&f->page->done, RING_DROPPED);
    _exit(RUNNER_EXIT_FAILED);
}

static uint32_t last_turn(const struct fake *f)
{
    uint32_t k = f->plan->turns_count - 1;
    while (f->plan->turns[k].runner != f->index)
        k--;
    return k;
}

static void act_words(struct fake *f)
{
    if (is_mode(f, "lie-ahead"))
        publish(&f->page->done, f->plan->turns_count);
    else if (is_mode(f, "lie-beyond"))
        publish(&f->page->done, f->plan->turns_count + 1);
    else if (is_mode(f, "lie-done"))
        publish(&f->page->done, last_turn(f) + 1);
    else if (is_mode(f, "lie-back")) {
        usleep(700000); /* the word before has been seen by now */
        publish(&f->page->done, 0);
    } else if (is_mode(f, "lie-dropped"))
        publish(&f->page->done, RING_DROPPED);
    else if (is_mode(f, "lie-state"))
        publish(&f->page->state, 77);
    else if (is_mode(f, "lie-state-back"))
        publish(&f->page->state, RUNNER_STARTING);
    else if (is_mode(f, "scribble"))
        memset((void *)f->page, 0xa5, f->page_bytes);
    else
        return;
    sleep_for_ever();
}

static void act(struct fake *f)
{
    act_words(f);
    if (is_mode(f, "crash"))
        abort();
    if (is_mode(f, "exit-3"))
        _exit(3);
    if (is_mode(f, "exit-0"))
        _exit(0);
    if (is_mode(f, "finish-early")) {
        publish(&f->page->state, RUNNER_FINISHED);
        _exit(0);
    }
    if (is_mode(f, "failed"))
        act_failed(f);
    if (is_mode(f, "hang"))
        sleep_for_ever();
    if (is_mode(f, "spin"))
        for (volatile bool spin = true; spin;)
            ;
    if (is_mode(f, "flood"))
        act_flood();
    if (is_mode(f, "oom"))
        act_memory();
    if (is_mode(f, "fork-bomb"))
        act_fork_bomb();
    if (is_mode(f, "orphan") || is_mode(f, "orphan-crash"))
        act_orphan();
    if (is_mode(f, "orphan-crash"))
        abort();
    if (is_mode(f, "reach")) {
        (void)signal(SIGXFSZ, SIG_IGN);
        try_shared_memory(f);
        try_privileges();
        try_environment();
    }
}

static void wait_turn(const struct fake *f, uint32_t turn)
{
    for (uint32_t k = turn; k-- > 0;) {
        unsigned owner = f->plan->turns[k].runner;
        if (owner == f->index)
            return;
        uint32_t done;
        while ((done = atomic_load(&f->pages[owner]->done)) <= k)
            wait_word(&f->pages[owner]->done, done);
        if (done != RING_DROPPED)
            return;
    }
}

static void run_turns(struct fake *f)
{
    unsigned own = 0;
    for (uint32_t k = 0; k < f->plan->turns_count; k++) {
        if (f->plan->turns[k].runner != f->index)
            continue;
        wait_turn(f, k);
        if (own++ == 0)
            publish(&f->page->state, RUNNER_RUNNING);
        if (own == 3)
            act(f);
        if (is_mode(f, "slow"))
            usleep(20000);
        publish(&f->page->done, k + 1);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "orphan") == 0)
        sleep_for_ever();
    const char *mode = getenv("FAKE_MODE");
    struct fake f = {.index = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0,
                     .mode = mode ? mode : ""};
    if (is_mode(&f, "never-map"))
        sleep_for_ever();
    if (is_mode(&f, "exit-unmapped"))
        _exit(3);
    if (is_mode(&f, "ignore-term"))
        (void)signal(SIGTERM, SIG_IGN);
    f.plan = map_fd(RING_FD_PLAN, PROT_READ, NULL);
    f.gate = map_fd(RING_FD_GATE, PROT_READ, NULL);
    f.page = map_fd(RING_FD_PAGE, PROT_READ | PROT_WRITE, &f.page_bytes);
    for (unsigned i = 0; i < f.plan->runners_count; i++)
        f.pages[i] = map_fd(RING_FD_OTHERS + (int)i, PROT_READ, NULL);
    say("fake runner\n");
    publish(&f.page->state, RUNNER_MAPPED);
    while (atomic_load(&f.gate->start) == 0)
        wait_word(&f.gate->start, 0);
    if (is_mode(&f, "never-ready") || is_mode(&f, "ignore-term"))
        sleep_for_ever();
    publish(&f.page->state, RUNNER_READY);
    run_turns(&f);
    publish(&f.page->state, RUNNER_FINISHED);
    if (is_mode(&f, "linger"))
        sleep_for_ever();
    _exit(RUNNER_EXIT_OK);
}
