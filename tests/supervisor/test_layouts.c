/* Which controller is served from where, on the hosts of many kinds: cgroup_layout.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/supervisor/cgroup_layout.h"

#define V2_ROOT "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 "

struct layout_case {
    const char *name, *mountinfo, *self, *v2_controllers;
    bool v2_can_kill;
    int version[CONTROLLER_COUNT_]; /* memory cpuset cpu pids freezer hugetlb */
    const char *own_memory;         /* directory that serves memory, NULL: not checked */
    const char *reason;             /* of memory when it is missing */
};

static const struct layout_case layouts[] = {
    {
        .name = "systemd, unified",
        .mountinfo = V2_ROOT "cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        .self = "0::/system.slice/heapmarkd.service\n",
        .v2_controllers = "cpuset cpu io memory hugetlb pids rdma misc",
        .v2_can_kill = true,
        .version = {2, 2, 2, 2, 2, 2},
        .own_memory = "/sys/fs/cgroup/system.slice/heapmarkd.service",
    },
    {
        .name = "user session with little delegated",
        .mountinfo = V2_ROOT "cgroup2 rw\n",
        .self = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n",
        .v2_controllers = "memory pids",
        .v2_can_kill = true,
        .version = {2, 0, 0, 2, 2, 0},
    },
    {
        .name = "v2 root, old kernel without kill and freeze",
        .mountinfo = V2_ROOT "none rw\n",
        .self = "0::/\n",
        .v2_controllers = "cpu memory pids",
        .version = {2, 0, 2, 2, 0, 0},
        .own_memory = "/sys/fs/cgroup",
    },
    {
        .name = "systemd's hybrid: v1 controllers, v2 for processes only",
        .mountinfo =
            "25 24 0:22 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs "
            "ro,mode=755\n"
            "26 25 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n"
            "27 25 0:24 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,name=systemd\n"
            "30 25 0:27 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory\n"
            "31 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:16 - cgroup cgroup rw,cpu,cpuacct\n"
            "32 25 0:29 / /sys/fs/cgroup/cpuset rw shared:17 - cgroup cgroup rw,cpuset\n"
            "33 25 0:30 / /sys/fs/cgroup/freezer rw shared:18 - cgroup cgroup rw,freezer\n"
            "34 25 0:31 / /sys/fs/cgroup/pids rw shared:19 - cgroup cgroup rw,pids\n",
        .self = "7:memory:/system.slice/x.service\n6:cpu,cpuacct:/system.slice/x.service\n"
                "5:cpuset:/\n4:freezer:/\n3:pids:/system.slice/x.service\n"
                "1:name=systemd:/system.slice/x.service\n0::/system.slice/x.service\n",
        .v2_controllers = "",
        .v2_can_kill = true,
        .version = {1, 1, 1, 1, 2, 0},
        .own_memory = "/sys/fs/cgroup/memory/system.slice/x.service",
    },
    {
        .name = "mixed: v2 has hugetlb only",
        .mountinfo = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
                     "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
                     "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
                     "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        .self = "4:memory:/process/0123\n3:cpuset:/\n0::/\n",
        .v2_controllers = "hugetlb",
        .v2_can_kill = true,
        .version = {1, 1, 0, 0, 2, 2},
        .own_memory = "/sys/fs/cgroup/memory/process/0123",
    },
    {
        .name = "pure v1, old",
        .mountinfo =
            "20 19 0:18 / /cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
            "21 19 0:19 / /cgroup/all rw,relatime - cgroup cgroup rw,cpuset,cpu,freezer,hugetlb\n",
        .self = "2:cpuset,cpu,freezer,hugetlb:/a b\n1:memory:/a b\n",
        .v2_controllers = "",
        .version = {1, 1, 1, 0, 1, 1},
        .own_memory = "/cgroup/memory/a b",
    },
    {
        .name = "container, v2, own cgroup namespace, read-only",
        .mountinfo = "700 699 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec - cgroup2 cgroup rw\n",
        .self = "0::/\n",
        .v2_controllers = "",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "mounted read-only",
    },
    {
        .name = "container, v1, bind mounts of its own group",
        .mountinfo =
            "900 899 0:26 /docker/ab12 /sys/fs/cgroup/memory rw - cgroup memory rw,memory\n"
            "901 899 0:27 /docker/ab12 /sys/fs/cgroup/pids ro - cgroup pids rw,pids\n",
        .self = "5:memory:/docker/ab12\n4:pids:/docker/ab12\n",
        .v2_controllers = "",
        .version = {1, 0, 0, 0, 0, 0},
        .own_memory = "/sys/fs/cgroup/memory",
    },
    {
        .name = "container group with a child of ours",
        .mountinfo = "900 899 0:26 /docker/ab12 /cg/memory rw - cgroup memory rw,memory\n",
        .self = "5:memory:/docker/ab12/child\n",
        .v2_controllers = "",
        .version = {1, 0, 0, 0, 0, 0},
        .own_memory = "/cg/memory/child",
    },
    {
        .name = "a group whose name only begins like the mounted one",
        .mountinfo = "900 899 0:26 /docker/ab /cg/memory rw - cgroup memory rw,memory\n",
        .self = "5:memory:/docker/ab12\n",
        .v2_controllers = "",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "our own cgroup lies outside of what is mounted",
    },
    {
        .name = "cgroup namespace entered from outside",
        .mountinfo = "35 24 0:30 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        .self = "0::/../../system.slice/ssh.service\n",
        .v2_controllers = "memory",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "our own cgroup lies outside of what is mounted",
    },
    {
        .name = "own group deleted",
        .mountinfo = V2_ROOT "cgroup2 rw\n",
        .self = "0::/gone (deleted)\n",
        .v2_controllers = "memory",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "our own cgroup lies outside of what is mounted",
    },
    {
        .name = "mounted twice, read-only first",
        .mountinfo =
            "35 24 0:30 / /mnt/ro ro,relatime - cgroup2 cgroup2 rw\n" V2_ROOT "cgroup2 rw\n",
        .self = "0::/x\n",
        .v2_controllers = "memory",
        .version = {2, 0, 0, 0, 0, 0},
        .own_memory = "/sys/fs/cgroup/x",
    },
    {
        .name = "spaces in the mount point",
        .mountinfo = "35 24 0:30 / /my\\040cgroups rw - cgroup2 cgroup2 rw\n",
        .self = "0::/x\n",
        .v2_controllers = "memory",
        .version = {2, 0, 0, 0, 0, 0},
        .own_memory = "/my cgroups/x",
    },
    {
        .name = "optional fields, many and none",
        .mountinfo =
            "35 24 0:30 / /cg rw shared:1 master:2 propagate_from:3 - cgroup2 cgroup2 rw\n",
        .self = "0::/\n",
        .v2_controllers = "pids",
        .version = {0, 0, 0, 2, 0, 0},
    },
    {
        .name = "no line for us in self/cgroup",
        .mountinfo = V2_ROOT "cgroup2 rw\n",
        .self = "",
        .v2_controllers = "memory",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "/proc/self/cgroup does not name our own cgroup",
    },
    {
        .name = "nothing mounted",
        .mountinfo = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n",
        .self = "0::/\n",
        .v2_controllers = "",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "no cgroup hierarchy is mounted",
    },
    {
        .name = "empty and broken texts",
        .mountinfo =
            "\n - \n1 2 3\n - cgroup2\n1 2 3 / /x rw - cgroup\n1 2 0:1 / /x rw - cgroup2\n",
        .self = "::\n0\n0:\n:::::\n0::relative\n",
        .v2_controllers = "",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "no cgroup hierarchy is mounted",
    },
    {
        .name = "a controller we do not know is passed over, one we know not guessed",
        .mountinfo = V2_ROOT "cgroup2 rw\n",
        .self = "0::/\n",
        .v2_controllers = "memoryx xmemory mem cpusets dmem misc",
        .version = {0, 0, 0, 0, 0, 0},
        .reason = "not offered by any mounted hierarchy",
    },
};

