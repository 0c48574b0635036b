#include "workloads/tape/tape.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/hash.h"

#define TAPE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static_assert(sizeof(struct tape_header) <= TAPE_HEADER_SIZE, "the header is one page");
static_assert(RING_THREADS_MAX <= 256, "a hop has eight bits");

static uint64_t tape_param(const struct workload *w, const struct workload_point *point,
                           const char *name, uint64_t absent)
{
    int i = param_find(w->params, w->params_count, name);
    return i < 0 ? absent : point->params[i].u;
}

int tape_spec_for(const struct workload *w, const struct workload_point *point, uint64_t seed,
                  struct tape_spec *ret_spec, struct err *e)
{
    uint64_t live = tape_param(w, point, "live", 0);
    uint64_t size_min = tape_param(w, point, "size_min_bytes", 0);
    uint64_t size_max = tape_param(w, point, "size_max_bytes", 0);
    uint64_t remote_pct = tape_param(w, point, "remote_pct", 0);
    if (w->tape == TAPE_NONE)
        return err_set(e, ERR_INTERNAL, NULL, "%s has no tape", w->name);
    if (point->threads < 1 || point->threads > RING_THREADS_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "threads", "threads: %u is outside 1 to %u",
                       point->threads, RING_THREADS_MAX);
    if (live < 1 || live > TAPE_LIVE_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "live", "live: %llu is outside 1 to %u",
                       (unsigned long long)live, TAPE_LIVE_MAX);
    if (size_min < 1 || size_max > TAPE_SIZE_MAX)
        return err_set(e, ERR_OUT_OF_RANGE, "size_max_bytes",
                       "sizes %llu to %llu are outside 1 to %u", (unsigned long long)size_min,
                       (unsigned long long)size_max, TAPE_SIZE_MAX);
    if (size_min > size_max)
        return err_set(e, ERR_INVALID, "size_min_bytes",
                       "size_min_bytes: %llu is above size_max_bytes, %llu",
                       (unsigned long long)size_min, (unsigned long long)size_max);
    if (remote_pct > 100)
        return err_set(e, ERR_OUT_OF_RANGE, "remote_pct", "remote_pct: %llu is outside 0 to 100",
                       (unsigned long long)remote_pct);
    *ret_spec = (struct tape_spec){
        .kind = w->tape,
        .threads = point->threads,
        .live = (uint32_t)live,
        .entries = w->tape == TAPE_CHURN ? TAPE_CHURN_ENTRIES : 0,
        .size_min = (uint32_t)size_min,
        .size_max = (uint32_t)size_max,
        .remote_pct = (uint32_t)remote_pct,
        .touch = (uint32_t)tape_param(w, point, "touch", 0),
        .seed = seed,
    };
    return 0;
}

static uint64_t tape_stream_entries(uint32_t live, uint32_t entries)
{
    return (uint64_t)live + entries + TAPE_PAD_ENTRIES;
}

/* Streams start on pages, so that two threads never share a line of tape. */
static uint64_t tape_stride(uint32_t live, uint32_t entries)
{
    uint64_t bytes = tape_stream_entries(live, entries) * sizeof(uint64_t);
    return (bytes + TAPE_HEADER_SIZE - 1) / TAPE_HEADER_SIZE * TAPE_HEADER_SIZE;
}

/* Entries are bounded so that a hostile header cannot make the arithmetic above overflow. */
static bool tape_bounds_ok(const struct tape_spec *s)
{
    return (s->kind == TAPE_COLD || s->kind == TAPE_CHURN) && s->threads >= 1 &&
           s->threads <= RING_THREADS_MAX && s->live >= 1 && s->live <= TAPE_LIVE_MAX &&
           (s->kind == TAPE_CHURN) == (s->entries > 0) && s->entries <= (UINT32_C(1) << 28) &&
           s->size_min >= 1 && s->size_min <= s->size_max && s->size_max <= TAPE_SIZE_MAX &&
           s->remote_pct <= 100;
}

int tape_size(const struct tape_spec *spec, uint64_t *ret_bytes)
{
    if (!tape_bounds_ok(spec))
        return -EINVAL;
    *ret_bytes = TAPE_HEADER_SIZE + spec->threads * tape_stride(spec->live, spec->entries);
    return 0;
}

