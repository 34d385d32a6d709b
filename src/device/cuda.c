/* CUDA's row, by the driver API: one ABI for every CUDA version, and no error left pending for the program's next
 * cudaGetLastError(). No header of CUDA is needed: these functions have not changed since CUDA 11. */
#include "device/runtime.h"

#include <stdatomic.h>

enum { OK = 0, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, DEINITIALIZED = 4, INVALID_CONTEXT = 201, NOT_READY = 600 };
enum {
    INVALID_VALUE = 1,
    CONTEXT_IS_DESTROYED = 709,
    NOT_PERMITTED = 800,
    NOT_SUPPORTED = 801,
    CAPTURE_FIRST = 900,
    CAPTURE_LAST = 999
};
enum { PORTABLE = 1, RELAXED = 2, NO_TIMING = 2, USES_HOST_ADDRESSES = 91 };

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
    int (*device_of)(int *device);
    int (*context_of)(void *stream, context *out);
    int (*capturing)(void *stream, int *status);
    int (*new_event)(void **event, unsigned flags);
    int (*end_event)(void *event);
    int (*record)(void *event, void *stream);
    int (*query)(void *event);
    int (*wait_for_all)(void);
    int (*number_of)(context c, unsigned long long *number); /* since 12.0; NULL before, and so is */
    int (*identity_of)(void *stream, unsigned long long *number);
    int (*attribute)(int *value, int which, int device); /* or NULL */
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
                 {&cuda.let_go, "cuMemHostUnregister"},
                 {&cuda.device_of, "cuCtxGetDevice"},
                 {&cuda.context_of, "cuStreamGetCtx"},
                 {&cuda.capturing, "cuStreamIsCapturing"},
                 {&cuda.new_event, "cuEventCreate"},
                 {&cuda.end_event, "cuEventDestroy_v2"},
                 {&cuda.record, "cuEventRecord"},
                 {&cuda.query, "cuEventQuery"},
                 {&cuda.wait_for_all, "cuCtxSynchronize"}};

static bool bind_functions(const struct pt_elf *library)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = pt_elf_symbol(library, functions[i].name);
        if (found == NULL) {
            return false;
        }
        *(void **)functions[i].place = found;
    }
    *(void **)&cuda.number_of = pt_elf_symbol(library, "cuCtxGetId");
    *(void **)&cuda.identity_of = pt_elf_symbol(library, "cuStreamGetId");
    *(void **)&cuda.attribute = pt_elf_symbol(library, "cuDeviceGetAttribute");
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

/* ---- streams ---- */

static uint64_t number_of(context c)
{
    unsigned long long number = 0;
    return cuda.number_of != NULL && cuda.number_of(c, &number) == OK ? number : 0;
}

static bool primary(int device, context *out)
{
    if (!has_context(device) || cuda.retain(out, device) != OK) {
        return false;
    }
    (void)cuda.release(device); /* it lives on: the program retains it too */
    return true;
}

static bool place(void *stream, int device, struct pt_place *out)
{
    context c, unused;
    if (device >= 0) {
        if (!primary(device, &c)) {
            return false;
        }
    } else if (cuda.context_of(stream, &c) != OK || cuda.push(c) != OK) {
        return false;
    } else {
        context its_primary;
        bool known = cuda.device_of(&device) == OK && primary(device, &its_primary) && its_primary == c;
        (void)cuda.pop(&unused);
        device = known ? device : -1;
    }
    *out = (struct pt_place){.context = c, .number = number_of(c), .device = device};
    return true;
}

/* What an answer says of all that was asked of the driver before: that it is over, or nothing, as in a host callback,
 * where the driver permits nothing (seen: 800 for all that has to do with contexts). */
enum place_state { ENTERED, GONE, UNKNOWN };
static enum place_state state_after(int error)
{
    bool gone =
        error == NOT_INITIALIZED || error == DEINITIALIZED || error == INVALID_CONTEXT || error == CONTEXT_IS_DESTROYED;
    return error == OK ? ENTERED : gone ? GONE : UNKNOWN;
}

/* The context is still the one it was. A destroyed one must not be pushed: the driver does it, and its heap is corrupt
 * then (seen). */
static enum place_state state_of(const struct pt_place *at)
{
    context c = at->context;
    unsigned flags;
    int active = 1, error = at->device >= 0 ? cuda.state(at->device, &flags, &active) : OK;
    unsigned long long number = at->number;
    if (error == OK && active != 0 && at->device >= 0 && (error = cuda.retain(&c, at->device)) == OK) {
        (void)cuda.release(at->device);
    }
    if (error == OK && active != 0 && cuda.number_of != NULL) {
        error = cuda.number_of(c, &number);
    }
    return error != OK ? state_after(error) : active != 0 && c == at->context && number == at->number ? ENTERED : GONE;
}

