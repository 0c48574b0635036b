/* The lies a runner must see through: each by name, applied before any runner starts. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/runner/mini_supervisor.h"
#include "workloads/tape/tape.h"

static void magic(struct ring_plan *p)
{
    p->magic++;
}
static void build_id(struct ring_plan *p)
{
    p->build_id[0] ^= 1;
}
static void build_id_open(struct ring_plan *p)
{
    memset(p->build_id, 'x', sizeof p->build_id);
}
static void workload_far(struct ring_plan *p)
{
    p->workload = 10000;
}
static void workload_other_kind(struct ring_plan *p)
{
    for (p->workload = 0; workloads[p->workload]->kind != WORKLOAD_ONESHOT;)
        p->workload++;
}
static void runners_none(struct ring_plan *p)
{
    p->runners_count = 0;
}
static void runners_many(struct ring_plan *p)
{
    p->runners_count = 4;
}
static void turns_none(struct ring_plan *p)
{
    p->turns_count = 0;
}
static void turns_many(struct ring_plan *p)
{
    p->turns_count = RING_TURNS_MAX + 1;
}
static void turns_beyond_file(struct ring_plan *p)
{
    p->turns_count += 4096;
}
static void rotations_many(struct ring_plan *p)
{
    p->rotations = RING_ROTATIONS_MAX + 1;
}
static void turn_runner(struct ring_plan *p)
{
    p->turns[0].runner = 200;
}
static void turn_phase(struct ring_plan *p)
{
    p->turns[0].phase = 99;
}
static void turn_part(struct ring_plan *p)
{
    p->turns[0].part = p->turns[0].parts;
}
static void turn_rotation(struct ring_plan *p)
{
    for (uint32_t i = 0; i < p->turns_count; i++)
        if (p->turns[i].phase == RING_MEASURE)
            p->turns[i].rotation = UINT16_MAX;
}
static void turn_twice(struct ring_plan *p)
{
    for (uint32_t i = 0; i < p->turns_count; i++)
        if (p->turns[i].phase == RING_MEASURE)
            p->turns[i].rotation = 0;
}
static void threads_none(struct ring_plan *p)
{
    p->subjects[0].point.threads = 0;
}
static void threads_many(struct ring_plan *p)
{
    p->subjects[0].point.threads = UINT32_MAX;
}
static void pages_unknown(struct ring_plan *p)
{
    p->subjects[0].point.pages = 77;
}
static void param_range(struct ring_plan *p)
{
    p->subjects[0].point.params[0].u = UINT64_MAX;
}
static void name_open(struct ring_plan *p)
{
    memset(p->subjects[0].symbols.malloc_name, 'm', sizeof p->subjects[0].symbols.malloc_name);
}
static void name_empty(struct ring_plan *p)
{
    p->subjects[0].symbols.free_name[0] = '\0';
}
static void library_number(struct ring_plan *p)
{
    p->subjects[0].library_fd = 0;
}
static void flags_unknown(struct ring_plan *p)
{
    p->subjects[0].flags = 0x80;
}
static void batch_other(struct ring_plan *p)
{
    p->sched_batch = 7;
}
static void tape_longer(struct ring_plan *p)
{
    p->tape_bytes += 4096;
}
static void tape_none(struct ring_plan *p)
{
    p->tape_bytes = 0;
}
static void tape_other_point(struct ring_plan *p)
{
    p->subjects[0].point.params[0].u++;
}

static const struct {
    const char *name;
    void (*lie)(struct ring_plan *p);
} plan_lies[] = {
#define LIE(f) \
    {          \
#f, f  \
    }
    LIE(magic),
    LIE(build_id),
    LIE(build_id_open),
    LIE(workload_far),
    LIE(workload_other_kind),
    LIE(runners_none),
    LIE(runners_many),
    LIE(turns_none),
    LIE(turns_many),
    LIE(turns_beyond_file),
    LIE(rotations_many),
    LIE(turn_runner),
    LIE(turn_phase),
    LIE(turn_part),
    LIE(turn_rotation),
    LIE(turn_twice),
    LIE(threads_none),
    LIE(threads_many),
    LIE(pages_unknown),
    LIE(param_range),
    LIE(name_open),
    LIE(name_empty),
    LIE(library_number),
    LIE(flags_unknown),
    LIE(batch_other),
    LIE(tape_longer),
    LIE(tape_none),
    LIE(tape_other_point),
};

static void corrupt_plan(struct mini *m)
{
    if (strcmp(m->corrupt, "list") == 0) {
        for (size_t i = 0; i < sizeof plan_lies / sizeof plan_lies[0]; i++)
            puts(plan_lies[i].name);
        exit(0);
    }
    for (size_t i = 0; i < sizeof plan_lies / sizeof plan_lies[0]; i++)
        if (strcmp(m->corrupt, plan_lies[i].name) == 0) {
            plan_lies[i].lie(m->plan);
            return;
        }
    static const char *const others[] = {"page-small", "gate-unsealed", "plan-unsealed",
                                         "tape-unsealed"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(m->corrupt, others[i]) == 0)
            return;
    fprintf(stderr, "mini_supervisor: no corruption %s\n", m->corrupt);
    exit(2);
}

static void unseal_tape(struct mini *m)
{
    void *copy;
    int fd = mini_memfd("tape", m->tape_bytes, &copy);
    void *tape = mmap(NULL, m->tape_bytes, PROT_READ, MAP_SHARED, m->tape_fd, 0);
    if (tape == MAP_FAILED)
        exit(2);
    memcpy(copy, tape, m->tape_bytes);
    m->tape_fd = fd;
}

void mini_corrupt(struct mini *m)
{
    if (m->corrupt)
        corrupt_plan(m);
    if (m->corrupt && strcmp(m->corrupt, "tape-unsealed") == 0)
        unseal_tape(m);
    /* A second mapping stays readable for printing; sealing needs the writable one gone. */
    if (munmap(m->plan, m->plan_size) < 0)
        exit(2);
    if (!m->corrupt || strcmp(m->corrupt, "plan-unsealed") != 0)
        fcntl(m->plan_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    else
        fcntl(m->plan_fd, F_ADD_SEALS, F_SEAL_SHRINK);
    m->plan = mmap(NULL, m->plan_size, PROT_READ, MAP_SHARED, m->plan_fd, 0);
    if (m->plan == MAP_FAILED)
        exit(2);
}