static inline uint32_t tape_bounded(uint32_t random, uint32_t count)
{
    return (uint32_t)(((uint64_t)random * count) >> 32);
}

/* Slots, sizes and hops of one thread. Slots and sizes come from the even draws of a counter,
 * hops from the odd ones, so the remote share does not change which slots and sizes follow. */
static void tape_write_stream(const struct tape_spec *s, uint32_t thread, uint64_t *out)
{
    const uint64_t seed = hash_mix(s->seed, thread);
    const uint32_t range = s->size_max - s->size_min + 1;
    const uint32_t remote_below = (uint32_t)(((uint64_t)s->remote_pct << 32) / 100 >> 1);
    uint64_t draw = 0;
    for (uint32_t i = 0; i < s->live; i++, draw += 2) {
        uint64_t r = hash_mix(seed, draw);
        out[i] = tape_entry(i, 0, s->size_min + tape_bounded((uint32_t)(r >> 32), range));
    }
    uint64_t *churn = out + s->live;
    const bool remote = s->threads > 1 && s->remote_pct > 0;
    for (uint32_t i = 0; i < s->entries; i++, draw += 2) {
        uint64_t r = hash_mix(seed, draw);
        uint32_t hop = 0;
        if (remote) {
            uint64_t q = hash_mix(seed, draw + 1);
            uint32_t other = 1 + tape_bounded((uint32_t)q, s->threads - 1);
            hop = (uint32_t)(q >> 33) < remote_below ? other : 0;
        }
        churn[i] = tape_entry(tape_bounded((uint32_t)r, s->live), hop,
                              s->size_min + tape_bounded((uint32_t)(r >> 32), range));
    }
    uint32_t body = s->live + s->entries;
    for (uint32_t i = 0; i < TAPE_PAD_ENTRIES; i++)
        out[body + i] = s->entries ? churn[i % s->entries] : out[i % s->live];
}

/* Four lanes: one chain of dependent multiplies would take longer than making the entries. */
static uint64_t tape_hash_words(uint64_t seed, const uint64_t *words, uint64_t words_count)
{
    uint64_t lane[4] = {seed, seed + 1, seed + 2, seed + 3};
    uint64_t i = 0;
    for (; i + 4 <= words_count; i += 4)
        for (unsigned k = 0; k < 4; k++) {
            lane[k] = (lane[k] ^ words[i + k]) * UINT64_C(0x9e3779b97f4a7c15);
            lane[k] ^= lane[k] >> 29;
        }
    for (; i < words_count; i++)
        lane[0] = hash_mix(lane[0], words[i]);
    return hash_mix(hash_mix(lane[0], lane[1]), hash_mix(lane[2], lane[3]));
}

static uint64_t tape_hash(const struct tape_header *h)
{
    const struct tape t = {.header = h};
    uint64_t hash = tape_hash_words(TAPE_MAGIC, (const uint64_t *)h,
                                    offsetof(struct tape_header, hash) / sizeof(uint64_t));
    for (uint32_t i = 0; i < h->threads; i++)
        hash = tape_hash_words(hash, tape_fill(&t, i), tape_stream_entries(h->live, h->entries));
    return hash;
}

static void tape_write(const struct tape_spec *s, struct tape_header *h)
{
    *h = (struct tape_header){
        .magic = TAPE_MAGIC,
        .version = TAPE_VERSION,
        .kind = (uint32_t)s->kind,
        .threads = s->threads,
        .live = s->live,
        .entries = s->entries,
        .size_min = s->size_min,
        .size_max = s->size_max,
        .remote_pct = s->remote_pct,
        .touch = s->touch,
        .seed = s->seed,
        .stride_bytes = tape_stride(s->live, s->entries),
    };
    for (uint32_t i = 0; i < s->threads; i++)
        tape_write_stream(
            s, i, (uint64_t *)((char *)h + TAPE_HEADER_SIZE + (uint64_t)i * h->stride_bytes));
    h->hash = tape_hash(h);
}

