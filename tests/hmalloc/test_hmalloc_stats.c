/* hmalloc's figures, options and the calls glibc has beside the standard family. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocators/api/api.h"
#include "allocators/hmalloc/hmalloc.h"

struct mallinfo2 hm_mallinfo2(void);
struct mallinfo hm_mallinfo(void);
int hm_malloc_trim(size_t pad);
int hm_mallopt(int parameter, int value);
void hm_malloc_stats(void);
int hm_malloc_info(int options, FILE *file);

#define JSON_MAX (1 << 20)

static json_t *stats_json(void)
{
    static char text[JSON_MAX];
    json_error_t error;
    const size_t length = hmalloc_stats_json(text, sizeof text);
    assert_in_range(length, 1, sizeof text - 1);
    assert_int_equal(strlen(text), length);
    assert_null(strchr(text, '\n'));
    json_t *json = json_loads(text, 0, &error);
    if (!json)
        fail_msg("%s at %d in %s", error.text, error.position, text);
    return json;
}

static uint64_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        fail_msg("no number %s", name);
    return (uint64_t)json_integer_value(value);
}

static uint64_t used_of(const json_t *classes)
{
    size_t i;
    json_t *class;
    uint64_t bytes = 0;
    json_array_foreach(classes, i, class)
    {
        const uint64_t out = number(class, "handed_out"), idle = number(class, "in_magazines");
        assert_true(idle <= out && out <= number(class, "blocks"));
        bytes += (out - idle) * number(class, "size");
    }
    return bytes;
}

static void test_json_adds_up(void **state)
{
    void *small[500], *large = hm_malloc(100000), *huge = hm_malloc(40 << 20);
    (void)state;
    for (size_t i = 0; i < 500; i++)
        small[i] = hm_malloc(1 + i * 60);
    for (size_t i = 0; i < 500; i += 3)
        hm_free(small[i]);

    json_t *json = stats_json();
    const json_t *process = json_object_get(json, "process");
    const json_t *heaps = json_object_get(json, "heaps");
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    assert_string_equal(json_string_value(json_object_get(json, "version")), HMALLOC_VERSION);
    assert_int_equal(number(process, "allocated"), s.allocated);
    assert_int_equal(number(process, "large"), s.large);
    assert_int_equal(number(process, "large_count"), 2);
    assert_int_equal(number(process, "committed"), s.committed);
    assert_int_equal(number(process, "heaps_count"), json_array_size(heaps));
    assert_true(s.large >= (40u << 20) + 100000);

    const uint64_t used = used_of(json_object_get(json, "classes"));
    assert_int_equal(used + s.large, s.allocated);
    size_t i;
    json_t *heap;
    uint64_t heaps_used = 0;
    json_array_foreach(heaps, i, heap)
    {
        heaps_used += used_of(json_object_get(heap, "classes"));
        assert_true(number(heap, "handed_out") + number(heap, "free") + number(heap, "virgin") <=
                    number(heap, "slab_bytes"));
    }
    assert_int_equal(heaps_used, used);
    json_decref(json);
    for (i = 0; i < 500; i++)
        if (i % 3 != 0)
            hm_free(small[i]);
    hm_free(large);
    hm_free(huge);
}

/* Every length of buffer: a prefix, a NUL, the whole length returned, nothing beyond touched. */
static void test_json_truncates(void **state)
{
    static char whole[JSON_MAX], part[JSON_MAX];
    (void)state;
    const size_t length = hmalloc_stats_json(whole, sizeof whole);
    assert_int_equal(hmalloc_stats_json(NULL, 0), length);
    for (size_t size = 1; size <= length + 2; size += 1 + size / 40) {
        memset(part, 'x', sizeof part);
        errno = 77;
        assert_int_equal(hmalloc_stats_json(part, size), length);
        assert_int_equal(errno, 77);
        const size_t kept = size - 1 < length ? size - 1 : length;
        assert_int_equal(strlen(part), kept);
        assert_memory_equal(part, whole, kept);
        assert_int_equal(part[kept + 1 > size ? kept + 1 : size], 'x');
    }
}

static void *churn(void *stop)
{
    void *blocks[64] = {0};
    for (unsigned i = 0; !__atomic_load_n((bool *)stop, __ATOMIC_RELAXED); i++) {
        hm_free(blocks[i % 64]);
        blocks[i % 64] = hm_malloc(i * 7 % 5000);
    }
    for (unsigned i = 0; i < 64; i++)
        hm_free(blocks[i]);
    return NULL;
}