static void test_layouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const struct layout_case *c = &layouts[i];
        struct cgroup_layout l;
        cgroup_layout_parse(c->mountinfo, c->self, &l);
        cgroup_layout_choose(&l, c->v2_controllers, c->v2_can_kill);
        for (unsigned k = 0; k < CONTROLLER_COUNT_; k++) {
            int at = l.where[k];
            int version = at < 0 ? 0 : (int)l.hierarchies[at].version;
            if (version != c->version[k])
                fail_msg("%s: %s is version %d, expected %d (%s)", c->name,
                         wire_controller_name((enum wire_controller)k), version, c->version[k],
                         l.reason[k]);
            assert_int_equal(at < 0, l.reason[k][0] != '\0');
            assert_true(at < 0 || l.hierarchies[at].serves & 1u << k);
        }
        int memory = l.where[CONTROLLER_MEMORY];
        if (c->own_memory)
            assert_string_equal(l.hierarchies[memory].own, c->own_memory);
        if (c->reason)
            assert_string_equal(l.reason[CONTROLLER_MEMORY], c->reason);
    }
}

/* Every cut of a good text and every flipped byte: no crash, nothing out of bounds. */
static void test_layouts_spoiled(void **state)
{
    (void)state;
    const struct layout_case *c = &layouts[3];
    size_t length = strlen(c->mountinfo);
    char *text = malloc(length + 1);
    assert_non_null(text);
    for (size_t i = 0; i <= length; i++) {
        struct cgroup_layout l;
        memcpy(text, c->mountinfo, i);
        text[i] = '\0';
        cgroup_layout_parse(text, c->self, &l);
        memcpy(text, c->mountinfo, length + 1);
        if (i < length)
            text[i] = (char)(text[i] ^ 0x0a);
        cgroup_layout_parse(text, c->self, &l);
        cgroup_layout_choose(&l, c->v2_controllers, true);
        assert_true(l.hierarchies_count <= CGROUP_HIERARCHIES_MAX);
    }
    free(text);
}

