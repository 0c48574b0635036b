#include "daemon/topo/fingerprint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/hash.h"
#include "daemon/base/io.h"
#include "daemon/base/text.h"
#include "daemon/topo/cgroup_summary.h"

#define SYS_CPU      "sys/devices/system/cpu/"
#define SYS_THP      "sys/kernel/mm/transparent_hugepage/"
#define CPUINFO_SIZE 65536 /* the first CPUs of /proc/cpuinfo: they carry what we read */

/* Whole file below root, "" when it cannot be read or does not fit. */
static void read_text(int root, const char *path, char *buf, size_t buf_size)
{
    if (io_read_file(root, path, buf, buf_size) < 0)
        buf[0] = '\0';
}

static int read_int(int root, const char *path)
{
    uint64_t value;
    return io_read_u64(root, path, &value) < 0 || value > INT32_MAX ? -1 : (int)value;
}

static uint64_t read_u64(int root, const char *path)
{
    uint64_t value;
    return io_read_u64(root, path, &value) < 0 ? 0 : value;
}

/* The word in brackets of "always [madvise] never"; "" when there is none. */
static void bracketed(const char *text, char *buf, size_t buf_size)
{
    const char *open = strchr(text, '['), *shut = open ? strchr(open, ']') : NULL;
    buf[0] = '\0';
    if (shut)
        snprintf(buf, buf_size, "%.*s", (int)(shut - open - 1), open + 1);
}

static void read_choice(int root, const char *path, char *buf, size_t buf_size)
{
    char text[256];
    read_text(root, path, text, sizeof text);
    bracketed(text, buf, buf_size);
}

/* As much of a long file as fits: /proc/cpuinfo repeats itself for every CPU. */
static void read_head(int root, const char *path, char *buf, size_t buf_size)
{
    cleanup_(close_p) int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    while (fd >= 0 && used + 1 < buf_size) {
        ssize_t n = read(fd, buf + used, buf_size - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    buf[used] = '\0';
}

/* The rest of the first line "key<blanks>: rest" of a "key: value" file. False: no such line. */
static bool keyed_line(const char *text, const char *key, char *buf, size_t buf_size)
{
    size_t length = strlen(key);
    buf[0] = '\0';
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) != 0)
            continue;
        const char *at = line + length + strspn(line + length, " \t");
        if (*at != ':')
            continue;
        at++;
        at += strspn(at, " \t");
        snprintf(buf, buf_size, "%.*s", (int)strcspn(at, "\n"), at);
        return true;
    }
    return false;
}

