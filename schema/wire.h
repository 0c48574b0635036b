/* The launch protocol between the unprivileged node code (in heapmarkd) and heapmark-supervisor:
 * fixed-size messages over a SOCK_SEQPACKET socketpair, one launch at a time. Paths and commands
 * never travel: allocators are catalogue names, which the supervisor looks up in its own copy of
 * the administrator's catalogue. The supervisor treats every byte as coming from a compromised
 * peer: fixed size, ranges checked, strings NUL-terminated, names looked up.
 *
 * node → supervisor   WIRE_LAUNCH (+ 1 fd: the sealed tape, if any), WIRE_CANCEL, WIRE_PING
 * supervisor → node   WIRE_HELLO  once after (re)start of the worker: capabilities of this host
 *                     WIRE_STARTED (+ runners_count fds: read-only pages; then runners_count
 *                                   fds: log pipes, read ends)
 *                     WIRE_DONE    outcome of each runner; always follows STARTED
 *                     WIRE_REFUSED nothing was started; code and message say why */
#ifndef HEAPMARK_SCHEMA_WIRE_H
#define HEAPMARK_SCHEMA_WIRE_H

#include <stdint.h>

#include "workloads/ring/ring.h"

#define WIRE_MAGIC    0x486d6b31u /* "Hmk1" */
#define WIRE_MEMS_MAX 64

enum wire_type {
    WIRE_LAUNCH = 1,
    WIRE_CANCEL,
    WIRE_PING,
    WIRE_HELLO,
    WIRE_STARTED,
    WIRE_DONE,
    WIRE_REFUSED,
};

/* Isolation really reached, a bit each: stored with every result. */
enum isolation_bit {
    ISOLATION_UID = 1u << 0, /* own uid per runner */
    ISOLATION_NO_NEW_PRIVS = 1u << 1,
    ISOLATION_RLIMITS = 1u << 2,
    ISOLATION_CLOSED_FDS = 1u << 3,
    ISOLATION_EMPTY_NETWORK = 1u << 4, /* network namespace with nothing in it */
    ISOLATION_CGROUP_MEMORY = 1u << 5,
    ISOLATION_CGROUP_CPUSET = 1u << 6,
    ISOLATION_CGROUP_PIDS = 1u << 7,
    ISOLATION_CGROUP_KILL = 1u << 8, /* v2 cgroup.kill, or the v1 freezer */
    ISOLATION_CGROUP_HUGETLB = 1u << 9,
    ISOLATION_PINNED = 1u << 10, /* threads bound to CPUs */
    ISOLATION_MOUNTS = 1u << 11, /* later: mount, pid, ipc namespaces, Landlock, seccomp */
    ISOLATION_LANDLOCK = 1u << 12,
    ISOLATION_SECCOMP = 1u << 13,
    ISOLATION_BIT_COUNT_ = 14
};
const char *isolation_bit_name(unsigned bit_index); /* "uid", "no_new_privs", … */
/* "full" when every bit holds (hugetlb accounting apart, which not every kernel has); "none" when
 * neither uid nor any cgroup; else "partial". */
const char *isolation_level(uint32_t bits);

struct wire_subject {
    char allocator[48];
    char options[RING_OPTIONS_MAX][32]; /* option names allow-listed in the catalogue; "" ends */
    struct workload_point point;
};

enum wire_thp { WIRE_THP_LEAVE, WIRE_THP_NEVER, WIRE_THP_MADVISE, WIRE_THP_ALWAYS };

struct wire_launch {
    uint32_t workload; /* index into workloads[] */
    uint32_t runners_count;
    uint32_t rotations;
    uint32_t build_parts, warm_parts;
    uint32_t sched_batch;
    uint64_t slice_ops, replay_ops, warm_ops;
    uint64_t seed;
    uint64_t tape_bytes;         /* 0: no fd comes along */
    uint64_t memory_limit_bytes; /* per runner, 0: none */
    uint64_t memory_require;     /* 1: refuse (UNAVAILABLE) if no memory controller enforces it */
    uint64_t hugetlb_2m_pages, hugetlb_1g_pages; /* to reserve for the launch, then give back */
    uint32_t thp;           /* enum wire_thp: host knob for the launch, then restored */
    uint32_t turn_ms_max;   /* one turn may not last longer */
    uint32_t wall_ms_max;   /* nor the whole launch */
    uint32_t pids_max;      /* per runner */
    uint32_t log_bytes_max; /* per runner; more is cut and counted */
    uint16_t cpus[RING_THREADS_MAX];
    uint32_t cpus_count;
    uint64_t mems_mask;      /* NUMA nodes, bit per node; 0: any */
    uint32_t own_cpu;        /* for the supervisor itself meanwhile: CPU + 1; 0: wherever */
    uint64_t prefault_bytes; /* to touch and give back before the runners start */
    struct wire_subject subjects[RING_RUNNERS_MAX];
};

