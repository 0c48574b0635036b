/* Tapes: golden contents, properties of the generator, and hostile bytes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "workloads/tape/tape.h"

static const struct tape_spec small = {
    .kind = TAPE_CHURN,
    .threads = 3,
    .live = 1000,
    .entries = 5000,
    .size_min = 16,
    .size_max = 1024,
    .remote_pct = 10,
    .touch = 1,
    .seed = 42,
};

static struct tape make(const struct tape_spec *spec)
{
    int fd;
    uint64_t bytes;
    struct tape t;
    struct err e = {0};
    assert_int_equal(tape_generate(spec, &fd, &bytes, &e), 0);
    assert_int_equal(tape_map(fd, bytes, &t, &e), 0);
    close(fd);
    return t;
}

static void unmap(const struct tape *t)
{
    assert_int_equal(munmap((void *)(uintptr_t)t->header, t->bytes), 0);
}

/* The bytes of a spec never change: results made years apart replay the same operations. A new
 * generator is a new TAPE_VERSION, and new numbers here. */
static void golden(void **state)
{
    (void)state;
    static const struct {
        struct tape_spec spec;
        uint64_t hash;
    } rows[] = {
        {{TAPE_CHURN, 1, 1000, 4096, 16, 1024, 0, 1, 1}, UINT64_C(0x6941477f5c304156)},
        {{TAPE_CHURN, 2, 1000, 4096, 16, 1024, 1, 1, 1}, UINT64_C(0xf8e03d1ae37378d0)},
        {{TAPE_CHURN, 4, 77, 10000, 1, 70000, 50, 0, 0xdeadbeef}, UINT64_C(0x2a91ab1f8441bc9a)},
        {{TAPE_COLD, 1, 100000, 0, 16, 1024, 0, 1, 7}, UINT64_C(0x06dc8c90a09a615b)},
        {{TAPE_COLD, 3, 1, 0, 8, 8, 0, 2, UINT64_MAX}, UINT64_C(0x5b5f321531a9753e)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape t = make(&rows[i].spec);
        if (t.header->hash != rows[i].hash)
            print_message("row %zu: UINT64_C(0x%016llx)\n", i, (unsigned long long)t.header->hash);
        assert_int_equal(t.header->hash, rows[i].hash);
        unmap(&t);
    }
}

/* Literal entries too, so that hash and generator cannot drift together. */
static void golden_entries(void **state)
{
    (void)state;
    struct tape t = make(&small);
    const uint64_t *fill = tape_fill(&t, 0), *churn = tape_churn(&t, 1);
    const uint64_t want_fill[] = {0x0000016a00000000, 0x000001fa00000001, 0x000002bb00000002},
                   want_churn[] = {0x000002020200018f, 0x0000038e00000252, 0x000001f100000157};
    for (size_t i = 0; i < 3; i++) {
        if (fill[i] != want_fill[i] || churn[i] != want_churn[i])
            print_message("0x%016llx 0x%016llx\n", (unsigned long long)fill[i],
                          (unsigned long long)churn[i]);
    }
    assert_memory_equal(fill, want_fill, sizeof want_fill);
    assert_memory_equal(churn, want_churn, sizeof want_churn);
    unmap(&t);
}

static void same_spec_same_bytes(void **state)
{
    (void)state;
    struct tape a = make(&small), b = make(&small);
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.header, b.header, a.bytes);
    unmap(&a);
    unmap(&b);
}

static void every_field_is_identity(void **state)
{
    (void)state;
    struct tape base = make(&small);
    for (unsigned i = 0; i < 8; i++) {
        struct tape_spec s = small;
        s.threads += i == 0;
        s.live += i == 1;
        s.entries += i == 2;
        s.size_min += i == 3;
        s.size_max += i == 4;
        s.remote_pct += i == 5;
        s.touch += i == 6;
        s.seed += i == 7;
        struct tape t = make(&s);
        assert_int_not_equal(t.header->hash, base.header->hash);
        unmap(&t);
    }
    unmap(&base);
}

