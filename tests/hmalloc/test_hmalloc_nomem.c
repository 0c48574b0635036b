/* The kernel says no: the n-th mapping for every n, mappings over a limit, no more mappings at all,
 * locked memory. Linked with --wrap, so that hmalloc's calls come by here; everything is the code
 * that ships. Each case begins in a process of its own, because the first mappings are the tables.
 */
#include "tests/hmalloc/hm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/tagmap.h"

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
void *__real_mremap(void *address, size_t old_size, size_t new_size, int flags, void *to);
void *__wrap_mremap(void *address, size_t old_size, size_t new_size, int flags, void *to);

/* What the kernel refuses. One thread. */
static struct {
    long calls;        /* of mmap and mremap that would take memory, so far */
    long fail_at;      /* this one fails, 0: none */
    long fail_count;   /* and so many altogether */
    size_t single_max; /* no mapping is larger, 0: any size */
    bool no_unmap;     /* munmap fails, as where it would split one mapping too many */
} kernel;

static bool refuses(size_t size)
{
    kernel.calls++;
    return (kernel.fail_at != 0 && kernel.calls >= kernel.fail_at &&
            kernel.calls < kernel.fail_at + kernel.fail_count) ||
           (kernel.single_max != 0 && size > kernel.single_max);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (refuses(size)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, size, protection, flags, fd, offset);
}

void *__wrap_mremap(void *address, size_t old_size, size_t new_size, int flags, void *to)
{
    if (new_size > old_size && refuses(new_size)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mremap(address, old_size, new_size, flags, to);
}

int __wrap_munmap(void *address, size_t size)
{
    if (kernel.no_unmap) {
        errno = ENOMEM;
        return -1;
    }
    return __real_munmap(address, size);
}

/* ---- a process of its own ---- */

static void in_child(int (*what)(long argument), long argument)
{
    int status;
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(60);
        _exit(what(argument));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("with %ld: %s %d", argument, WIFEXITED(status) ? "line" : "signal",
                 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* In the child: the line that failed, as far as an exit status goes. */
#define EXPECT(condition)                                           \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return __LINE__ % 255 + 1;                              \
        }                                                           \
    } while (0)

/* ---- a program that goes on when there is no memory ---- */

#define BLOCKS 400

struct program {
    unsigned char *block[BLOCKS];
    size_t size[BLOCKS];
    unsigned failures;
};

static size_t program_size(unsigned i)
{
    static const size_t sizes[] = {24, 100, 700, 3000, 9000, 32768, 70000, 24, 200000};
    return sizes[i % 9] + (i == 129 ? MIB(20) : 0);
}

/* Take, grow and give back; what fails leaves everything as it was. */
static int program_run(struct program *p)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        errno = 0;
        const size_t size = program_size(i);
        unsigned char *block = i % 5 == 1   ? hm_calloc(1, size)
                               : i % 5 == 2 ? hm_memalign(MIB(1), size) /* a mapping of its own */
                                            : hm_malloc(size);
        if (!block) {
            EXPECT(errno == ENOMEM);
            p->failures++;
            continue;
        }
        for (size_t k = 0; i % 5 == 1 && k < size; k++)
            EXPECT(block[k] == 0);
        hm_fill(block, size, i);
        p->block[i] = block;
        p->size[i] = size;
        if (i % 3 == 0) {
            errno = 0;
            block = hm_realloc(block, 2 * size);
            EXPECT(block || errno == ENOMEM);
            p->failures += !block;
            p->block[i] = block ? block : p->block[i];
        }
        EXPECT(hm_intact(p->block[i], size, size, i));
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        EXPECT(!p->block[i] || hm_intact(p->block[i], p->size[i], p->size[i], i));
        hm_free(p->block[i]);
        p->block[i] = NULL;
    }
    return 0;
}

/* After the storm: as if nothing had been. */
static int program_recovers(void)
{
    struct program p = {0};
    const int line = program_run(&p);
    if (line)
        return line;
    EXPECT(p.failures == 0);
    EXPECT(hm_allocated() == 0);
    EXPECT(hmalloc_check() == 0);
    return 0;
}

/* ---- cases ---- */

static int fails_at(long n, long count)
{
    struct program p = {0};
    kernel.calls = 0;
    kernel.fail_at = n;
    kernel.fail_count = count;
    int line = program_run(&p);
    if (line)
        return line;
    EXPECT(kernel.calls >= n); /* it was reached */
    EXPECT(hmalloc_check() == 0);
    kernel.fail_at = 0;
    return program_recovers();
}

static int fails_once(long n)
{
    return fails_at(n, 1);
}

static int fails_for_a_while(long n)
{
    return fails_at(n, 5);
}

static int fails_from(long n)
{
    return fails_at(n, 1000000);
}

static void test_nth_mapping(void **state)
{
    (void)state;
    /* Under ThreadSanitizer, which has nothing to find here, a fork costs a fifth of a second. */
    for (long n = 1; n <= 100; n += HM_TSAN ? 9 : 1) {
        in_child(fails_once, n);
        if (n < 20 || n % 8 == 0) {
            in_child(fails_for_a_while, n);
            in_child(fails_from, n);
        }
    }
}