/* While others allocate the figures are a moment old, never absurd, and the text stays JSON. */
static void test_json_while_others_work(void **state)
{
    pthread_t threads[3];
    bool stop = false;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &stop), 0);
    for (int i = 0; i < 200; i++) {
        json_t *json = stats_json();
        const json_t *process = json_object_get(json, "process");
        assert_true(number(process, "allocated") < 100 << 20);
        assert_true(number(process, "magazines") < 100 << 20);
        (void)used_of(json_object_get(json, "classes"));
        json_decref(json);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(hmalloc_check(), 0);
}

/* ---- options ---- */

static void test_option_table(void **state)
{
    struct hmalloc_option o;
    size_t count = 0;
    (void)state;
    for (; hmalloc_option_at(count, &o) == 0; count++) {
        uint64_t value = 12345;
        assert_int_equal(strncmp(o.name, "HMALLOC_", 8), 0);
        assert_true(strlen(o.help) > 10);
        assert_true(o.minimum <= o.standard && o.standard <= o.maximum);
        assert_int_equal(hmalloc_option_get(o.name, &value), 0);
        assert_int_equal(value, o.value);
        if (o.kind == HMALLOC_CHOICE) {
            for (uint64_t i = 0; i <= o.maximum; i++)
                assert_non_null(o.choices[i]);
            assert_null(o.choices[o.maximum + 1]);
        }
        if (!o.at_run_time) {
            assert_int_equal(hmalloc_option_set(o.name, o.minimum), -1);
            assert_int_equal(errno, EPERM);
            continue;
        }
        assert_int_equal(hmalloc_option_set(o.name, o.maximum), 0);
        assert_int_equal(hmalloc_option_get(o.name, &value), 0);
        assert_int_equal(value, o.maximum);
        assert_int_equal(hmalloc_option_set(o.name, o.maximum + 1), -1);
        assert_int_equal(errno, EINVAL);
        if (o.minimum > 0) {
            assert_int_equal(hmalloc_option_set(o.name, o.minimum - 1), -1);
            assert_int_equal(errno, EINVAL);
        }
        assert_int_equal(hmalloc_option_set(o.name, o.standard), 0);
    }
    assert_in_range(count, 8, 40);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(hmalloc_option_get("HMALLOC_DECAY", &(uint64_t){0}), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(hmalloc_option_set("", 1), -1);
    assert_int_equal(errno, ENOENT);
}

struct outcome {
    int status;
    char output[65536];
};

/* In a process of its own with one variable set. */
static const struct outcome *with(const char *name, const char *value)
{
    static struct outcome o;
    int fds[2];
    size_t used = 0;
    ssize_t n;
    fflush(NULL);
    assert_int_equal(pipe(fds), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        setenv(name, value, 1);
        /* The table is read once per process, so the child is this program anew. */
        setenv("TEST_HMALLOC_CHILD", "1", 1);
        char *const argv[] = {"test_hmalloc_stats", NULL};
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(fds[1]);
    while (used < sizeof o.output - 1 &&
           (n = read(fds[0], o.output + used, sizeof o.output - 1 - used)) > 0)
        used += (size_t)n;
    o.output[used] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &o.status, 0), pid);
    return &o;
}

/* What the child does: allocate, say an option's value, leave the rest to the exit. */
static int child(void)
{
    uint64_t value = 0;
    void *kept = hm_malloc(123456);
    (void)hmalloc_option_get("HMALLOC_DECAY_MS", &value);
    hm_free(hm_malloc(100));
    return kept && value == 250 ? 0 : value == 77 ? 1 : 2;
}

static void test_environment(void **state)
{
    static const char *const bad[] = {"",   "x",   "0", "-1", "3600001", "99999999999999999999",
                                      "5 ", "0x10"};
    (void)state;
    const struct outcome *o = with("HMALLOC_DECAY_MS", "77");
    assert_int_equal(WEXITSTATUS(o->status), 1);
    assert_string_equal(o->output, "");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o = with("HMALLOC_DECAY_MS", bad[i]);
        assert_int_equal(o->status, 0);
        assert_string_equal(o->output, "hmalloc: HMALLOC_DECAY_MS: is set to no value within its "
                                       "bounds; ignored\n");
    }
    o = with("HMALLOC_ON_FAULT", "Abort");
    assert_int_equal(o->status, 0);
    assert_non_null(strstr(o->output, "HMALLOC_ON_FAULT"));
}

static void check_exit_line(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    if (!json)
        fail_msg("%s: %s", error.text, text);
    assert_true(number(json_object_get(json, "process"), "allocated") >= 123456);
    json_decref(json);
}