static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length)
        if ((at == text || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

static void gather_hypervisor(int root, bool guest, struct host_facts *f)
{
    char vendor[48], product[48];
    read_text(root, "sys/class/dmi/id/sys_vendor", vendor, sizeof vendor);
    read_text(root, "sys/class/dmi/id/product_name", product, sizeof product);
    if (!guest)
        f->hypervisor[0] = '\0';
    else if (vendor[0] || product[0])
        snprintf(f->hypervisor, sizeof f->hypervisor, "%s%s%s", vendor,
                 vendor[0] && product[0] ? " " : "", product);
    else
        snprintf(f->hypervisor, sizeof f->hypervisor, "unknown");
}

/* "model name" on x86; arm64 has only numbers, which name a model as well. */
static void gather_cpu(int root, struct host_facts *f)
{
    cleanup_(free_p) char *text = malloc(CPUINFO_SIZE);
    char line[4096], part[32];
    if (!text)
        return;
    read_head(root, "proc/cpuinfo", text, CPUINFO_SIZE);
    if (!keyed_line(text, "model name", f->cpu_model, sizeof f->cpu_model) &&
        keyed_line(text, "CPU implementer", line, sizeof line) &&
        keyed_line(text, "CPU part", part, sizeof part))
        snprintf(f->cpu_model, sizeof f->cpu_model, "implementer %.32s part %.32s", line, part);
    (void)keyed_line(text, "microcode", f->microcode, sizeof f->microcode);
    bool guest = keyed_line(text, "flags", line, sizeof line) && has_word(line, "hypervisor");
    gather_hypervisor(root, guest || faccessat(root, "sys/hypervisor/type", R_OK, 0) == 0, f);
}

static void gather_kernel(int root, struct host_facts *f)
{
    read_text(root, "proc/sys/kernel/osrelease", f->kernel_release, sizeof f->kernel_release);
    read_text(root, "proc/sys/kernel/version", f->kernel_version, sizeof f->kernel_version);
    read_text(root, "proc/cmdline", f->cmdline, sizeof f->cmdline);
    if (confstr(_CS_GNU_LIBC_VERSION, f->libc, sizeof f->libc) == 0)
        f->libc[0] = '\0';
    f->aslr = read_int(root, "proc/sys/kernel/randomize_va_space");
    f->numa_balancing = read_int(root, "proc/sys/kernel/numa_balancing");
}

/* One governor of all CPUs, "mixed", or "" where there is no cpufreq. */
static void gather_governor(int root, struct host_facts *f)
{
    int fd = openat(root, SYS_CPU, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *d; (d = readdir(dir));) {
        char path[300], governor[sizeof f->governor];
        if (strncmp(d->d_name, "cpu", 3) != 0 || d->d_name[3] < '0' || d->d_name[3] > '9')
            continue;
        snprintf(path, sizeof path, "%s/cpufreq/scaling_governor", d->d_name);
        read_text(fd, path, governor, sizeof governor);
        if (governor[0] && f->governor[0] && strcmp(governor, f->governor) != 0)
            (void)text_copy(f->governor, sizeof f->governor, "mixed");
        else if (governor[0])
            (void)text_copy(f->governor, sizeof f->governor, governor);
    }
    closedir(dir);
}

static void gather_boost(int root, struct host_facts *f)
{
    int boost = read_int(root, SYS_CPU "cpufreq/boost");
    int no_turbo = read_int(root, SYS_CPU "intel_pstate/no_turbo");
    bool known = boost >= 0 || no_turbo >= 0;
    bool on = boost > 0 || no_turbo == 0;
    (void)text_copy(f->boost, sizeof f->boost, !known ? "" : on ? "on" : "off");
}

static int u64_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sizes N of the entries "hugepages-NkB" of a directory, ascending, in KiB. Returns the count. */
static unsigned page_sizes(int root, const char *path, uint64_t *ret_kib, unsigned capacity)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    unsigned count = 0;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    for (struct dirent *d; (d = readdir(dir)) && count < capacity;) {
        char *end = d->d_name;
        uint64_t kib = 0;
        if (strncmp(d->d_name, "hugepages-", 10) == 0)
            kib = strtoull(d->d_name + 10, &end, 10);
        if (kib > 0 && strcmp(end, "kB") == 0)
            ret_kib[count++] = kib;
    }
    closedir(dir);
    qsort(ret_kib, count, sizeof *ret_kib, u64_compare);
    return count;
}

static uint64_t pool_value(int root, uint64_t kib, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "sys/kernel/mm/hugepages/hugepages-%llukB/%s",
             (unsigned long long)kib, name);
    return read_u64(root, path);
}

static void gather_pools(int root, struct host_facts *f)
{
    uint64_t kib[HOST_POOLS_MAX];
    f->pools_count = page_sizes(root, "sys/kernel/mm/hugepages", kib, HOST_POOLS_MAX);
    for (unsigned i = 0; i < f->pools_count; i++)
        f->pools[i] = (struct host_pool){
            .page_bytes = kib[i] * 1024,
            .total = pool_value(root, kib[i], "nr_hugepages"),
            .free = pool_value(root, kib[i], "free_hugepages"),
            .reserved = pool_value(root, kib[i], "resv_hugepages"),
            .surplus = pool_value(root, kib[i], "surplus_hugepages"),
            .overcommit = pool_value(root, kib[i], "nr_overcommit_hugepages"),
        };
}

/* Sizes of transparent pages below or beside 2 MiB that are not "never": "64=always 2048=inherit".
 */
static void gather_thp(int root, struct host_facts *f)
{
    uint64_t kib[32];
    size_t used = 0;
    read_choice(root, SYS_THP "enabled", f->thp_enabled, sizeof f->thp_enabled);
    read_choice(root, SYS_THP "defrag", f->thp_defrag, sizeof f->thp_defrag);
    unsigned count = page_sizes(root, SYS_THP, kib, 32);
    for (unsigned i = 0; i < count; i++) {
        char path[128], mode[16], item[48];
        snprintf(path, sizeof path, SYS_THP "hugepages-%llukB/enabled", (unsigned long long)kib[i]);
        read_choice(root, path, mode, sizeof mode);
        if (!mode[0] || strcmp(mode, "never") == 0)
            continue;
        int n = snprintf(item, sizeof item, "%s%llu=%s", used ? " " : "",
                         (unsigned long long)kib[i], mode);
        if (used + (size_t)n >= sizeof f->thp_sizes)
            break;
        memcpy(f->thp_sizes + used, item, (size_t)n + 1);
        used += (size_t)n;
    }
}

