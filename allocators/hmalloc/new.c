/* C++'s operator new and delete, all of them, by the names the Itanium ABI gives them, so that no
 * C++ compiler is needed. Without these a preloaded library would do too, for the C++ library's own
 * ones call malloc; with them one call less is made, and sized deletion arrives here.
 *
 * Out of memory: std::get_new_handler and what it names, then std::bad_alloc as the C++ library
 * throws it. Both are looked for in what is loaded (this file is compiled so that exceptions pass
 * through it). Without a C++ library there is nobody to throw to: one line, and abort. */
#include <dlfcn.h>
#include <stdlib.h>

#include "allocators/hmalloc/config.h"
#include "allocators/hmalloc/fault.h"

#ifdef HM_API_PREFIX
#define OPERATOR(name) API(name)
#else
#define OPERATOR(name) name
#endif

typedef void new_handler(void);
typedef new_handler *get_new_handler(void);
typedef void throw_bad_alloc(void);

/* Weak: bound when the program starts with a C++ library. One that is opened later is looked up. */
extern __attribute__((weak)) new_handler *_ZSt15get_new_handlerv(void);
extern __attribute__((weak)) void _ZSt17__throw_bad_allocv(void);

/* Call the program's handler. False: it has none. May throw, may not return. */
static bool call_handler(void)
{
    get_new_handler *get = _ZSt15get_new_handlerv;
    if (!get)
        get = (get_new_handler *)dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv");
    new_handler *handler = get ? get() : NULL;
    if (handler)
        handler();
    return handler;
}

static void throw(void)
{
    throw_bad_alloc *raise_it = _ZSt17__throw_bad_allocv;
    if (!raise_it)
        raise_it = (throw_bad_alloc *)dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv");
    if (raise_it)
        raise_it();
    fault_tell("operator new", "out of memory, and no C++ library to throw std::bad_alloc");
    abort();
}

/* alignment 0: malloc's. */
static void *new_try(size_t size, size_t alignment)
{
    return alignment ? API(memalign)(alignment, size) : API(malloc)(size);
}

static __attribute__((noinline)) void *new_slow(size_t size, size_t alignment, bool throws)
{
    void *block;
    do {
        block = new_try(size, alignment);
        if (block)
            return block;
    } while (call_handler());
    if (throws)
        throw();
    return NULL;
}

static inline void *new_or_throw(size_t size, size_t alignment)
{
    void *block = new_try(size, alignment);
    return LIKELY(block) ? block : new_slow(size, alignment, true);
}

/* A handler that throws ends the program here: the C++ library's operator would catch what it
 * throws and return NULL, which C cannot. */
static inline void *new_or_null(size_t size, size_t alignment)
{
    void *block = new_try(size, alignment);
    return LIKELY(block) ? block : new_slow(size, alignment, false);
}

/* A new form: its mangled name, parameters, and what it comes down to. */
#define NEW(name, parameters, call)         \
    EXPORT void *OPERATOR(name) parameters; \
    void *OPERATOR(name) parameters         \
    {                                       \
        return call;                        \
    }
#define DELETE(name, parameters)           \
    EXPORT void OPERATOR(name) parameters; \
    void OPERATOR(name) parameters         \
    {                                      \
        API(free)(block);                  \
    }
#define UNUSED __attribute__((unused))

NEW(_Znwm, (size_t size), new_or_throw(size, 0))
NEW(_ZnwmRKSt9nothrow_t, (size_t size, UNUSED const void *nothrow), new_or_null(size, 0))
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), new_or_throw(size, alignment))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, UNUSED const void *nothrow),
    new_or_null(size, alignment))
NEW(_Znam, (size_t size), new_or_throw(size, 0))
NEW(_ZnamRKSt9nothrow_t, (size_t size, UNUSED const void *nothrow), new_or_null(size, 0))
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), new_or_throw(size, alignment))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, UNUSED const void *nothrow),
    new_or_null(size, alignment))

DELETE(_ZdlPv, (void *block))
DELETE(_ZdlPvm, (void *block, UNUSED size_t size))
DELETE(_ZdlPvRKSt9nothrow_t, (void *block, UNUSED const void *nothrow))
DELETE(_ZdlPvSt11align_val_t, (void *block, UNUSED size_t alignment))
DELETE(_ZdlPvmSt11align_val_t, (void *block, UNUSED size_t size, UNUSED size_t alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t,
       (void *block, UNUSED size_t alignment, UNUSED const void *nothrow))
DELETE(_ZdaPv, (void *block))
DELETE(_ZdaPvm, (void *block, UNUSED size_t size))
DELETE(_ZdaPvRKSt9nothrow_t, (void *block, UNUSED const void *nothrow))
DELETE(_ZdaPvSt11align_val_t, (void *block, UNUSED size_t alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *block, UNUSED size_t size, UNUSED size_t alignment))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t,
       (void *block, UNUSED size_t alignment, UNUSED const void *nothrow))