/* No reservation of the flat map, as under RLIMIT_AS or vm.overcommit_memory = 2: smaller tables.
 */
static int small_table(long single_max)
{
    kernel.single_max = (size_t)single_max;
    struct program p = {0};
    const int line = program_run(&p);
    if (line)
        return line;
    EXPECT(tagmap_mask < (uintptr_t)1 << 23);
    EXPECT((tagmap_mask + 1) * sizeof(tag_t) <= (size_t)single_max);
    /* NULL's entry is never anybody's: free(NULL) asks for it. */
    EXPECT(!tagmap_claim((void *)((tagmap_mask + 1) << UNIT_SHIFT), 1));
    EXPECT(!tagmap_claim((void *)(tagmap_mask << UNIT_SHIFT), 2));
    EXPECT(tagmap_get(NULL) == 0);
    /* Nobody else's address is ours, whatever entry it falls on. */
    unsigned char *mine = hm_malloc(100);
    EXPECT(mine && tagmap_owns(mine));
    EXPECT(!tagmap_owns(mine + ((tagmap_mask + 1) << UNIT_SHIFT)));
    hm_free(mine);
    kernel.single_max = 0;
    return program_recovers();
}

static void test_small_tables(void **state)
{
    (void)state;
    in_child(small_table, (long)MIB(70));
    in_child(small_table, (long)MIB(46)); /* also: chunks and larger ones still go */
    in_child(small_table, (long)MIB(24)); /* and here chunks begin small */
}

/* munmap fails where it would split a mapping beyond vm.max_map_count: pages go, addresses stay. */
static int no_unmap(long unused)
{
    struct program p = {0};
    (void)unused;
    kernel.no_unmap = true;
    int line = program_run(&p);
    if (line)
        return line;
    (void)hmalloc_purge();
    kernel.no_unmap = false;
    return program_recovers();
}

static void test_no_unmap(void **state)
{
    (void)state;
    in_child(no_unmap, 0);
}

/* All mappings there may be are there; hmalloc does with what it has, and later with more. */
static int no_more_mappings(long unused)
{
    enum { MANY = 1 << 17 };
    static void *pages[MANY];
    int many = 0;
    (void)unused;
    void *first = hm_malloc(1);
    for (; many < MANY; many++) {
        /* Alternating rights, so that they do not merge. */
        pages[many] = __real_mmap(NULL, 4096, many % 2 ? PROT_READ : PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages[many] == MAP_FAILED)
            break;
    }
    if (many == MANY) /* vm.max_map_count is larger here */
        return 0;
    struct program p = {0};
    int line = program_run(&p);
    if (line)
        return line;
    (void)hmalloc_purge();
    EXPECT(hmalloc_check() == 0);
    /* From the ends, where no mapping is split. */
    for (int i = many - 1; i >= 0; i--)
        (void)__real_munmap(pages[i], 4096);
    hm_free(first);
    return program_recovers();
}

static void test_no_more_mappings(void **state)
{
    (void)state;
    in_child(no_more_mappings, 0);
}

/* mlockall: MADV_DONTNEED fails on locked pages, and calloc must not take them for zeros. */
static int locked_memory(long unused)
{
    enum { COUNT = 200 };
    static unsigned char *blocks[COUNT];
    static const size_t sizes[] = {1000, 5000, 100000};
    (void)unused;
    hm_free(hm_malloc(1)); /* not the tables: 16 GiB of page tables would be locked too */
    for (unsigned k = 0; k < 3; k++) {
        const size_t size = sizes[k], count = size > KIB(64) ? 20 : COUNT;
        for (size_t i = 0; i < count; i++) {
            blocks[i] = hm_malloc(size);
            EXPECT(blocks[i]);
            memset(blocks[i], 0xee, size);
            if (mlock(blocks[i], size) != 0)
                return 77;
        }
        for (size_t i = 0; i < count; i++)
            if (i % 50)
                hm_free(blocks[i]);
        (void)hmalloc_purge();
        for (size_t i = 0; i < count; i++)
            if (i % 50) {
                blocks[i] = hm_calloc(1, size);
                EXPECT(blocks[i]);
                for (size_t b = 0; b < size; b++)
                    EXPECT(blocks[i][b] == 0);
            }
        for (size_t i = 0; i < count; i++)
            hm_free(blocks[i]);
    }
    return hmalloc_check();
}

static void test_locked_memory(void **state)
{
    (void)state;
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit now;
    if (setrlimit(RLIMIT_MEMLOCK, &all) != 0 &&
        (getrlimit(RLIMIT_MEMLOCK, &now) != 0 || now.rlim_cur < MIB(8)))
        skip();
    in_child(locked_memory, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth_mapping),   cmocka_unit_test(test_small_tables),
        cmocka_unit_test(test_no_unmap),      cmocka_unit_test(test_no_more_mappings),
        cmocka_unit_test(test_locked_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
