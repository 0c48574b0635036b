/* A supervisor for tests of heapmark-runner: makes the shared memory, starts real runner
 * processes with the descriptors of ring.h, drops those that die or hang, prints what came back
 * as JSON. Every option that is not the default makes something go wrong on purpose.
 *
 * usage: mini_supervisor [OPTION VALUE]... ; see options[] and subject_keys[]. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "tests/runner/mini_supervisor.h"
#include "workloads/tape/tape.h"

#define DIE(...)                                          \
    do {                                                  \
        fprintf(stderr, "mini_supervisor: " __VA_ARGS__); \
        fputc('\n', stderr);                              \
        exit(2);                                          \
    } while (0)

static void set_symbols(struct mini_subject *s, const char *prefix)
{
    struct ring_symbols *y = &s->subject.symbols;
    snprintf(y->malloc_name, sizeof y->malloc_name, "%smalloc", prefix);
    snprintf(y->free_name, sizeof y->free_name, "%sfree", prefix);
}

static void set_subject_key(struct mini_subject *s, const char *key, const char *value)
{
    struct ring_subject *subject = &s->subject;
    uint64_t number = 0;
    (void)text_parse_u64(value, &number);
    if (strcmp(key, "lib") == 0)
        s->library = value;
    else if (strcmp(key, "prefix") == 0)
        set_symbols(s, value);
    else if (strcmp(key, "malloc") == 0)
        text_copy(subject->symbols.malloc_name, sizeof subject->symbols.malloc_name, value);
    else if (strcmp(key, "free") == 0)
        text_copy(subject->symbols.free_name, sizeof subject->symbols.free_name, value);
    else if (strcmp(key, "calloc") == 0)
        text_copy(subject->symbols.calloc_name, sizeof subject->symbols.calloc_name, value);
    else if (strcmp(key, "usable") == 0)
        text_copy(subject->symbols.usable_size_name, sizeof subject->symbols.usable_size_name,
                  value);
    else if (strcmp(key, "adapter") == 0)
        text_copy(subject->symbols.adapter, sizeof subject->symbols.adapter, value);
    else if (strcmp(key, "threads") == 0)
        subject->point.threads = (uint32_t)number;
    else if (strcmp(key, "pages") == 0)
        subject->point.pages = (uint32_t)page_mode_parse(value);
    else if (strcmp(key, "flags") == 0)
        subject->flags = (uint32_t)number;
    else if (strcmp(key, "inode_add") == 0)
        s->inode_add = number;
    else
        DIE("subject key %s", key);
}

static void add_subject(struct mini *m, char *text)
{
    if (m->subjects_count == RING_RUNNERS_MAX)
        DIE("too many subjects");
    struct mini_subject *s = &m->subjects[m->subjects_count++];
    s->subject.point = m->point;
    s->subject.library_fd = -1;
    set_symbols(s, "");
    char *save, *pair;
    for (pair = strtok_r(text, ",", &save); pair; pair = strtok_r(NULL, ",", &save)) {
        char *equals = strchr(pair, '=');
        if (!equals)
            DIE("subject: %s has no =", pair);
        *equals = '\0';
        set_subject_key(s, pair, equals + 1);
    }
    snprintf(s->subject.allocator, sizeof s->subject.allocator, "subject-%u",
             m->subjects_count - 1);
}

static void set_param(struct mini *m, const char *text)
{
    char name[64];
    const char *equals = strchr(text, '=');
    if (!equals || (size_t)(equals - text) >= sizeof name)
        DIE("param %s", text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    int i = param_find(m->workload->params, m->workload->params_count, name);
    struct err e = {0};
    if (i < 0 || param_parse(&m->workload->params[i], equals + 1, NULL, &m->point.params[i], &e))
        DIE("param %s: %s", text, e.message);
}

/* Plain numbers: option name and where it goes. */
#define NUMBER(option, field)                \
    {                                        \
        option, offsetof(struct mini, field) \
    }
static const struct {
    const char *option;
    size_t offset;
} numbers[] = {
    NUMBER("--rotations", rotations),
    NUMBER("--slice-ops", slice_ops),
    NUMBER("--replay-ops", replay_ops),
    NUMBER("--warm-ops", warm_ops),
    NUMBER("--build-parts", build_parts),
    NUMBER("--warm-parts", warm_parts),
    NUMBER("--seed", seed),
    NUMBER("--threads", threads),
    NUMBER("--tape-threads", tape_threads),
    NUMBER("--gate", gate_value),
    NUMBER("--drop-runner", drop_runner),
    NUMBER("--drop-turn", drop_turn),
    NUMBER("--stall-ms", stall_ms),
    NUMBER("--batch", batch),
    NUMBER("--cpu0", cpu0),
    NUMBER("--cpu1", cpu1),
    NUMBER("--index-add", index_add),
};

