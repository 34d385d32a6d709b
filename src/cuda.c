/* CUDA's row, by the driver API: one ABI for every CUDA version, and no error left pending for the program's next
 * cudaGetLastError(). No header of CUDA is needed: these functions have not changed since CUDA 11. */
#include "runtime.h"

#include <dlfcn.h>
#include <stdatomic.h>

enum { OK = 0, OUT_OF_MEMORY = 2, PORTABLE = 1, RELAXED = 2 };

typedef void *context;

static struct {
    int (*count)(int *count);
    int (*state)(int device, unsigned *flags, int *active);
    int (*retain)(context *out, int device);
    int (*release)(int device);
    int (*push)(context c);
    int (*pop)(context *out);
    int (*capture)(int *mode);
    int (*hold)(void *p, size_t len, unsigned flags);
    int (*let_go)(void *p);
} cuda;

static const struct {
    void *place;
    const char *name;
} functions[] = {{&cuda.count, "cuDeviceGetCount"},
                 {&cuda.state, "cuDevicePrimaryCtxGetState"},
                 {&cuda.retain, "cuDevicePrimaryCtxRetain"},
                 {&cuda.release, "cuDevicePrimaryCtxRelease_v2"},
                 {&cuda.push, "cuCtxPushCurrent_v2"},
                 {&cuda.pop, "cuCtxPopCurrent_v2"},
                 {&cuda.capture, "cuThreadExchangeStreamCaptureMode"},
                 {&cuda.hold, "cuMemHostRegister_v2"},
                 {&cuda.let_go, "cuMemHostUnregister"}};

static bool bind_functions(void *library)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = dlsym(library, functions[i].name);
        if (found == NULL) {
            return false;
        }
        *(void **)functions[i].place = found;
    }
    return true;
}

static bool in_use(void)
{
    int count;
    return cuda.count(&count) == OK && count > 0;
}

static bool has_context(int device)
{
    unsigned flags;
    int active;
    return cuda.state(device, &flags, &active) == OK && active != 0;
}

/* A device whose primary context the program has made; -1 if there is none, or the driver shuts down. Stays with the
 * one that was found first: what one context holds is given back through it. */
static int device_with_context(void)
{
    static _Atomic int found;
    int device = found, count;
    if (has_context(device)) {
        return device;
    }
    if (cuda.count(&count) != OK) {
        return -1;
    }
    for (device = 0; device < count; device++) {
        if (has_context(device)) {
            found = device;
            return device;
        }
    }
    return -1;
}

static bool ready(void)
{
    return device_with_context() >= 0;
}

static __thread int entered;

/* A capture running on another thread would be ended by a registration in any other mode. */
static bool enter(int *saved)
{
    context c;
    int device = device_with_context();
    *saved = RELAXED;
    if (device < 0 || cuda.capture(saved) != OK) {
        return false;
    }
    if (cuda.retain(&c, device) == OK) {
        if (cuda.push(c) == OK) {
            entered = device;
            return true;
        }
        (void)cuda.release(device);
    }
    (void)cuda.capture(saved);
    return false;
}

static void leave(int saved)
{
    context c;
    (void)cuda.pop(&c);
    (void)cuda.release(entered);
    (void)cuda.capture(&saved);
}

/* Portable: held for the contexts of all devices. */
static int hold(void *p, size_t len)
{
    return cuda.hold(p, len, PORTABLE);
}

static int let_go(void *p)
{
    return cuda.let_go(p);
}

const struct pt_runtime pt_runtime_cuda = {.library = "libcuda.so",
                                           .bind = bind_functions,
                                           .in_use = in_use,
                                           .ready = ready,
                                           .enter = enter,
                                           .leave = leave,
                                           .hold = hold,
                                           .let_go = let_go,
                                           .out_of_memory = OUT_OF_MEMORY,
                                           .most = (size_t)64 << 30}; /* 512 GiB and more fail */
