/* Facts of a host that decide what may be compared, and the host key made of them.
 *
 * Called at start and when a job begins, never while a launch has host knobs changed. Any thread.
 * Gathering (files of /proc and /sys below a root directory) is apart from formatting (pure). */
#ifndef HEAPMARK_DAEMON_TOPO_FINGERPRINT_H
#define HEAPMARK_DAEMON_TOPO_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_POOLS_MAX 8
#define HOST_KEY_SIZE  33 /* 32 hex digits and NUL */
#define HOST_TEXT_SIZE 8192

/* A pool of huge pages of one size. */
struct host_pool {
    uint64_t page_bytes;
    uint64_t total, free, reserved, surplus, overcommit; /* pages */
};

/* "" or -1 where the host does not tell. */
struct host_facts {
    char cpu_model[128];
    char microcode[32];
    char kernel_release[128], kernel_version[192];
    char cmdline[4096];
    char libc[64];                          /* of this process: "glibc 2.36" */
    char governor[32];                      /* "performance"; "mixed" when CPUs differ */
    char boost[8];                          /* "on", "off": turbo frequencies */
    char thp_enabled[16], thp_defrag[16];   /* the chosen word: "always", "madvise", "never", … */
    char thp_sizes[128];                    /* KiB of sizes not "never": "64=always 2048=inherit" */
    struct host_pool pools[HOST_POOLS_MAX]; /* ascending page size */
    unsigned pools_count;
    char smt[20]; /* "on", "off", "forceoff", "notsupported" */
    uint64_t memory_bytes, swap_bytes;
    int zswap; /* 1 on, 0 off */
    char zswap_compressor[32];
    int swappiness, overcommit_memory, overcommit_ratio;
    int aslr; /* randomize_va_space */
    int numa_balancing;
    char cgroup[192]; /* "v2", "v1 cpu cpuset memory; v2 hugetlb": controllers in order of name */
    char hypervisor[96]; /* what a guest can tell of it ("KVM KVM", "unknown"); "" on bare metal */
};

/* root: "" for this host, or a directory holding proc/ and sys/ (tests). What cannot be read is
 * left empty: an unreadable knob is a fact too. libc is always this process's. */
void host_facts_gather(const char *root, struct host_facts *ret);

/* The canonical parts of the host key, one "name=value" a line. topology: topo_fingerprint().
 * Amounts that change while the host runs (free pages, pools, swap) are not part of it; memory is
 * rounded to GiB, because MemTotal moves with every kernel. Returns length or -ENOSPC. */
int host_key_text(const struct host_facts *facts, const char *topology, char *buf, size_t buf_size);

/* The first 16 bytes of SHA-256 over host_key_text(), in hex. */
int host_key(const struct host_facts *facts, const char *topology, char ret_key[HOST_KEY_SIZE]);

#endif
