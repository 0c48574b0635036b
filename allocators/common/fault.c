/* A program that misuses the heap ends here, with one line that says how. */
#include "allocators/common/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

noreturn void fault(const char *call, const void *payload, const char *what)
{
    char line[160];
    /* snprintf of %s and %p allocates nothing. */
    int length = snprintf(line, sizeof line, "%s: %s(%p): %s\n", fault_name, call, payload, what);
    (void)!write(STDERR_FILENO, line, length < (int)sizeof line ? (size_t)length : strlen(line));
    abort();
}