static bool set_number(struct mini *m, const char *option, const char *value)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(option, numbers[i].option) != 0)
            continue;
        if (text_parse_u64(value, (uint64_t *)((char *)m + numbers[i].offset)) < 0)
            DIE("%s %s", option, value);
        m->point.threads = (uint32_t)m->threads;
        return true;
    }
    return false;
}

static void parse(struct mini *m, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *option = argv[i];
        char *value = argv[i + 1];
        if (strcmp(option, "--runner") == 0)
            m->program = value;
        else if (strcmp(option, "--workload") == 0) {
            m->workload = workload_find(value);
            if (!m->workload)
                DIE("no workload %s", value);
            workload_defaults(m->workload, &m->point);
        } else if (strcmp(option, "--param") == 0)
            set_param(m, value);
        else if (strcmp(option, "--subject") == 0)
            add_subject(m, value);
        else if (strcmp(option, "--corrupt") == 0)
            m->corrupt = value;
        else if (!set_number(m, option, value))
            DIE("option %s", option);
    }
}

int mini_memfd(const char *name, uint64_t size, void **ret_map)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        DIE("%s: %s", name, strerror(errno));
    *ret_map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (*ret_map == MAP_FAILED)
        DIE("%s: %s", name, strerror(errno));
    return fd;
}

static int reopen_read_only(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    if (copy < 0)
        DIE("%s: %s", path, strerror(errno));
    return copy;
}

static void make_tape(struct mini *m)
{
    struct workload_point point = m->point;
    struct tape_spec spec;
    struct err e = {0};
    m->tape_fd = -1;
    if (m->workload->tape == TAPE_NONE)
        return;
    for (uint32_t i = 0; i < m->subjects_count; i++)
        if (m->subjects[i].subject.point.threads > point.threads)
            point.threads = m->subjects[i].subject.point.threads;
    if (m->tape_threads)
        point.threads = (uint32_t)m->tape_threads;
    if (tape_spec_for(m->workload, &point, m->seed, &spec, &e) < 0 ||
        tape_generate(&spec, &m->tape_fd, &m->tape_bytes, &e) < 0)
        DIE("%s", e.message);
}

static void make_plan(struct mini *m)
{
    static struct ring_turn turns[RING_TURNS_MAX];
    int count = ring_schedule(m->subjects_count, (uint32_t)m->rotations, (uint32_t)m->build_parts,
                              (uint32_t)m->warm_parts, m->seed, turns, RING_TURNS_MAX);
    if (count < 0)
        DIE("ring_schedule: %d", count);
    m->plan_size = ring_plan_size((uint32_t)count);
    void *map;
    m->plan_fd = mini_memfd("plan", m->plan_size, &map);
    struct ring_plan *p = m->plan = map;
    p->magic = RING_MAGIC;
    text_copy(p->build_id, sizeof p->build_id, ring_build_id());
    p->workload = (uint32_t)workload_index(m->workload->name);
    p->runners_count = m->subjects_count;
    p->turns_count = (uint32_t)count;
    p->rotations = (uint32_t)m->rotations;
    p->slice_ops = m->slice_ops;
    p->replay_ops = m->replay_ops;
    p->warm_ops = m->warm_ops;
    p->seed = m->seed;
    p->tape_bytes = m->tape_bytes;
    p->sched_batch = (uint32_t)m->batch;
    p->log_bytes_max = 65536;
    for (uint32_t i = 0; i < RING_THREADS_MAX; i++)
        p->cpus[i] = (uint16_t)(i % 2 ? m->cpu1 : m->cpu0);
    memcpy(p->turns, turns, (size_t)count * sizeof turns[0]);
    for (uint32_t i = 0; i < m->subjects_count; i++)
        p->subjects[i] = m->subjects[i].subject;
}

static void open_library(struct mini_subject *s)
{
    struct stat st;
    s->library_fd = -1;
    if (!s->library)
        return;
    s->library_fd = open(s->library, O_RDONLY | O_CLOEXEC);
    if (s->library_fd < 0 || fstat(s->library_fd, &st) < 0)
        DIE("%s: %s", s->library, strerror(errno));
    s->subject.library_fd = RING_FD_LIBRARY;
    s->subject.device = st.st_dev;
    s->subject.inode = st.st_ino + s->inode_add;
}

static void place_fd(int fd, int number)
{
    if (fd >= 0 && dup2(fd, number) < 0)
        _exit(126);
}

