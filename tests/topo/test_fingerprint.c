/* Host facts from fixture trees, and what the host key depends on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/topo/fingerprint.h"
#include "tests/lib/remove_tree.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

struct file {
    const char *path, *text;
};

static const struct file server[] = {
    {"proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU 9000 @ 2.5GHz\n"
                     "microcode\t: 0xa0011d5\nflags\t\t: fpu vme sse hypervisor_not avx2\n\n"
                     "processor\t: 1\nmodel name\t: Another\nmicrocode\t: 0x1\n"},
    {"proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"},
    {"proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1\n"},
    {"proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 mitigations=off\n"},
    {"proc/sys/kernel/randomize_va_space", "2\n"},
    {"proc/sys/kernel/numa_balancing", "0\n"},
    {"proc/meminfo", "MemTotal:       65841032 kB\nMemFree:  1 kB\nSwapTotal:       8388604 kB\n"},
    {"proc/sys/vm/swappiness", "60\n"},
    {"proc/sys/vm/overcommit_memory", "0\n"},
    {"proc/sys/vm/overcommit_ratio", "50\n"},
    {"proc/self/mountinfo",
     "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
     "31 24 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
     "32 31 0:29 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
     "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct,clone_children\n"
     "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
     "35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
     "not a mount line at all\n"},
    {"sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n"},
    {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"},
    {"sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"},
    {"sys/devices/system/cpu/cpufreq/boost", "1\n"},
    {"sys/devices/system/cpu/smt/control", "off\n"},
    {"sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"},
    {"sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n"},
    {"sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled",
     "always [inherit] madvise never\n"},
    {"sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled",
     "[always] inherit madvise never\n"},
    {"sys/kernel/mm/transparent_hugepage/hugepages-128kB/enabled",
     "always inherit madvise [never]\n"},
    {"sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "2\n"},
    {"sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n"},
    {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n"},
    {"sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500\n"},
    {"sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "3\n"},
    {"sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "4\n"},
    {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "5\n"},
    {"sys/module/zswap/parameters/enabled", "N\n"},
    {"sys/module/zswap/parameters/compressor", "lzo\n"},
    {"sys/class/dmi/id/sys_vendor", "Example Corp\n"},
};

struct tree {
    char root[64];
};

static void tree_write(const struct tree *t, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", t->root, path);
    for (char *slash = full + strlen(t->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    struct tree *t = calloc(1, sizeof *t);
    snprintf(t->root, sizeof t->root, "/tmp/heapmark-facts-XXXXXX");
    if (!mkdtemp(t->root))
        return -1;
    for (size_t i = 0; i < LENGTH(server); i++)
        tree_write(t, server[i].path, server[i].text);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct tree *t = *state;
    int r = remove_tree(t->root);
    free(t);
    return r;
}

static void test_gather(void **state)
{
    const struct tree *t = *state;
    struct host_facts f;
    host_facts_gather(t->root, &f);
    assert_string_equal(f.cpu_model, "Example CPU 9000 @ 2.5GHz");
    assert_string_equal(f.microcode, "0xa0011d5");
    assert_string_equal(f.kernel_release, "6.1.0-18-amd64");
    assert_string_equal(f.kernel_version, "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1");
    assert_string_equal(f.cmdline, "BOOT_IMAGE=/vmlinuz root=/dev/sda1 mitigations=off");
    assert_memory_equal(f.libc, "glibc ", 6);
    assert_string_equal(f.governor, "performance");
    assert_string_equal(f.boost, "on");
    assert_string_equal(f.thp_enabled, "madvise");
    assert_string_equal(f.thp_defrag, "madvise");
    assert_string_equal(f.thp_sizes, "64=always 2048=inherit");
    assert_string_equal(f.smt, "off");
    assert_true(f.memory_bytes == UINT64_C(65841032) * 1024);
    assert_true(f.swap_bytes == UINT64_C(8388604) * 1024);
    assert_int_equal(f.zswap, 0);
    assert_string_equal(f.zswap_compressor, "lzo");
    assert_int_equal(f.swappiness, 60);
    assert_int_equal(f.overcommit_memory, 0);
    assert_int_equal(f.overcommit_ratio, 50);
    assert_int_equal(f.aslr, 2);
    assert_int_equal(f.numa_balancing, 0);
    assert_string_equal(f.cgroup, "v1 cpu cpuacct memory; v2 hugetlb");
    assert_string_equal(f.hypervisor, ""); /* "hypervisor_not" is another flag */
    assert_int_equal(f.pools_count, 2);
    assert_int_equal(f.pools[0].page_bytes, 2 << 20);
    assert_int_equal(f.pools[0].total, 512);
    assert_int_equal(f.pools[0].free, 500);
    assert_int_equal(f.pools[0].reserved, 3);
    assert_int_equal(f.pools[0].surplus, 4);
    assert_int_equal(f.pools[0].overcommit, 5);
    assert_int_equal(f.pools[1].page_bytes, 1 << 30);
    assert_int_equal(f.pools[1].free, 1);
}

