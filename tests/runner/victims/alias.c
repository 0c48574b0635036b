/* A library whose malloc is the C library's: the symbol is here, the code is not. */
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);
void *malloc(size_t size);
void free(void *block);

static __attribute__((used)) void *(*resolve_malloc(void))(size_t)
{
    return __libc_malloc;
}
static __attribute__((used)) void (*resolve_free(void))(void *)
{
    return __libc_free;
}
__attribute__((visibility("default"), ifunc("resolve_malloc"))) void *malloc(size_t size);
__attribute__((visibility("default"), ifunc("resolve_free"))) void free(void *block);
