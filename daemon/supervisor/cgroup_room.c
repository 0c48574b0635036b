#include "daemon/supervisor/cgroup_room.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/io.h"
#include "daemon/base/text.h"
#include "daemon/supervisor/cgroup_ops.h"

/* Cache that nobody uses is given up before a limit hurts. */
static uint64_t usage_read(int dir, const char *file, const char *cache_key)
{
    uint64_t usage = 0, cache = 0;
    if (io_read_u64(dir, file, &usage) < 0)
        return 0;
    (void)cgroup_read_key(dir, "memory.stat", cache_key, &cache);
    return usage > cache ? usage - cache : 0;
}

static uint64_t room_at(int dir)
{
    static const char *const limits[] = {"memory.max", "memory.high", "memory.limit_in_bytes"};
    uint64_t lowest = UINT64_MAX, limit;
    for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (io_read_u64(dir, limits[i], &limit) == 0 && limit < lowest)
            lowest = limit;
    if (lowest == UINT64_MAX)
        return lowest;
    uint64_t usage = usage_read(dir, "memory.current", "inactive_file");
    if (usage == 0)
        usage = usage_read(dir, "memory.usage_in_bytes", "total_inactive_file");
    return lowest > usage ? lowest - usage : 0;
}

uint64_t cgroup_room_at(const char *directory)
{
    char path[CGROUP_PATH_MAX];
    uint64_t lowest = UINT64_MAX;
    if (!text_copy(path, sizeof path, directory))
        return lowest;
    for (char *end = path + strlen(path); end > path; end = strrchr(path, '/')) {
        *end = '\0';
        int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            continue;
        uint64_t room = room_at(dir);
        close(dir);
        if (room < lowest)
            lowest = room;
    }
    return lowest;
}

uint64_t cgroup_room(const struct cgroup_layout *layout)
{
    /* Where the memory controller cannot be used (read-only in a container) its limits count all
     * the same; there our own cgroup is what is mounted. */
    static const char *const usual[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory"};
    int at = layout->where[CONTROLLER_MEMORY];
    if (at >= 0)
        return cgroup_room_at(layout->hierarchies[at].own);
    uint64_t v2 = cgroup_room_at(usual[0]), v1 = cgroup_room_at(usual[1]);
    return v2 < v1 ? v2 : v1;
}