/* In relaxed mode, for the sake of captures on other threads, and in the place's context. */
static enum place_state enter_place(const struct pt_place *at, int *saved)
{
    enum place_state now = state_of(at);
    *saved = RELAXED;
    if (now == ENTERED && (now = state_after(cuda.capture(saved))) == ENTERED &&
        (now = state_after(cuda.push(at->context))) != ENTERED) {
        (void)cuda.capture(saved);
    }
    return now;
}

static void leave_place(int saved)
{
    context c;
    (void)cuda.pop(&c);
    (void)cuda.capture(&saved);
}

/* The legacy stream is one a context; whatever is asked of it may end a capture. */
static uint64_t identity(void *stream)
{
    unsigned long long number = 0;
    bool asks = (uintptr_t)stream > (uintptr_t)PT_LEGACY_STREAM && cuda.identity_of != NULL;
    return asks && cuda.identity_of(stream, &number) == OK ? number : 0;
}

static bool captured(void *stream)
{
    int status = 0, saved = RELAXED;
    if ((uintptr_t)stream <= (uintptr_t)PT_LEGACY_STREAM || cuda.capture(&saved) != OK) {
        return false; /* the legacy stream cannot be */
    }
    int error = cuda.capturing(stream, &status);
    (void)cuda.capture(&saved);
    return error == OK && status != 0;
}

static bool mark(const struct pt_place *at, void *stream, void **event)
{
    int saved;
    void *made = *event;
    if (enter_place(at, &saved) != ENTERED) {
        return false;
    }
    bool noted = (made != NULL || cuda.new_event(&made, NO_TIMING) == OK) && cuda.record(made, stream) == OK;
    if (!noted && *event == NULL && made != NULL) {
        (void)cuda.end_event(made);
    }
    leave_place(saved);
    *event = noted ? made : *event;
    return noted;
}

/* With its context, or by an error of the device, a stream's work has ended too. */
static enum pt_passed passed(const struct pt_place *at, void *event)
{
    int saved, error;
    enum place_state now = enter_place(at, &saved);
    if (now != ENTERED) {
        return now == GONE ? PT_PASSED : PT_PENDING;
    }
    error = event != NULL ? cuda.query(event) : NOT_READY;
    leave_place(saved);
    bool pending = error == NOT_READY || error == NOT_PERMITTED || (error >= CAPTURE_FIRST && error <= CAPTURE_LAST);
    return pending ? PT_PENDING : PT_PASSED;
}

static bool finish(void)
{
    int count = 0, saved;
    bool all = state_after(cuda.count(&count)) != UNKNOWN;
    for (int device = 0; device < count; device++) {
        struct pt_place at;
        if (!place(NULL, device, &at)) {
            continue; /* it has no context */
        }
        enum place_state now = enter_place(&at, &saved);
        if (now == ENTERED) {
            int error = cuda.wait_for_all();
            all = all && error != NOT_PERMITTED && (error < CAPTURE_FIRST || error > CAPTURE_LAST);
            leave_place(saved);
        }
        all = all && now != UNKNOWN;
    }
    return all;
}

/* ---- memory ---- */

/* One device that needs another address for registered memory is enough (all do under WSL2): any may get a block. It is
 * asked once. */
static bool usable(void)
{
    enum { NOBODY_KNOWS, YES, NO };
    static _Atomic int known;
    int count = 0, now = atomic_load_explicit(&known, memory_order_relaxed);
    if (now == NOBODY_KNOWS && cuda.count(&count) == OK && count > 0) {
        now = YES;
        for (int device = 0, uses = 1; device < count && cuda.attribute != NULL; device++) {
            now = cuda.attribute(&uses, USES_HOST_ADDRESSES, device) == OK && uses == 0 ? NO : now;
        }
        known = now;
    }
    return now != NO;
}

/* What is invalid may be this one range, unless no other was ever valid. */
static bool refuses_all(int error, bool first)
{
    return error == NOT_SUPPORTED || (first && (error == INVALID_VALUE || error == NOT_PERMITTED));
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
                                           .usable = usable,
                                           .refuses_all = refuses_all,
                                           .hold = hold,
                                           .let_go = let_go,
                                           .place = place,
                                           .identity = identity,
                                           .captured = captured,
                                           .mark = mark,
                                           .passed = passed,
                                           .finish = finish,
                                           .out_of_memory = OUT_OF_MEMORY,
                                           .most = (size_t)64 << 30}; /* 512 GiB and more fail */
