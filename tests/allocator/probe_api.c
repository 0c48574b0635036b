/* The malloc family's contract: what C17 and POSIX demand of every allocator, and for ours also
 * what allocators/api/api.h promises where the standards leave a choice. */
#include "tests/allocator/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sizes no object can have, out of the compiler's sight. */
static volatile size_t huge_sizes[] = {
    (size_t)PTRDIFF_MAX + 1, SIZE_MAX,        SIZE_MAX - 7,
    SIZE_MAX - 15,           SIZE_MAX - 4095, SIZE_MAX / 2 + 4096};
#define HUGE_COUNT (sizeof huge_sizes / sizeof huge_sizes[0])

static const size_t sizes[] = {
    1,     2,     7,     8,     15,     16,     17,     24,     31,     32,      33,
    40,    41,    47,    48,    63,     64,     100,    127,    128,    255,     256,
    512,   1000,  1023,  1024,  1025,   2047,   4096,   4097,   8192,   16384,   32759,
    32760, 32761, 65536, 99999, 131072, 262143, 262144, 262145, 524288, 1048576, 3000000};
#define SIZES_COUNT (sizeof sizes / sizeof sizes[0])

static void fill(unsigned char *block, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        block[i] = (unsigned char)(seed + i * 7);
}

static bool filled(const unsigned char *block, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        if (block[i] != (unsigned char)(seed + i * 7))
            return false;
    return true;
}

static bool aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

/* POSIX wants ENOMEM with every null pointer; C17 does not, and half of the field leaves it out. */
static bool errno_is(const struct probe *p, int value)
{
    return !(p->flags & PROBE_IN_TREE) || errno == value;
}

static const char *check_sizes(struct probe *p)
{
    unsigned char *blocks[SIZES_COUNT];
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        blocks[i] = p->malloc(sizes[i]);
        EXPECT(blocks[i]);
        EXPECT(aligned(blocks[i], sizes[i] >= 16 ? 16 : 8));
        fill(blocks[i], sizes[i], (unsigned)i);
    }
    for (size_t i = 0; i < SIZES_COUNT; i++)
        EXPECT(filled(blocks[i], sizes[i], (unsigned)i)); /* none overlaps another */
    for (size_t i = 0; i < SIZES_COUNT; i++)
        p->free(blocks[i]);
    return NULL;
}

/* The null allocator: any block, writable, aligned. */
static const char *check_null_blocks(struct probe *p)
{
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        unsigned char *block = p->malloc(sizes[i]);
        EXPECT(block);
        EXPECT(aligned(block, 64));
        block[0] = block[sizes[i] - 1] = 1;
        p->free(block);
    }
    EXPECT(p->malloc((size_t)4 << 20));
    EXPECT(!p->malloc(((size_t)4 << 20) + 1) && errno == ENOMEM);
    return NULL;
}

static const char *check_zero(struct probe *p)
{
    void *a = p->malloc(0), *b = p->malloc(0);
    EXPECT(!a || a != b); /* C17 7.22.3: a null pointer or a unique one */
    p->free(a);
    p->free(b);
    p->free(NULL);
    return NULL;
}

static const char *check_huge(struct probe *p)
{
    void *before = p->malloc(100);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        errno = 0;
        EXPECT(!p->malloc(huge_sizes[i]));
        EXPECT(errno_is(p, ENOMEM));
        if (p->calloc) {
            EXPECT(!p->calloc(1, huge_sizes[i]));
            EXPECT(!p->calloc(huge_sizes[i], 1));
        }
    }
    void *after = p->malloc(100);
    EXPECT(before && after);
    p->free(before);
    p->free(after);
    return NULL;
}

static const char *check_calloc_zeroes(struct probe *p)
{
    static const unsigned char zeroes[70000];
    for (int round = 0; round < 4; round++) {
        unsigned char *dirty[40];
        for (size_t i = 0; i < 40; i++) {
            dirty[i] = p->malloc(i * i * 40 + 1);
            EXPECT(dirty[i]);
            memset(dirty[i], 0xa5, i * i * 40 + 1);
        }
        for (size_t i = 0; i < 40; i++)
            p->free(dirty[i]);
        for (size_t i = 0; i < 40; i++) {
            dirty[i] = p->calloc(i * i + 1, 40);
            EXPECT(dirty[i]);
            EXPECT(memcmp(dirty[i], zeroes, (i * i + 1) * 40) == 0);
            memset(dirty[i], 0xa5, (i * i + 1) * 40);
        }
        for (size_t i = 0; i < 40; i++)
            p->free(dirty[i]);
    }
    return NULL;
}