/* A host that tells nothing is described as such, and still has a key. */
static void test_nothing_to_read(void **state)
{
    (void)state;
    static const char *const roots[] = {"/nonexistent-root", "/dev/null", "/tmp"};
    for (size_t i = 0; i < LENGTH(roots); i++) {
        struct host_facts f;
        char key[HOST_KEY_SIZE];
        host_facts_gather(roots[i], &f);
        assert_string_equal(f.cpu_model, "");
        assert_string_equal(f.cgroup, "");
        assert_string_equal(f.governor, "");
        assert_string_equal(f.boost, "");
        assert_int_equal(f.swappiness, -1);
        assert_int_equal(f.zswap, -1);
        assert_int_equal(f.pools_count, 0);
        assert_int_equal(host_key(&f, "", key), 0);
        assert_int_equal(strlen(key), HOST_KEY_SIZE - 1);
    }
}

static void test_broken_files(void **state)
{
    const struct tree *t = *state;
    struct host_facts f;
    char *long_line = malloc(70000);
    assert_non_null(long_line);
    memset(long_line, 'x', 69999);
    long_line[69999] = '\0';
    tree_write(t, "proc/cmdline", long_line);
    tree_write(t, "proc/cpuinfo", long_line);
    tree_write(t, "proc/sys/vm/swappiness", "-1\n");
    tree_write(t, "proc/sys/vm/overcommit_memory", "99999999999\n");
    tree_write(t, "proc/meminfo", "MemTotal: lots kB\nSwapTotal\n");
    tree_write(t, "sys/kernel/mm/transparent_hugepage/enabled", "always madvise never\n");
    tree_write(t, "sys/kernel/mm/transparent_hugepage/defrag", "always [madvise\n");
    tree_write(t, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "many\n");
    tree_write(t, "sys/kernel/mm/hugepages/junk/nr_hugepages", "1\n");
    host_facts_gather(t->root, &f);
    free(long_line);
    assert_string_equal(f.cmdline, "");
    assert_string_equal(f.cpu_model, "");
    assert_int_equal(f.swappiness, -1);
    assert_int_equal(f.overcommit_memory, -1);
    assert_int_equal(f.memory_bytes, 0);
    assert_string_equal(f.thp_enabled, "");
    assert_string_equal(f.thp_defrag, "");
    assert_int_equal(f.pools_count, 2);
    assert_int_equal(f.pools[0].total, 0);
}