/* How a runner ended, as the supervisor saw it. */
enum wire_outcome {
    OUTCOME_OK,           /* exit 0, state FINISHED */
    OUTCOME_FAILED,       /* said why itself: page->failure, message */
    OUTCOME_CRASHED,      /* signal */
    OUTCOME_EXITED,       /* an exit status that is not ours */
    OUTCOME_OOM,          /* killed by its memory limit */
    OUTCOME_TURN_TIMEOUT, /* kept the baton, or hung */
    OUTCOME_WALL_TIMEOUT,
    OUTCOME_PROTOCOL, /* did not map, did not start, forged state */
    OUTCOME_CANCELLED,
    OUTCOME_COUNT_
};
const char *wire_outcome_name(enum wire_outcome outcome);

struct wire_runner_done {
    uint32_t outcome;    /* enum wire_outcome */
    int32_t exit_status; /* -1 when signalled */
    int32_t signal;      /* 0 when exited */
    uint32_t turns_done; /* how far: the done word before the supervisor touched it */
    uint32_t oom_kills;
    uint32_t isolation;         /* bits */
    uint64_t cgroup_peak_bytes; /* 0: unknown */
    uint64_t cpu_user_us, cpu_system_us;
    uint64_t minor_faults, major_faults;
    uint64_t log_bytes_dropped;
    uint8_t sha256[32];
    uint64_t device, inode;
    char library_path[256];
};

struct wire_done {
    uint32_t runners_count;
    uint32_t isolation;      /* common to all */
    uint64_t prefault_bytes; /* really touched */
    struct wire_runner_done runners[RING_RUNNERS_MAX];
};

struct wire_hello {
    char build_id[RING_BUILD_ID_SIZE];
    uint32_t generation;        /* grows with each restart of the worker: what ran before is lost */
    uint32_t isolation;         /* bits this host and these privileges allow */
    uint32_t cgroup_version[8]; /* per controller below: 0 none, 1, 2 */
    uint32_t can_reserve_hugetlb, can_set_thp;
    char reason[8][96]; /* per controller: why not */
};
enum wire_controller {
    CONTROLLER_MEMORY,
    CONTROLLER_CPUSET,
    CONTROLLER_CPU,
    CONTROLLER_PIDS,
    CONTROLLER_FREEZER,
    CONTROLLER_HUGETLB,
    CONTROLLER_COUNT_
};
const char *wire_controller_name(enum wire_controller controller);

struct wire_refused {
    uint32_t code; /* enum err_code */
    char field[160];
    char message[512];
};

struct wire_message {
    uint32_t magic;
    uint32_t type; /* enum wire_type */
    uint64_t launch_id;
    union {
        struct wire_launch launch;
        struct wire_hello hello;
        struct wire_done done;
        struct wire_refused refused;
    };
};

/* Send or receive one message with up to RING_FDS_MAX descriptors. Received descriptors are
 * close-on-exec. recv returns 1, 0 on end of stream, -errno; -EPROTO for a message of the wrong
 * size or magic (descriptors closed). */
#define WIRE_FDS_MAX (2 * RING_RUNNERS_MAX)
int wire_send(int socket, const struct wire_message *message, const int *fds, unsigned fds_count);
int wire_recv(int socket, struct wire_message *ret_message, int *ret_fds, unsigned *ret_fds_count);

/* Range and string check of a launch that came from a peer: 0, or what and where in *e. */
struct err;
int wire_launch_check(const struct wire_launch *launch, struct err *e);

#endif
