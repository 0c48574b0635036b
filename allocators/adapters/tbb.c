/* oneTBB's scalable allocator (scalable_allocator.h). It tells neither version nor figures. */
#include <errno.h>
#include <stddef.h>

#include "allocators/adapters/lookup.h"

static int tbb_purge(void *dl)
{
    typedef int command_fn(int command, void *parameter);
    command_fn *command = (command_fn *)adapter_lookup(dl, "scalable_allocation_command");
    if (!command)
        return -ENOSYS;
    /* 0 is TBBMALLOC_CLEAN_ALL_BUFFERS; it returns 0 (done) or 4 (no effect: nothing
     * there to clean). */
    int r = command(0, NULL);
    return r == 0 || r == 4 ? 0 : -EIO;
}

const struct adapter adapter_tbb = {.name = "tbb", .purge = tbb_purge};
