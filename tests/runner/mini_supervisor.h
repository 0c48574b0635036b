/* State of the test supervisor, shared with the file that corrupts it. */
#ifndef HEAPMARK_TESTS_RUNNER_MINI_SUPERVISOR_H
#define HEAPMARK_TESTS_RUNNER_MINI_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "workloads/ring/ring.h"

struct mini_subject {
    struct ring_subject subject;
    const char *library; /* NULL: the C library */
    int library_fd;
    uint64_t inode_add;
};

struct mini {
    const char *program, *corrupt;
    const struct workload *workload;
    struct workload_point point;
    struct mini_subject subjects[RING_RUNNERS_MAX];
    uint32_t subjects_count, turns_count;
    uint64_t rotations, slice_ops, replay_ops, warm_ops, build_parts, warm_parts, seed, threads,
        tape_threads, gate_value, drop_runner, drop_turn, stall_ms, batch, cpu0, cpu1, index_add;
    uint64_t plan_size, tape_bytes;
    int plan_fd, gate_fd, tape_fd, page_fds[RING_RUNNERS_MAX], other_fds[RING_RUNNERS_MAX];
    struct ring_plan *plan;
    struct ring_gate *gate;
    struct ring_page *pages[RING_RUNNERS_MAX];
    pid_t pids[RING_RUNNERS_MAX];
    int status[RING_RUNNERS_MAX];
    uint32_t done[RING_RUNNERS_MAX];
    bool timed_out[RING_RUNNERS_MAX];
};

int mini_memfd(const char *name, uint64_t size, void **ret_map);

/* Do what m->corrupt names to plan, tape or seals, then seal the plan. */
void mini_corrupt(struct mini *m);

#endif
