/* A library that is no allocator: dlsym("malloc") on it finds the C library's, which it
 * depends on. */
#include <unistd.h>

int victim_nothing(void);
__attribute__((visibility("default"))) int victim_nothing(void)
{
    return (int)getpid();
}