static void test_stats_at_exit(void **state)
{
    char path[] = "/tmp/hm-stats-XXXXXX", line[65536] = "";
    const int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    check_exit_line(with("HMALLOC_STATS_AT_EXIT", "1")->output);
    for (int i = 0; i < 2; i++) {
        const struct outcome *o = with("HMALLOC_STATS_AT_EXIT", path);
        assert_int_equal(o->status, 0);
        assert_string_equal(o->output, "");
    }
    FILE *file = fdopen(fd, "r");
    for (int i = 0; i < 2; i++) { /* one line of each process */
        assert_non_null(fgets(line, sizeof line, file));
        check_exit_line(line);
    }
    assert_null(fgets(line, sizeof line, file));
    fclose(file);
    unlink(path);
    const struct outcome *o = with("HMALLOC_STATS_AT_EXIT", "/nonexistent/file");
    assert_int_equal(o->status, 0);
    assert_string_equal(o->output, "hmalloc: HMALLOC_STATS_AT_EXIT: the file cannot be written\n");
}

/* ---- glibc's ---- */

static void test_mallinfo(void **state)
{
    (void)state;
    const struct mallinfo2 before = hm_mallinfo2();
    void *p = hm_malloc(20000), *huge = hm_malloc(3u << 30);
    const struct mallinfo2 i = hm_mallinfo2();
    const struct mallinfo old = hm_mallinfo();
    assert_in_range(i.uordblks - before.uordblks, 20000, 23000);
    assert_int_equal(i.hblks, before.hblks + 1);
    assert_int_equal(i.hblkhd - before.hblkhd, (size_t)3 << 30);
    assert_int_equal(old.hblkhd, INT32_MAX); /* does not fit */
    assert_int_equal(old.uordblks, i.uordblks);
    hm_free(p);
    hm_free(huge);
    assert_int_equal(hm_mallinfo2().uordblks, before.uordblks);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static void test_malloc_info(void **state)
{
    char *text = NULL;
    size_t size = 0;
    (void)state;
    void *p = hm_malloc(500);
    FILE *file = open_memstream(&text, &size);
    assert_int_equal(hm_malloc_info(1, file), EINVAL);
    assert_int_equal(hm_malloc_info(0, file), 0);
    fclose(file);
    assert_int_equal(strncmp(text, "<malloc version=\"1\">\n<heap nr=\"0\">", 33), 0);
    assert_int_equal(count(text, "<heap "), count(text, "</heap>"));
    assert_int_equal(count(text, "<sizes>"), count(text, "</sizes>"));
    assert_int_equal(count(text, "<"), count(text, ">"));
    assert_true(count(text, "<size from=") >= 1);
    assert_string_equal(text + size - 10, "</malloc>\n");
    free(text);
    hm_free(p);
    file = fopen("/dev/full", "we");
    setvbuf(file, NULL, _IONBF, 0);
    assert_int_equal(hm_malloc_info(0, file), EIO);
    fclose(file);
}

static void test_mallopt_and_trim(void **state)
{
    uint64_t kib = 0;
    (void)state;
    assert_int_equal(hm_mallopt(M_TRIM_THRESHOLD, 3 << 20), 1);
    assert_int_equal(hmalloc_option_get("HMALLOC_DIRTY_MIN_KIB", &kib), 0);
    assert_int_equal(kib, 3 << 10);
    assert_int_equal(hm_mallopt(M_TRIM_THRESHOLD, -1), 1);
    assert_int_equal(hm_mallopt(M_MMAP_THRESHOLD, 4096), 1);
    assert_int_equal(hm_mallopt(M_ARENA_MAX, 1), 1);
    assert_int_equal(hm_mallopt(M_MXFAST, 64), 1);
    assert_int_equal(hm_mallopt(M_MXFAST, 100000), 0);
    assert_int_equal(hm_mallopt(M_PERTURB, 1), 0);
    assert_int_equal(hm_mallopt(12345, 1), 0);

    void *p = hm_malloc(10 << 20);
    memset(p, 1, 10 << 20);
    hm_free(p);
    struct hmalloc_stats s;
    hmalloc_stats_get(&s);
    assert_true(s.dirty >= 10 << 20); /* "never trim" holds */
    assert_int_equal(hm_malloc_trim(0), 1);
    hmalloc_stats_get(&s);
    assert_int_equal(s.dirty, 0);
    assert_int_equal(hm_malloc_trim(0), 0);
    assert_int_equal(hm_mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
}

int main(void)
{
    if (getenv("TEST_HMALLOC_CHILD"))
        return child();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_adds_up),
        cmocka_unit_test(test_json_truncates),
        cmocka_unit_test(test_json_while_others_work),
        cmocka_unit_test(test_option_table),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_stats_at_exit),
        cmocka_unit_test(test_mallinfo),
        cmocka_unit_test(test_malloc_info),
        cmocka_unit_test(test_mallopt_and_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