static uint64_t meminfo_bytes(const char *text, const char *key)
{
    uint64_t bytes;
    return text_kib_field(text, key, &bytes) < 0 ? 0 : bytes;
}

static void gather_memory(int root, struct host_facts *f)
{
    char text[8192], zswap[8];
    read_head(root, "proc/meminfo", text, sizeof text);
    f->memory_bytes = meminfo_bytes(text, "MemTotal");
    f->swap_bytes = meminfo_bytes(text, "SwapTotal");
    read_text(root, "sys/module/zswap/parameters/enabled", zswap, sizeof zswap);
    f->zswap = zswap[0] ? zswap[0] == 'Y' || zswap[0] == '1' : -1;
    read_text(root, "sys/module/zswap/parameters/compressor", f->zswap_compressor,
              sizeof f->zswap_compressor);
    f->swappiness = read_int(root, "proc/sys/vm/swappiness");
    f->overcommit_memory = read_int(root, "proc/sys/vm/overcommit_memory");
    f->overcommit_ratio = read_int(root, "proc/sys/vm/overcommit_ratio");
}

void host_facts_gather(const char *root, struct host_facts *ret)
{
    *ret = (struct host_facts){.zswap = -1,
                               .swappiness = -1,
                               .overcommit_memory = -1,
                               .overcommit_ratio = -1,
                               .aslr = -1,
                               .numa_balancing = -1};
    cleanup_(close_p) int fd = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    gather_cpu(fd, ret);
    gather_kernel(fd, ret);
    gather_governor(fd, ret);
    gather_boost(fd, ret);
    gather_thp(fd, ret);
    gather_pools(fd, ret);
    read_text(fd, SYS_CPU "smt/control", ret->smt, sizeof ret->smt);
    gather_memory(fd, ret);
    cgroup_summary(fd, ret->cgroup, sizeof ret->cgroup);
}

struct lines {
    char *buf;
    size_t size, used;
    bool full;
};

/* Values are one line: a line break inside one would let it pose as another part. */
static void lines_add(struct lines *l, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void lines_add(struct lines *l, const char *name, const char *fmt, ...)
{
    char value[sizeof((struct host_facts *)0)->cmdline + 64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    for (char *c = value; *c; c++)
        if (*c == '\n')
            *c = ' ';
    int n = snprintf(l->buf + l->used, l->size - l->used, "%s=%s\n", name, value);
    if (n < 0 || (size_t)n >= l->size - l->used)
        l->full = true;
    else
        l->used += (size_t)n;
}

int host_key_text(const struct host_facts *f, const char *topology, char *buf, size_t buf_size)
{
    struct lines l = {.buf = buf, .size = buf_size};
    if (buf_size == 0)
        return -ENOSPC;
    lines_add(&l, "cpu", "%s", f->cpu_model);
    lines_add(&l, "topology", "%s", topology);
    lines_add(&l, "memory_gib", "%llu", (unsigned long long)((f->memory_bytes + (1u << 29)) >> 30));
    lines_add(&l, "microcode", "%s", f->microcode);
    lines_add(&l, "kernel", "%s %s", f->kernel_release, f->kernel_version);
    lines_add(&l, "cmdline", "%s", f->cmdline);
    lines_add(&l, "libc", "%s", f->libc);
    lines_add(&l, "governor", "%s", f->governor);
    lines_add(&l, "boost", "%s", f->boost);
    lines_add(&l, "thp", "%s", f->thp_enabled);
    lines_add(&l, "thp_defrag", "%s", f->thp_defrag);
    lines_add(&l, "thp_sizes", "%s", f->thp_sizes);
    lines_add(&l, "smt", "%s", f->smt);
    lines_add(&l, "swappiness", "%d", f->swappiness);
    lines_add(&l, "aslr", "%d", f->aslr);
    lines_add(&l, "numa_balancing", "%d", f->numa_balancing);
    lines_add(&l, "cgroup", "%s", f->cgroup);
    lines_add(&l, "hypervisor", "%s", f->hypervisor);
    return l.full ? -ENOSPC : (int)l.used;
}

int host_key(const struct host_facts *facts, const char *topology, char ret_key[HOST_KEY_SIZE])
{
    char text[HOST_TEXT_SIZE];
    uint8_t digest[SHA256_SIZE];
    int n = host_key_text(facts, topology, text, sizeof text);
    if (n < 0)
        return n;
    hash_sha256(text, (size_t)n, digest);
    text_hex(digest, (HOST_KEY_SIZE - 1) / 2, ret_key);
    return 0;
}