static const char *check_calloc_large_zeroes(struct probe *p)
{
    for (int round = 0; round < 3; round++) {
        size_t size = (size_t)3 << 19;
        unsigned char *block = p->calloc(3, size / 3);
        EXPECT(block);
        for (size_t i = 0; i < size; i++)
            EXPECT(block[i] == 0);
        memset(block, 0xff, size);
        p->free(block);
    }
    return NULL;
}

static const char *check_calloc_overflow(struct probe *p)
{
    volatile size_t counts[] = {SIZE_MAX / 2 + 1, (size_t)1 << 32, SIZE_MAX, 3};
    volatile size_t each[] = {2, (size_t)1 << 32, SIZE_MAX, SIZE_MAX / 2};
    for (size_t i = 0; i < 4; i++) {
        errno = 0;
        EXPECT(!p->calloc(counts[i], each[i]));
        EXPECT(errno_is(p, ENOMEM));
    }
    return NULL;
}

static const char *check_realloc_contents(struct probe *p)
{
    for (size_t from = 0; from < SIZES_COUNT; from += 3) {
        for (size_t to = 0; to < SIZES_COUNT; to += 2) {
            unsigned char *block = p->malloc(sizes[from]);
            EXPECT(block);
            fill(block, sizes[from], 3);
            block = p->realloc(block, sizes[to]);
            EXPECT(block);
            EXPECT(aligned(block, sizes[to] >= 16 ? 16 : 8));
            EXPECT(filled(block, sizes[from] < sizes[to] ? sizes[from] : sizes[to], 3));
            fill(block, sizes[to], 4);
            EXPECT(filled(block, sizes[to], 4));
            p->free(block);
        }
    }
    return NULL;
}

static const char *check_realloc_null(struct probe *p)
{
    unsigned char *block = p->realloc(NULL, 100);
    EXPECT(block);
    fill(block, 100, 9);
    p->free(block);
    return NULL;
}

static const char *check_realloc_fails_whole(struct probe *p)
{
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        unsigned char *block = p->malloc(1000);
        EXPECT(block);
        fill(block, 1000, 5);
        errno = 0;
        EXPECT(!p->realloc(block, huge_sizes[i]));
        EXPECT(errno_is(p, ENOMEM));
        EXPECT(filled(block, 1000, 5)); /* C17 7.22.3.5: unchanged */
        p->free(block);
    }
    return NULL;
}

/* Sizes are multiples of the alignment: C11 asked for it, and Scudo holds callers to it. */
static const char *check_aligned(struct probe *p)
{
    size_t most = p->flags & RING_SUBJECT_NULL ? 4096 : 65536;
    for (size_t alignment = 16; alignment <= most; alignment *= 2) {
        unsigned char *blocks[8];
        for (size_t i = 0; i < 8; i++) {
            blocks[i] = p->aligned_alloc(alignment, alignment * (i + 1));
            EXPECT(blocks[i]);
            EXPECT(aligned(blocks[i], alignment));
            fill(blocks[i], alignment * (i + 1), (unsigned)i);
        }
        for (size_t i = 0; i < 8 && !(p->flags & RING_SUBJECT_NULL); i++)
            EXPECT(filled(blocks[i], alignment * (i + 1), (unsigned)i));
        for (size_t i = 0; i < 8; i++)
            p->free(blocks[i]);
    }
    return NULL;
}

static const char *check_aligned_realloc(struct probe *p)
{
    for (size_t alignment = 32; alignment <= 8192; alignment *= 4) {
        unsigned char *block = p->aligned_alloc(alignment, 4 * alignment);
        EXPECT(block);
        fill(block, 4 * alignment, 8);
        block = p->realloc(block, 9 * alignment);
        EXPECT(block);
        EXPECT(filled(block, 4 * alignment, 8));
        block = p->realloc(block, alignment);
        EXPECT(block);
        EXPECT(filled(block, alignment, 8));
        p->free(block);
    }
    return NULL;
}

static const char *check_usable(struct probe *p)
{
    for (size_t i = 0; i < SIZES_COUNT; i++) {
        unsigned char *block = p->malloc(sizes[i]);
        EXPECT(block);
        EXPECT(p->usable_size(block) >= sizes[i]);
        EXPECT(p->usable_size(block) <= 2 * sizes[i] + (1 << 16));
        p->free(block);
    }
    return NULL;
}

/* All of what usable_size says can be written without harm to a neighbour. */
static const char *check_usable_writable(struct probe *p)
{
    unsigned char *blocks[64];
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = p->malloc(i * 9 + 1);
        EXPECT(blocks[i]);
        fill(blocks[i], p->usable_size(blocks[i]), (unsigned)i);
    }
    for (size_t i = 0; i < 64; i++)
        EXPECT(filled(blocks[i], p->usable_size(blocks[i]), (unsigned)i));
    for (size_t i = 0; i < 64; i++)
        p->free(blocks[i]);
    return NULL;
}

/* --- ours only: the whole family by its standard names --------------------------------------- */