/* Slots and sizes of a thread do not depend on how many threads there are, nor on the remote
 * share: T=1 and T=max of a ring, and rows that differ in remote_pct, see the same operations. */
static void threads_and_remote_change_hops_only(void **state)
{
    (void)state;
    struct tape_spec alone = small, calm = small;
    alone.threads = 1;
    calm.remote_pct = 0;
    struct tape a = make(&small), b = make(&alone), c = make(&calm);
    for (uint32_t i = 0; i < small.live + small.entries; i++) {
        uint64_t want = tape_fill(&a, 0)[i] & ~(UINT64_C(0xff) << TAPE_HOP_SHIFT);
        assert_int_equal(tape_fill(&b, 0)[i], want);
        assert_int_equal(tape_fill(&c, 0)[i], want);
    }
    unmap(&a);
    unmap(&b);
    unmap(&c);
}

static void shares_are_as_asked(void **state)
{
    (void)state;
    struct tape_spec s = small;
    s.entries = 100000;
    s.threads = 4;
    for (s.remote_pct = 0; s.remote_pct <= 100; s.remote_pct += 10) {
        struct tape t = make(&s);
        uint32_t remote = 0, hops[4] = {0};
        uint64_t size_sum = 0;
        for (uint32_t i = 0; i < s.entries; i++) {
            uint64_t entry = tape_churn(&t, 2)[i];
            hops[tape_hop(entry)]++;
            remote += tape_hop(entry) != 0;
            size_sum += tape_entry_size(entry);
        }
        /* Five standard deviations of a binomial share of 100,000. */
        uint32_t want = s.remote_pct * 1000;
        assert_in_range(remote, want > 800 ? want - 800 : want, want ? want + 800 : 0);
        assert_in_range(size_sum / s.entries, 510, 530);
        if (s.remote_pct == 100)
            for (unsigned hop = 1; hop < 4; hop++)
                assert_in_range(hops[hop], 32000, 35000);
        unmap(&t);
    }
}

static void extremes_of_size_occur(void **state)
{
    (void)state;
    struct tape_spec s = small;
    s.size_min = 1;
    s.size_max = 4;
    struct tape t = make(&s);
    unsigned seen[5] = {0};
    for (uint32_t i = 0; i < s.live; i++)
        seen[tape_entry_size(tape_fill(&t, 0)[i])]++;
    for (unsigned size = 1; size <= 4; size++)
        assert_in_range(seen[size], 150, 350);
    unmap(&t);
}

static void targets(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 5; threads++)
        for (uint32_t self = 0; self < threads; self++) {
            assert_int_equal(tape_target(self, 0, threads), self);
            for (uint32_t hop = 1; hop < 256; hop++) {
                uint32_t target = tape_target(self, hop, threads);
                assert_true(target < threads);
                if (threads > 1) /* remote stays remote, however many threads there are */
                    assert_int_not_equal(target, self);
            }
        }
}

static void pad_repeats_the_start(void **state)
{
    (void)state;
    struct tape t = make(&small);
    for (uint32_t i = 0; i < TAPE_PAD_ENTRIES; i++)
        assert_int_equal(tape_churn(&t, 2)[small.entries + i], tape_churn(&t, 2)[i]);
    unmap(&t);
}

