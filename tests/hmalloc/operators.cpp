// Every form of operator new and delete, as a C++17 program calls them, on a loaded libhmalloc.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <new>
#include <string>
#include <sys/resource.h>
#include <vector>

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition);          \
            std::_Exit(1);                                                                         \
        }                                                                                          \
    } while (0)

static volatile std::size_t huge = std::size_t{1} << 62;

static const char *const names[] = {
    "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t", "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t", "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t", "_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

// All of them are in the file malloc is in.
static void check_origin(const char *file)
{
    for (const char *name : names) {
        Dl_info info;
        void *symbol = dlsym(RTLD_DEFAULT, name);
        EXPECT(symbol && dladdr(symbol, &info));
        if (!std::strstr(info.dli_fname, file)) {
            std::fprintf(stderr, "%s is in %s\n", name, info.dli_fname);
            std::_Exit(1);
        }
    }
}

static void *touched(void *block, std::size_t size, std::size_t alignment)
{
    EXPECT(block && reinterpret_cast<std::uintptr_t>(block) % alignment == 0);
    std::memset(block, 0x5a, size);
    return block;
}

static void check_forms()
{
    const std::size_t n = 200;
    const std::align_val_t to{256};
    const std::nothrow_t &quiet = std::nothrow;
    for (int i = 0; i < 300; i++) {
        ::operator delete(touched(::operator new(n), n, 16));
        ::operator delete(touched(::operator new(n), n, 16), n);
        ::operator delete(touched(::operator new(n, quiet), n, 16), quiet);
        ::operator delete(touched(::operator new(n, to), n, 256), to);
        ::operator delete(touched(::operator new(n, to), n, 256), n, to);
        ::operator delete(touched(::operator new(n, to, quiet), n, 256), to, quiet);
        ::operator delete[](touched(::operator new[](n), n, 16));
        ::operator delete[](touched(::operator new[](n), n, 16), n);
        ::operator delete[](touched(::operator new[](n, quiet), n, 16), quiet);
        ::operator delete[](touched(::operator new[](n, to), n, 256), to);
        ::operator delete[](touched(::operator new[](n, to), n, 256), n, to);
        ::operator delete[](touched(::operator new[](n, to, quiet), n, 256), to, quiet);
    }
    ::operator delete(::operator new(0));
    ::operator delete(nullptr);
}

template <typename Call> static bool throws_bad_alloc(Call call)
{
    try {
        call();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static int handler_calls;
struct given_up {};

static void check_failure()
{
    const std::align_val_t to{4096};
    EXPECT(throws_bad_alloc([] { (void)::operator new(huge); }));
    EXPECT(throws_bad_alloc([] { (void)::operator new[](huge); }));
    EXPECT(throws_bad_alloc([&] { (void)::operator new(huge, to); }));
    EXPECT(throws_bad_alloc([&] { (void)::operator new[](huge, to); }));
    EXPECT(!::operator new(huge, std::nothrow));
    EXPECT(!::operator new[](huge, std::nothrow));
    EXPECT(!::operator new(huge, to, std::nothrow));

    // Called again and again until there is memory, or no handler any more.
    const rlimit tight = {std::size_t{1} << 32, RLIM_INFINITY};
    EXPECT(setrlimit(RLIMIT_AS, &tight) == 0);
    std::set_new_handler([] {
        const rlimit loose = {RLIM_INFINITY, RLIM_INFINITY};
        if (++handler_calls == 3)
            EXPECT(setrlimit(RLIMIT_AS, &loose) == 0);
        EXPECT(handler_calls <= 3);
    });
    void *block = ::operator new(std::size_t{1} << 33);
    EXPECT(block && handler_calls == 3);
    ::operator delete(block);
    std::set_new_handler([] { throw given_up(); });
    bool caught = false;
    try {
        (void)::operator new(huge);
    } catch (const given_up &) {
        caught = true;
    }
    EXPECT(caught);
    // The last handler takes itself away.
    std::set_new_handler([] { std::set_new_handler(nullptr); });
    EXPECT(!::operator new(huge, std::nothrow));
    EXPECT(!std::get_new_handler());
}

int main(int argc, char **argv)
{
    if (argc > 1)
        check_origin(argv[1]);
    check_forms();
    check_failure();
    std::vector<std::string> strings;
    for (int i = 0; i < 20000; i++)
        strings.push_back(std::string(static_cast<std::size_t>(i % 300), 'x'));
    std::puts("fine");
    return 0;
}
