/* A program that misuses the heap ends here, with one line that says how. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allocators/classic/heap.h"

noreturn void fault_locked(const char *call, const void *payload, const char *what)
{
    char line[160];
    /* snprintf of %s and %p allocates nothing. The lock is left for a SIGABRT handler that does. */
    lock_leave(&heap.lock);
    int length = snprintf(line, sizeof line, "classic: %s(%p): %s\n", call, payload, what);
    (void)!write(STDERR_FILENO, line, length < (int)sizeof line ? (size_t)length : strlen(line));
    abort();
}