static void test_layout_bounds(void **state)
{
    (void)state;
    char mountinfo[8192] = "", self[4096] = "0::/";
    memset(self + 4, 'p', 3000);
    memcpy(self + 3004, "\n", 2);
    struct cgroup_layout l;
    cgroup_layout_parse(V2_ROOT "cgroup2 rw\n", self, &l);
    assert_int_equal(l.hierarchies_count, 0); /* a path that does not fit is not cut */
    memset(mountinfo, 'x', 8000);
    cgroup_layout_parse(mountinfo, "0::/\n", &l);
    assert_int_equal(l.hierarchies_count, 0);
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        uint16_t values[8];
        unsigned count;
        const char *text;
    } lists[] = {
        {{0}, 1, "0"},
        {{3, 1, 2, 0}, 4, "0-3"},
        {{5, 1, 3}, 3, "1,3,5"},
        {{8, 0, 1, 2, 9}, 5, "0-2,8-9"},
        {{0}, 0, ""},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char text[64];
        assert_int_equal(cgroup_format_list(lists[i].values, lists[i].count, text, sizeof text),
                         (int)strlen(lists[i].text));
        assert_string_equal(text, lists[i].text);
        assert_true(cgroup_list_equal(text, lists[i].values, lists[i].count));
    }
    char tiny[4];
    static const uint16_t values[] = {10, 20};
    assert_int_equal(cgroup_format_list(values, 2, tiny, sizeof tiny), -ENOSPC);
    static const char *const unequal[] = {"10",          "10,20,30",      "10-20", "",
                                          "x",           "10,x",          "10-",   "10 20",
                                          "99999999999", "10,20-99999999"};
    for (size_t i = 0; i < sizeof unequal / sizeof unequal[0]; i++)
        assert_false(cgroup_list_equal(unequal[i], values, 2));
    assert_true(cgroup_list_equal("20,10\n", values, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_layouts_spoiled),
        cmocka_unit_test(test_layout_bounds),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