static void bad_specs(void **state)
{
    (void)state;
    static const struct tape_spec rows[] = {
        {TAPE_NONE, 1, 10, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 0, 10, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, RING_THREADS_MAX + 1, 10, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 0, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 1, TAPE_LIVE_MAX + 1, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 10, 0, 1, 2, 0, 0, 0},
        {TAPE_COLD, 1, 10, 10, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 10, UINT32_MAX, 1, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 10, 10, 0, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 10, 10, 3, 2, 0, 0, 0},
        {TAPE_CHURN, 1, 10, 10, 1, UINT32_MAX, 0, 0, 0},
        {TAPE_CHURN, 1, 10, 10, 1, 2, 101, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = -7;
        uint64_t bytes = 0;
        struct err e = {0};
        assert_true(tape_generate(&rows[i], &fd, &bytes, &e) < 0);
        assert_int_equal(fd, -7);
        assert_int_equal(e.code, ERR_INVALID);
    }
}

static void specs_of_points(void **state)
{
    (void)state;
    const struct workload *w = workload_find("table-churn");
    struct workload_point p;
    struct tape_spec s;
    struct err e = {0};
    workload_defaults(w, &p);
    p.threads = 4;
    assert_int_equal(tape_spec_for(w, &p, 9, &s, &e), 0);
    assert_int_equal(s.kind, TAPE_CHURN);
    assert_int_equal(s.threads, 4);
    assert_int_equal(s.live, 100000);
    assert_int_equal(s.entries, TAPE_CHURN_ENTRIES);
    assert_int_equal(s.size_min, 16);
    assert_int_equal(s.size_max, 1024);
    assert_int_equal(s.remote_pct, 1);
    assert_int_equal(s.touch, 1);
    assert_int_equal(s.seed, 9);
    p.params[param_find(w->params, w->params_count, "size_min_bytes")].u = 2000;
    assert_true(tape_spec_for(w, &p, 9, &s, &e) < 0);
    assert_string_equal(e.field, "size_min_bytes");
    w = workload_find("table-cold");
    workload_defaults(w, &p);
    assert_int_equal(tape_spec_for(w, &p, 9, &s, &e), 0);
    assert_int_equal(s.entries, 0);
    p.threads = RING_THREADS_MAX + 1;
    assert_true(tape_spec_for(w, &p, 9, &s, &e) < 0);
    assert_string_equal(e.field, "threads");
}

/* --- hostile bytes: a good tape with one thing changed --- */

struct hostile {
    const char *name;
    void (*change)(struct tape_header *h, uint64_t *stream);
};

#define CHANGE(name, statement)                               \
    static void name(struct tape_header *h, uint64_t *stream) \
    {                                                         \
        (void)h, (void)stream;                                \
        statement;                                            \
    }
CHANGE(h_magic, h->magic ^= 1)
CHANGE(h_version, h->version++)
CHANGE(h_kind, h->kind = 99)
CHANGE(h_kind_cold, h->kind = TAPE_COLD)
CHANGE(h_threads_0, h->threads = 0)
CHANGE(h_threads_more, h->threads++)
CHANGE(h_threads_huge, h->threads = UINT32_MAX)
CHANGE(h_live_0, h->live = 0)
CHANGE(h_live_more, h->live += 1000)
CHANGE(h_live_less, h->live -= 1)
CHANGE(h_live_huge, h->live = UINT32_MAX)
CHANGE(h_entries_huge, h->entries = UINT32_MAX)
CHANGE(h_entries_less, h->entries -= 600)
CHANGE(h_size_min_0, h->size_min = 0)
CHANGE(h_size_order, h->size_min = h->size_max + 1)
CHANGE(h_size_max_less, h->size_max = 500)
CHANGE(h_remote, h->remote_pct = 1000)
CHANGE(h_seed, h->seed++)
CHANGE(h_stride_0, h->stride_bytes = 0)
CHANGE(h_stride_huge, h->stride_bytes = UINT64_MAX - 4095)
CHANGE(h_hash, h->hash ^= UINT64_C(1) << 63)
CHANGE(e_slot, stream[1500] |= TAPE_SLOT_MASK)
CHANGE(e_slot_pad, stream[6000 + 3] |= TAPE_SLOT_MASK)
CHANGE(e_hop, stream[1500] |= UINT64_C(0xff) << TAPE_HOP_SHIFT)
CHANGE(e_size_0, stream[1500] &= UINT32_MAX)
CHANGE(e_size_huge, stream[1500] |= UINT64_C(0xffffffff) << 32)
CHANGE(e_fill_order, stream[5] ^= 1)
CHANGE(e_one_bit, stream[1500] ^= UINT64_C(1) << 33)

static const struct hostile hostiles[] = {
    {"magic", h_magic},
    {"version", h_version},
    {"kind", h_kind},
    {"cold", h_kind_cold},
    {"threads 0", h_threads_0},
    {"threads+1", h_threads_more},
    {"threads max", h_threads_huge},
    {"live 0", h_live_0},
    {"live+", h_live_more},
    {"live-", h_live_less},
    {"live max", h_live_huge},
    {"entries max", h_entries_huge},
    {"entries-", h_entries_less},
    {"size_min 0", h_size_min_0},
    {"size order", h_size_order},
    {"size_max-", h_size_max_less},
    {"remote", h_remote},
    {"seed", h_seed},
    {"stride 0", h_stride_0},
    {"stride max", h_stride_huge},
    {"hash", h_hash},
    {"slot", e_slot},
    {"pad slot", e_slot_pad},
    {"hop", e_hop},
    {"size 0", e_size_0},
    {"size max", e_size_huge},
    {"fill order", e_fill_order},
    {"one bit", e_one_bit},
};

static int copy_of(const struct tape *t, const struct hostile *lie, unsigned seals)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)t->bytes), 0);
    char *map = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    memcpy(map, t->header, t->bytes);
    if (lie)
        lie->change((struct tape_header *)map, (uint64_t *)(map + TAPE_HEADER_SIZE));
    assert_int_equal(munmap(map, t->bytes), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void hostile_contents(void **state)
{
    (void)state;
    struct tape good = make(&small);
    for (size_t i = 0; i < sizeof hostiles / sizeof hostiles[0]; i++) {
        struct tape t = {0};
        struct err e = {0};
        int fd = copy_of(&good, &hostiles[i], SEALS);
        int r = tape_map(fd, good.bytes, &t, &e);
        if (r != -EPROTO)
            print_message("%s: %d\n", hostiles[i].name, r);
        assert_int_equal(r, -EPROTO);
        assert_null(t.header);
        assert_true(strncmp(e.message, "tape: ", 6) == 0);
        close(fd);
    }
    unmap(&good);
}

static void hostile_descriptors(void **state)
{
    (void)state;
    struct tape good = make(&small), t;
    struct err e = {0};
    const unsigned partial[] = {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_GROW,
                                F_SEAL_WRITE | F_SEAL_SHRINK};
    for (size_t i = 0; i < sizeof partial / sizeof partial[0]; i++) {
        int fd = copy_of(&good, NULL, partial[i]);
        assert_int_equal(tape_map(fd, good.bytes, &t, &e), -EPROTO);
        close(fd);
    }
    int fd = copy_of(&good, NULL, SEALS);
    const uint64_t sizes[] = {
        0, 1, TAPE_HEADER_SIZE - 1, TAPE_HEADER_SIZE, good.bytes - 1, good.bytes + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(tape_map(fd, sizes[i], &t, &e), -EPROTO);
    assert_int_equal(tape_map(fd, good.bytes, &t, &e), 0); /* the control */
    unmap(&t);
    close(fd);
    assert_int_equal(tape_map(-1, good.bytes, &t, &e), -EBADF);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(tape_map(file, good.bytes, &t, &e), -EPROTO);
    close(file);
    unmap(&good);
}

static void sealed_for_good(void **state)
{
    (void)state;
    int fd;
    uint64_t bytes;
    assert_int_equal(tape_generate(&small, &fd, &bytes, NULL), 0);
    assert_int_equal(fcntl(fd, F_GET_SEALS), SEALS | F_SEAL_SEAL);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(golden_entries),
        cmocka_unit_test(same_spec_same_bytes),
        cmocka_unit_test(every_field_is_identity),
        cmocka_unit_test(threads_and_remote_change_hops_only),
        cmocka_unit_test(shares_are_as_asked),
        cmocka_unit_test(extremes_of_size_occur),
        cmocka_unit_test(targets),
        cmocka_unit_test(pad_repeats_the_start),
        cmocka_unit_test(bad_specs),
        cmocka_unit_test(specs_of_points),
        cmocka_unit_test(hostile_contents),
        cmocka_unit_test(hostile_descriptors),
        cmocka_unit_test(sealed_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