int tape_generate(const struct tape_spec *spec, int *ret_fd, uint64_t *ret_bytes, struct err *e)
{
    uint64_t bytes;
    if (tape_size(spec, &bytes) < 0)
        return err_set(e, ERR_INVALID, NULL, "tape: the specification is out of bounds");
    cleanup_(close_p) int fd = memfd_create("heapmark-tape", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_set_errno(e, ERR_IO, errno, "tape: cannot create a memfd");
    /* fallocate, so that a full memory is an error here and not a SIGBUS while writing. */
    if (fallocate(fd, 0, 0, (off_t)bytes) < 0)
        return err_set_errno(e, ERR_NO_SPACE, errno, "tape: no memory for %llu bytes",
                             (unsigned long long)bytes);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return err_set_errno(e, ERR_IO, errno, "tape: cannot map the memfd");
    tape_write(spec, map);
    /* F_SEAL_WRITE needs every writable mapping gone. */
    if (munmap(map, bytes) < 0 || fcntl(fd, F_ADD_SEALS, TAPE_SEALS | F_SEAL_SEAL) < 0)
        return err_set_errno(e, ERR_IO, errno, "tape: cannot seal the memfd");
    *ret_fd = take_fd(&fd);
    *ret_bytes = bytes;
    return 0;
}

static int tape_bad(struct err *e, const char *what)
{
    (void)err_set(e, ERR_INVALID, NULL, "tape: %s", what);
    return -EPROTO;
}

static int tape_check_entries(const struct tape *t, uint32_t thread, struct err *e)
{
    const struct tape_header *h = t->header;
    const uint64_t *at = tape_fill(t, thread);
    const uint64_t count = tape_stream_entries(h->live, h->entries);
    /* No early exit: the whole check is a few or-ed compares per entry. */
    uint32_t bad_slot = 0, bad_size = 0, bad_hop = 0, bad_fill = 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t size = tape_entry_size(at[i]);
        bad_slot |= tape_slot(at[i]) >= h->live;
        bad_size |= (size < h->size_min) | (size > h->size_max);
        bad_hop |= tape_hop(at[i]) >= h->threads;
    }
    for (uint32_t i = 0; i < h->live; i++)
        bad_fill |= (uint32_t)at[i] != i;
    if (bad_slot)
        return tape_bad(e, "an entry names a slot out of range");
    if (bad_size)
        return tape_bad(e, "an entry has a size out of range");
    if (bad_hop)
        return tape_bad(e, "an entry names a thread out of range");
    return bad_fill ? tape_bad(e, "a fill entry is not in slot order") : 0;
}

static int tape_check(const struct tape *t, struct err *e)
{
    const struct tape_header *h = t->header;
    const struct tape_spec spec = {
        .kind = (enum tape_kind)h->kind,
        .threads = h->threads,
        .live = h->live,
        .entries = h->entries,
        .size_min = h->size_min,
        .size_max = h->size_max,
        .remote_pct = h->remote_pct,
    };
    uint64_t bytes;
    if (h->magic != TAPE_MAGIC)
        return tape_bad(e, "wrong magic");
    if (h->version != TAPE_VERSION)
        return tape_bad(e, "unknown version");
    if (tape_size(&spec, &bytes) < 0)
        return tape_bad(e, "a header field is out of bounds");
    if (h->stride_bytes != tape_stride(h->live, h->entries) || bytes != t->bytes)
        return tape_bad(e, "size does not match the header");
    for (uint32_t i = 0; i < h->threads; i++) {
        int r = tape_check_entries(t, i, e);
        if (r < 0)
            return r;
    }
    return h->hash == tape_hash(h) ? 0 : tape_bad(e, "hash does not match the contents");
}

int tape_map(int fd, uint64_t bytes, struct tape *ret_tape, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set_errno(e, ERR_IO, errno, "tape: descriptor %d", fd);
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & TAPE_SEALS) != TAPE_SEALS)
        return tape_bad(e, "not a sealed memfd");
    if (bytes < TAPE_HEADER_SIZE || st.st_size < 0 || (uint64_t)st.st_size != bytes)
        return tape_bad(e, "size is not the one announced");
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return err_set_errno(e, ERR_IO, errno, "tape: cannot map the memfd");
    const struct tape tape = {.header = map, .bytes = bytes};
    int r = tape_check(&tape, e);
    if (r < 0) {
        (void)munmap(map, bytes);
        return r;
    }
    *ret_tape = tape;
    return 0;
}
