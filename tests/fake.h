/* The driver that stands in for CUDA's (tests/programs/fake_cuda.c, which says what its functions do), for suites: it
 * ends the process when a rule is broken. */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "suite.h"

#include <dlfcn.h>

/* X(type, name, parameters, symbol) */
#define FAKE_FUNCTIONS(X)                                                                                              \
    X(void, fake_start, (int), fake_start)                                                                             \
    X(void, fake_stop, (void), fake_stop)                                                                              \
    X(size_t, fake_count, (char), fake_count)                                                                          \
    X(int, fake_holds, (const void *, size_t), fake_holds)                                                             \
    X(int, fake_within, (const void *, size_t), fake_within)                                                           \
    X(void *, fake_stream, (int), fake_stream)                                                                         \
    X(void, fake_run, (void *), fake_run)                                                                              \
    X(void, fake_launch, (void *), fake_launch)                                                                        \
    X(void, fake_works, (int), fake_works)                                                                             \
    X(void, fake_capture, (void *, int), fake_capture)                                                                 \
    X(void, fake_again, (void *), fake_again)                                                                          \
    X(void, fake_refuse, (void *, int), fake_refuse)                                                                   \
    X(void, fake_callback, (int), fake_callback)                                                                       \
    X(void, fake_answer, (const char *, int, int), fake_answer)                                                        \
    X(void *, fake_context, (void), fake_context)                                                                      \
    X(void, fake_destroy, (void *), fake_destroy)                                                                      \
    X(void, fake_when, (const char *, void (*)(void)), fake_when)                                                      \
    X(void, fake_when_asked, (void (*)(void)), fake_when_asked)                                                        \
    X(void, fake_when_gone, (void (*)(void)), fake_when_gone)                                                          \
    X(int, fake_copy, (void *, const void *, size_t, int, void *), cudaMemcpyAsync)                                    \
    X(int, fake_reset_device, (void), cudaDeviceReset)

#define X(type, name, parameters, symbol) static type(*name) parameters;
FAKE_FUNCTIONS(X)
#undef X

/* It is there, and not initialised. */
static inline void fake_load_of(const char *name)
{
    char path[4096];
    const char *folder = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/tests/%s", folder != NULL ? folder : ".", name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
#define X(type, name, parameters, symbol) *(void **)&name = dlsym(library, #symbol);
    FAKE_FUNCTIONS(X)
#undef X
}

static inline void fake_load(void)
{
    fake_load_of("libcuda.so.1");
}

/* The same, initialised, with a context on one of its devices. */
static inline void fake_begin(void)
{
    fake_load();
    fake_start(1);
}

#endif