#define FUNCTION(type, name, ...) \
    type (*name)(__VA_ARGS__) = (type(*)(__VA_ARGS__))probe_symbol(p, #name)

static const char *check_our_zero(struct probe *p)
{
    FUNCTION(void *, reallocarray, void *, size_t, size_t);
    void *a = p->malloc(0), *b = p->malloc(0), *c = p->calloc(0, 7), *d = p->calloc(SIZE_MAX, 0);
    EXPECT(a && b && c && d);
    if (!(p->flags & RING_SUBJECT_NULL))
        EXPECT(a != b && b != c && c != d);
    EXPECT(!p->realloc(a, 0)); /* freed */
    EXPECT(!reallocarray(b, 0, 9));
    void *e = p->realloc(NULL, 0);
    EXPECT(e);
    p->free(c);
    p->free(d);
    p->free(e);
    return NULL;
}

static const char *check_our_errno(struct probe *p)
{
    static const size_t to_free[] = {0, 100, 40000, 5 << 20};
    for (size_t i = 0; i < 4; i++) {
        if ((p->flags & RING_SUBJECT_NULL) && to_free[i] > 4 << 20)
            break;
        void *block = p->malloc(to_free[i]);
        errno = 4242;
        p->free(block);
        EXPECT(errno == 4242);
    }
    p->free(NULL);
    EXPECT(errno == 4242);
    return NULL;
}

static const char *check_our_posix_memalign(struct probe *p)
{
    FUNCTION(int, posix_memalign, void **, size_t, size_t);
    static const size_t bad[] = {0, 1, 2, 3, 4, 7, 9, 12, 24, 48, 4095, SIZE_MAX};
    void *block = &block;
    errno = 4242;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        EXPECT(posix_memalign(&block, bad[i], 100) == EINVAL);
        EXPECT(block == &block);
    }
    EXPECT(posix_memalign(&block, 64, huge_sizes[0]) == ENOMEM);
    EXPECT(posix_memalign(&block, (size_t)1 << 63, 1) == ENOMEM);
    EXPECT(block == &block);
    EXPECT(errno == 4242); /* the error is the return value and nothing else */
    for (size_t alignment = 8; alignment <= 4096; alignment *= 2) {
        EXPECT(posix_memalign(&block, alignment, 100) == 0);
        EXPECT(aligned(block, alignment));
        p->free(block);
    }
    EXPECT(posix_memalign(&block, 64, 0) == 0);
    EXPECT(block);
    p->free(block);
    return NULL;
}

static const char *check_our_aligned_odd_sizes(struct probe *p)
{
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        for (size_t size = 0; size < 3 * alignment; size += alignment / 4 + 1) {
            unsigned char *block = p->aligned_alloc(alignment, size);
            EXPECT(block);
            EXPECT(aligned(block, alignment));
            fill(block, size, 6);
            EXPECT(filled(block, size, 6));
            p->free(block);
        }
    }
    return NULL;
}

static const char *check_our_alignment_errors(struct probe *p)
{
    FUNCTION(void *, memalign, size_t, size_t);
    volatile size_t bad[] = {0, 3, 24, 4097, SIZE_MAX};
    for (size_t i = 0; i < 5; i++) {
        errno = 0;
        EXPECT(!p->aligned_alloc(bad[i], 64) && errno == EINVAL);
        errno = 0;
        EXPECT(!memalign(bad[i], 64) && errno == EINVAL);
    }
    errno = 0;
    EXPECT(!memalign((size_t)1 << 63, 64) && errno == ENOMEM);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        errno = 0;
        EXPECT(!p->aligned_alloc(64, huge_sizes[i]) && errno == ENOMEM);
        errno = 0;
        EXPECT(!p->aligned_alloc((size_t)1 << 40, huge_sizes[i]) && errno == ENOMEM);
    }
    return NULL;
}

/* Great alignments either work or are refused; a wrong address is never the answer. */
static const char *check_our_great_alignments(struct probe *p)
{
    for (size_t alignment = 1 << 17; alignment <= (size_t)1 << 31; alignment *= 2) {
        for (size_t size = 1; size <= 1 << 20; size *= 32) {
            errno = 0;
            unsigned char *block = p->aligned_alloc(alignment, size);
            if (!block) {
                EXPECT(errno == ENOMEM);
                continue;
            }
            EXPECT(aligned(block, alignment));
            block[0] = block[size - 1] = 1;
            p->free(block);
        }
    }
    return NULL;
}

