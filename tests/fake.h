/* The driver that stands in for CUDA's (tests/programs/fake_cuda.c), for suites: it ends the process when a rule is broken. */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "suite.h"

#include <dlfcn.h>

static void (*fake_start)(int), (*fake_run)(void *);
static size_t (*fake_count)(char);
static void *(*fake_stream)(int);
static int (*fake_copy)(void *, const void *, size_t, int, void *);

/* It is there and initialised, with a context on one of its devices. */
static inline void fake_begin(void)
{
    char path[4096];
    const char *folder = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/tests/libcuda.so.1", folder != NULL ? folder : ".");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    *(void **)&fake_start = dlsym(library, "fake_start");
    *(void **)&fake_run = dlsym(library, "fake_run");
    *(void **)&fake_count = dlsym(library, "fake_count");
    *(void **)&fake_stream = dlsym(library, "fake_stream");
    *(void **)&fake_copy = dlsym(library, "cudaMemcpyAsync");
    fake_start(1);
}

#endif