static void test_variants(void **state)
{
    const struct tree *t = *state;
    struct host_facts f;
    tree_write(t, "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
    tree_write(t, "sys/devices/system/cpu/cpufreq/boost", "0\n");
    tree_write(t, "sys/module/zswap/parameters/enabled", "Y\n");
    tree_write(t, "proc/cpuinfo", "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
    tree_write(t, "sys/hypervisor/type", "xen\n");
    tree_write(t, "proc/self/mountinfo", "29 1 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
    tree_write(t, "sys/fs/cgroup/cgroup.controllers", "memory cpu cpuset io\n");
    host_facts_gather(t->root, &f);
    assert_string_equal(f.governor, "mixed");
    assert_string_equal(f.boost, "off");
    assert_int_equal(f.zswap, 1);
    assert_string_equal(f.cpu_model, "implementer 0x41 part 0xd0c");
    assert_string_equal(f.hypervisor, "Example Corp");
    assert_string_equal(f.cgroup, "v2 cpu cpuset io memory");
    tree_write(t, "proc/cpuinfo", "flags\t: fpu hypervisor\n");
    tree_write(t, "sys/class/dmi/id/sys_vendor", "");
    host_facts_gather(t->root, &f);
    assert_string_equal(f.hypervisor, "unknown");
}

static void key_of(const struct tree *t, const char *topology, char ret_key[HOST_KEY_SIZE])
{
    struct host_facts f;
    host_facts_gather(t->root, &f);
    assert_int_equal(host_key(&f, topology, ret_key), 0);
}

/* Each part of the key changes it; what merely moves while a host runs does not. */
static void test_key_parts(void **state)
{
    const struct tree *t = *state;
    static const struct {
        const char *path, *text;
        bool changes;
    } rows[] = {
        {"proc/cpuinfo", "model name : Other\n", true},
        {"proc/cpuinfo", "model name : Other\nmicrocode : 0x2\n", true},
        {"proc/cpuinfo", "model name : Other\nmicrocode : 0x2\nflags : hypervisor\n", true},
        {"proc/sys/kernel/osrelease", "6.2.0\n", true},
        {"proc/sys/kernel/version", "#2 SMP\n", true},
        {"proc/cmdline", "quiet\n", true},
        {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n", true},
        {"sys/devices/system/cpu/cpufreq/boost", "0\n", true},
        {"sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n", true},
        {"sys/kernel/mm/transparent_hugepage/defrag", "[always] never\n", true},
        {"sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "[never]\n", true},
        {"sys/devices/system/cpu/smt/control", "on\n", true},
        {"proc/sys/vm/swappiness", "1\n", true},
        {"proc/sys/kernel/randomize_va_space", "0\n", true},
        {"sys/fs/cgroup/unified/cgroup.controllers", "hugetlb memory\n", true},
        {"proc/meminfo", "MemTotal: 33554432 kB\n", true},
        {"proc/meminfo", "MemTotal: 33550000 kB\n", false}, /* still 32 GiB */
        {"proc/meminfo", "MemTotal: 33550000 kB\nSwapTotal: 5 kB\n", false},
        {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "9\n", false},
        {"sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "9\n", false},
        {"proc/sys/vm/overcommit_memory", "2\n", false},
        {"sys/module/zswap/parameters/enabled", "Y\n", false},
    };
    char before[HOST_KEY_SIZE], after[HOST_KEY_SIZE];
    key_of(t, "shape", before);
    key_of(t, "other shape", after);
    assert_string_not_equal(before, after);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        tree_write(t, rows[i].path, rows[i].text);
        key_of(t, "shape", after);
        if ((strcmp(before, after) != 0) != rows[i].changes)
            fail_msg("%s %s the host key", rows[i].path,
                     rows[i].changes ? "did not change" : "changed");
        memcpy(before, after, sizeof before);
    }
}

/* A value cannot pose as another part by holding a line break. */
static void test_key_text_is_unambiguous(void **state)
{
    (void)state;
    struct host_facts a = {.swappiness = -1}, b = {.swappiness = -1};
    char text[HOST_TEXT_SIZE], small[32];
    snprintf(a.cmdline, sizeof a.cmdline, "quiet\nlibc=glibc 9");
    snprintf(b.cmdline, sizeof b.cmdline, "quiet");
    snprintf(b.libc, sizeof b.libc, "glibc 9");
    assert_true(host_key_text(&a, "t", text, sizeof text) > 0);
    assert_non_null(strstr(text, "cmdline=quiet libc=glibc 9\nlibc=\n"));
    assert_int_equal(host_key_text(&a, "t", small, sizeof small), -ENOSPC);
    assert_int_equal(host_key_text(&a, "t", small, 0), -ENOSPC);
}

static void test_this_host(void **state)
{
    (void)state;
    struct host_facts f;
    char first[HOST_KEY_SIZE], second[HOST_KEY_SIZE];
    host_facts_gather("", &f);
    assert_true(f.memory_bytes > 0);
    assert_true(f.kernel_release[0] != '\0');
    assert_int_equal(host_key(&f, "x", first), 0);
    host_facts_gather("", &f);
    assert_int_equal(host_key(&f, "x", second), 0);
    assert_string_equal(first, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gather, setup, teardown),
        cmocka_unit_test(test_nothing_to_read),
        cmocka_unit_test_setup_teardown(test_broken_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_variants, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_parts, setup, teardown),
        cmocka_unit_test(test_key_text_is_unambiguous),
        cmocka_unit_test(test_this_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