static void exec_runner(struct mini *m, uint32_t i)
{
    char index[16];
    char *argv[] = {(char *)(uintptr_t)m->program, index, NULL};
    char *env[] = {(char *)(uintptr_t) "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384",
                   (char *)(uintptr_t) "HEAPMARK_PAD=xxxx", NULL};
    int fds[RING_FD_COUNT_];
    snprintf(index, sizeof index, "%u", (unsigned)(i + m->index_add));
    for (int k = 0; k < RING_FD_COUNT_; k++)
        fds[k] = -1;
    fds[RING_FD_PLAN] = m->plan_fd;
    fds[RING_FD_GATE] = m->gate_fd;
    fds[RING_FD_PAGE] = m->page_fds[i];
    fds[RING_FD_TAPE] = m->tape_fd;
    fds[RING_FD_LIBRARY] = m->subjects[i].library_fd;
    for (uint32_t k = 0; k < m->subjects_count; k++)
        fds[RING_FD_OTHERS + k] = m->other_fds[k];
    /* First out of the way of the fixed numbers, then onto them. */
    for (int k = 0; k < RING_FD_COUNT_; k++)
        if (fds[k] >= 0 && (fds[k] = fcntl(fds[k], F_DUPFD_CLOEXEC, 64)) < 0)
            _exit(126);
    for (int k = RING_FD_PLAN; k < RING_FD_COUNT_; k++)
        place_fd(fds[k], k);
    execve(m->program, argv, env);
    _exit(127);
}