static const char *check_our_pages(struct probe *p)
{
    FUNCTION(void *, valloc, size_t);
    FUNCTION(void *, pvalloc, size_t);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    static const size_t some[] = {0, 1, 100, 4095, 4096, 4097, 100000};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        unsigned char *v = valloc(some[i]), *w = pvalloc(some[i]);
        EXPECT(v && aligned(v, page));
        EXPECT(w && aligned(w, page));
        size_t rounded = (some[i] + page - 1) / page * page;
        memset(w, 1, rounded ? rounded : page);
        if (p->usable_size)
            EXPECT(p->usable_size(w) >= (rounded ? rounded : page));
        p->free(v);
        p->free(w);
    }
    errno = 0;
    EXPECT(!pvalloc(SIZE_MAX) && errno == ENOMEM);
    errno = 0;
    EXPECT(!valloc(SIZE_MAX) && errno == ENOMEM);
    return NULL;
}

static const char *check_our_reallocarray(struct probe *p)
{
    FUNCTION(void *, reallocarray, void *, size_t, size_t);
    volatile size_t count = SIZE_MAX / 2 + 1;
    unsigned char *block = reallocarray(NULL, 10, 10);
    EXPECT(block);
    fill(block, 100, 1);
    errno = 0;
    EXPECT(!reallocarray(block, count, 2) && errno == ENOMEM);
    EXPECT(filled(block, 100, 1));
    block = reallocarray(block, 100, 100);
    EXPECT(block);
    if (!(p->flags & RING_SUBJECT_NULL))
        EXPECT(filled(block, 100, 1));
    p->free(block);
    return NULL;
}

static const char *check_our_sized_free(struct probe *p)
{
    FUNCTION(void, free_sized, void *, size_t);
    FUNCTION(void, free_aligned_sized, void *, size_t, size_t);
    FUNCTION(void, cfree, void *);
    for (size_t i = 0; i < 1000; i++) {
        free_sized(p->malloc(i), i);
        free_aligned_sized(p->aligned_alloc(64, i), 64, i);
        cfree(p->malloc(i));
    }
    free_sized(NULL, 0);
    free_aligned_sized(NULL, 64, 0);
    return NULL;
}

static const char *check_our_usable_null(struct probe *p)
{
    EXPECT(p->usable_size(NULL) == 0);
    return NULL;
}

enum {
    CALLOC = 1,
    REALLOC = 2,
    ALIGNED = 4,
    USABLE = 8,
    OURS = 16,     /* in-tree only */
    CONTENTS = 32, /* blocks are distinct */
    ONLY_NULL = 64,
    SLOW = 128,
};

static const struct check {
    const char *name;
    const char *(*run)(struct probe *p);
    unsigned needs;
} checks[] = {
    {"sizes", check_sizes, CONTENTS},
    {"null blocks", check_null_blocks, ONLY_NULL},
    {"zero", check_zero, CONTENTS},
    {"huge", check_huge, 0},
    {"calloc zeroes", check_calloc_zeroes, CALLOC | CONTENTS},
    {"calloc large zeroes", check_calloc_large_zeroes, CALLOC},
    {"calloc overflow", check_calloc_overflow, CALLOC},
    {"realloc contents", check_realloc_contents, REALLOC | CONTENTS | SLOW},
    {"realloc null", check_realloc_null, REALLOC},
    {"realloc fails whole", check_realloc_fails_whole, REALLOC},
    {"aligned", check_aligned, ALIGNED},
    {"aligned realloc", check_aligned_realloc, ALIGNED | REALLOC | CONTENTS},
    {"usable", check_usable, USABLE},
    {"usable writable", check_usable_writable, USABLE},
    {"our zero", check_our_zero, OURS},
    {"our errno", check_our_errno, OURS},
    {"our posix_memalign", check_our_posix_memalign, OURS},
    {"our aligned odd sizes", check_our_aligned_odd_sizes, OURS},
    {"our alignment errors", check_our_alignment_errors, OURS},
    {"our great alignments", check_our_great_alignments, OURS},
    {"our pages", check_our_pages, OURS},
    {"our reallocarray", check_our_reallocarray, OURS},
    {"our sized free", check_our_sized_free, OURS},
    {"our usable null", check_our_usable_null, OURS | USABLE},
};

static unsigned offered(const struct probe *p, bool quick)
{
    return (quick ? 0u : SLOW) | (p->calloc ? CALLOC : 0u) | (p->realloc ? REALLOC : 0u) |
           (p->aligned_alloc ? ALIGNED : 0u) | (p->usable_size ? USABLE : 0u) |
           (p->flags & PROBE_IN_TREE ? OURS : 0u) |
           (p->flags & RING_SUBJECT_NULL ? ONLY_NULL : CONTENTS);
}

const char *probe_api(struct probe *p, const char *arg)
{
    const char *failed = NULL;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        if (checks[i].needs & ~offered(p, strcmp(arg, "quick") == 0))
            continue;
        const char *why = checks[i].run(p);
        if (why)
            fprintf(stderr, "probe api: %s: expected %s\n", checks[i].name, why);
        failed = failed ? failed : why;
    }
    return failed;
}