static void start(struct mini *m)
{
    void *map;
    m->gate_fd = mini_memfd("gate", sizeof *m->gate, &map);
    m->gate = map;
    uint64_t page_size = ring_page_size((uint32_t)m->rotations);
    if (m->corrupt && strcmp(m->corrupt, "page-small") == 0)
        page_size -= sizeof(struct ring_slice);
    for (uint32_t i = 0; i < m->subjects_count; i++) {
        m->page_fds[i] = mini_memfd("page", page_size, &map);
        m->pages[i] = map;
        fcntl(m->page_fds[i], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        m->other_fds[i] = reopen_read_only(m->page_fds[i]);
    }
    mini_corrupt(m);
    int gate_read_only = reopen_read_only(m->gate_fd);
    if (!m->corrupt || strcmp(m->corrupt, "gate-unsealed") != 0)
        fcntl(m->gate_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
    m->gate_fd = gate_read_only;
    for (uint32_t i = 0; i < m->subjects_count; i++) {
        m->pids[i] = fork();
        if (m->pids[i] < 0)
            DIE("fork: %s", strerror(errno));
        if (m->pids[i] == 0)
            exec_runner(m, i);
    }
}

static uint32_t state_of(const struct mini *m, uint32_t i)
{
    return atomic_load_explicit(&m->pages[i]->state, memory_order_acquire);
}

static void drop(struct mini *m, uint32_t i)
{
    atomic_store(&m->pages[i]->done, RING_DROPPED);
    syscall(SYS_futex, &m->pages[i]->done, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Note who ended; drop those that did not finish by themselves. True when all are gone. */
static bool reap(struct mini *m)
{
    bool all = true;
    for (uint32_t i = 0; i < m->subjects_count; i++) {
        if (m->pids[i] > 0 && waitpid(m->pids[i], &m->status[i], WNOHANG) == m->pids[i]) {
            m->pids[i] = 0;
            m->done[i] = atomic_load(&m->pages[i]->done);
            if (state_of(m, i) != RUNNER_FINISHED)
                drop(m, i);
        }
        all = all && m->pids[i] == 0;
    }
    return all;
}

static bool all_mapped(struct mini *m)
{
    bool all = true;
    for (uint32_t i = 0; i < m->subjects_count; i++)
        all = all && (m->pids[i] == 0 || state_of(m, i) >= RUNNER_MAPPED);
    return all;
}

/* Kill whoever holds the baton; before anybody does (or after all turns), everybody. */
static void kill_stuck(struct mini *m)
{
    uint32_t owner = RING_RUNNERS_MAX;
    for (uint32_t k = 0; k < m->turns_count && owner == RING_RUNNERS_MAX; k++)
        if (atomic_load(&m->pages[m->plan->turns[k].runner]->done) <= k)
            owner = m->plan->turns[k].runner;
    for (uint32_t i = 0; i < m->subjects_count; i++)
        if (m->pids[i] > 0 && (owner == RING_RUNNERS_MAX || i == owner)) {
            m->timed_out[i] = true;
            kill(m->pids[i], SIGKILL);
        }
}

/* A number that changes whenever anything moves. */
static uint64_t progress(const struct mini *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->subjects_count; i++)
        sum = sum * 1000003 + atomic_load(&m->pages[i]->done) + state_of(m, i);
    return sum;
}

static void maybe_drop(struct mini *m)
{
    const uint64_t i = m->drop_runner;
    if (i < m->subjects_count && m->pids[i] > 0 &&
        atomic_load(&m->pages[i]->done) >= m->drop_turn && state_of(m, (uint32_t)i) > RUNNER_MAPPED)
        kill(m->pids[i], SIGKILL);
}

static void open_gate(struct mini *m)
{
    for (uint32_t i = 0; i < m->subjects_count; i++)
        fcntl(m->page_fds[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    atomic_store(&m->gate->start, (uint32_t)m->gate_value);
    syscall(SYS_futex, &m->gate->start, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void supervise(struct mini *m)
{
    uint64_t seen = 0, moved_ns = clock_monotonic_ns();
    bool opened = false;
    while (!reap(m)) {
        if (!opened && all_mapped(m)) {
            open_gate(m);
            opened = true;
        }
        maybe_drop(m);
        const uint64_t now_ns = clock_monotonic_ns(), now = progress(m);
        if (now != seen)
            moved_ns = now_ns;
        seen = now;
        if (now_ns - moved_ns > m->stall_ms * NS_PER_MS)
            kill_stuck(m);
        usleep(500);
    }
}

static void print_text(const char *name, const char *text)
{
    printf("\"%s\":\"", name);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            printf("\\u%04x", *text);
        else
            putchar(*text);
    printf("\",");
}

static void print_runner(const struct mini *m, uint32_t i)
{
    const struct ring_page *p = m->pages[i];
    printf("{\"exit\":%d,\"signal\":%d,\"timed_out\":%s,\"state\":%u,\"done\":%u,",
           WIFEXITED(m->status[i]) ? WEXITSTATUS(m->status[i]) : -1,
           WIFSIGNALED(m->status[i]) ? WTERMSIG(m->status[i]) : 0,
           m->timed_out[i] ? "true" : "false", atomic_load(&m->pages[i]->state), m->done[i]);
    print_text("failure", runner_failure_name((enum runner_failure)p->failure));
    print_text("message", p->message);
    print_text("version", p->version);
    printf("\"inode\":%llu,\"slices\":[", (unsigned long long)p->inode);
    for (uint32_t k = 0; k < p->slices_count; k++)
        printf("%s[%llu,%llu,%llu,%u,%u]", k ? "," : "", (unsigned long long)p->slices[k].start_ns,
               (unsigned long long)p->slices[k].end_ns, (unsigned long long)p->slices[k].ops,
               p->slices[k].involuntary_switches, p->slices[k].migrations);
    printf("],\"metrics\":{");
    for (uint32_t k = 0; k < p->metrics_count; k++)
        printf("%s\"%s\":%.17g", k ? "," : "", metrics[p->metrics[k].metric].name,
               p->metrics[k].value);
    printf("},\"absent\":{");
    for (uint32_t k = 0; k < p->absent_count; k++)
        printf("%s\"%s\":\"%s\"", k ? "," : "", metrics[p->absent[k].metric].name,
               p->absent[k].reason);
    printf("}}");
}

static void print_all(const struct mini *m)
{
    printf("{\"turns\":[");
    for (uint32_t k = 0; k < m->turns_count; k++)
        printf("%s[%u,%u,%u]", k ? "," : "", m->plan->turns[k].runner, m->plan->turns[k].phase,
               m->plan->turns[k].rotation);
    printf("],\"runners\":[");
    for (uint32_t i = 0; i < m->subjects_count; i++) {
        printf("%s", i ? "," : "");
        print_runner(m, i);
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    static struct mini m = {
        .rotations = 6,
        .slice_ops = 2000,
        .replay_ops = 1000,
        .warm_ops = 4000,
        .build_parts = 2,
        .warm_parts = 2,
        .seed = 1,
        .threads = 1,
        .gate_value = 1,
        .drop_runner = UINT64_MAX,
        .stall_ms = 20000,
        .batch = 1,
        .cpu1 = 1,
    };
    parse(&m, argc, argv);
    if (!m.program || !m.workload || m.subjects_count == 0)
        DIE("--runner, --workload and --subject are needed");
    if (m.workload->kind == WORKLOAD_ONESHOT)
        m.rotations = 0;
    for (uint32_t i = 0; i < m.subjects_count; i++)
        open_library(&m.subjects[i]);
    make_tape(&m);
    make_plan(&m);
    m.turns_count = m.plan->turns_count;
    start(&m);
    supervise(&m);
    print_all(&m);
    return 0;
}
