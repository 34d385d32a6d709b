/* Stands in for CUDA's driver (libcuda.so.1) and runtime (libcudart): the functions that pintensor and its tests use. It
 * checks every rule and ends the process with a line and status 70 when one is broken. What programs make it do:
 *
 *   fake_start(device)   initialises the driver and makes the device's context, as a CUDA program does
 *   fake_stop()          the driver shuts down
 *   fake_count(what)     's' ranges registered now, 'r' registrations ever, 'h' calls of cudaHostRegister that came here
 *   fake_holds(p, len)   whether exactly this range is registered
 *   fake_within(p, len)  whether one registration covers it, as a copy needs
 *
 * FAKE_CUDA_FAIL=K[:CODE]   the K-th registration and all later ones fail, with CODE (2: out of memory) */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, DEINITIALIZED };
enum { INVALID_CONTEXT = 201, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713 };
enum { DEVICES = 4, MOST = 65536, GLOBAL = 0, RELAXED = 2 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t started_by;
static int stopped, active[DEVICES], retained[DEVICES];
static struct {
    uintptr_t at;
    size_t len;
} held[MOST];
static size_t held_count, ever, through_the_runtime;
static __thread int mode = GLOBAL, depth, mine[16];

static void broken(const char *rule)
{
    char line[256];
    int n = snprintf(line, sizeof line, "fake_cuda: %s\n", rule);
    (void)!write(2, line, (size_t)n);
    _exit(70);
}

static int usable(void)
{
    return stopped ? DEINITIALIZED : started_by != getpid() ? NOT_INITIALIZED : OK;
}

void fake_start(int device)
{
    started_by = getpid();
    active[device] = 1;
}

void fake_stop(void)
{
    stopped = 1;
}

size_t fake_count(char what)
{
    return what == 's' ? held_count : what == 'r' ? ever : through_the_runtime;
}

static size_t place_of(const void *p)
{
    size_t i = 0;
    while (i < held_count && held[i].at != (uintptr_t)p) {
        i++;
    }
    return i;
}

int fake_holds(const void *p, size_t len)
{
    pthread_mutex_lock(&mutex);
    size_t i = place_of(p);
    int holds = i < held_count && held[i].len == len;
    pthread_mutex_unlock(&mutex);
    return holds;
}

int fake_within(const void *p, size_t len)
{
    int within = 0;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < held_count && !within; i++) {
        within = held[i].at <= (uintptr_t)p && (uintptr_t)p + len <= held[i].at + held[i].len;
    }
    pthread_mutex_unlock(&mutex);
    return within;
}

/* ---- the driver ---- */

int cuInit(unsigned flags)
{
    (void)flags;
    broken("cuInit is the program's to call");
    return OK;
}

int cuDeviceGetCount(int *count)
{
    *count = DEVICES;
    return usable();
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active)
{
    *flags = 0;
    *is_active = device >= 0 && device < DEVICES && active[device];
    return usable();
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    if (usable() != OK) {
        return usable();
    }
    if (!active[device]) {
        broken("a context was made");
    }
    __atomic_add_fetch(&retained[device], 1, __ATOMIC_SEQ_CST);
    *context = (void *)(uintptr_t)(device + 1);
    return OK;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    if (__atomic_sub_fetch(&retained[device], 1, __ATOMIC_SEQ_CST) < 0) {
        broken("a context was released more often than retained");
    }
    return OK;
}

int cuCtxPushCurrent_v2(void *context)
{
    if (depth == 16) {
        broken("contexts were pushed and not popped");
    }
    mine[depth++] = (int)(uintptr_t)context;
    return OK;
}

int cuCtxPopCurrent_v2(void **context)
{
    if (depth == 0) {
        broken("a context was popped that nobody pushed");
    }
    *context = (void *)(uintptr_t)mine[--depth];
    return OK;
}

int cuThreadExchangeStreamCaptureMode(int *other)
{
    int before = mode;
    mode = *other;
    *other = before;
    return usable();
}

static int may_call(const char *what)
{
    if (usable() != OK) {
        return usable();
    }
    if (mode != RELAXED) {
        broken(what);
    }
    return depth > 0 ? OK : INVALID_CONTEXT;
}

static int fails_now(void)
{
    const char *fail = getenv("FAKE_CUDA_FAIL"), *colon = fail != NULL ? strchr(fail, ':') : NULL;
    return fail == NULL || ever + 1 < strtoul(fail, NULL, 10) ? OK : colon != NULL ? atoi(colon + 1) : OUT_OF_MEMORY;
}

int cuMemHostRegister_v2(void *p, size_t len, unsigned flags)
{
    int error = may_call("a registration outside of relaxed capture mode");
    if (error == OK && (flags != 1 || len == 0 || ((uintptr_t)p | len) % 4096 != 0)) {
        broken("a registration that is not portable, or not of whole pages");
    }
    if (error == OK && len > (size_t)64 << 30) {
        error = INVALID_VALUE;
    }
    pthread_mutex_lock(&mutex);
    if (error == OK && (error = fails_now()) == OK) {
        for (size_t i = 0; i < held_count; i++) {
            if ((uintptr_t)p < held[i].at + held[i].len && held[i].at < (uintptr_t)p + len) {
                broken("a page was registered twice");
            }
        }
        if (held_count == MOST) {
            broken("too many registrations for this fake");
        }
        held[held_count].at = (uintptr_t)p;
        held[held_count++].len = len;
        ever++;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

int cuMemHostUnregister(void *p)
{
    int error = may_call("a registration given back outside of relaxed capture mode");
    if (error == OK) {
        pthread_mutex_lock(&mutex);
        size_t i = place_of(p);
        if (i == held_count) {
            broken("what was given back is not the start of a registration");
        }
        held[i] = held[--held_count];
        pthread_mutex_unlock(&mutex);
    }
    return error;
}

/* ---- the runtime: only counts and answers ---- */

int cudaHostRegister(void *p, size_t len, unsigned flags)
{
    through_the_runtime++;
    return fake_within(p, 1) ? ALREADY_REGISTERED : len == 4242 && flags == 7 ? 77 : OK;
}

int cudaHostUnregister(void *p)
{
    through_the_runtime++;
    return fake_within(p, 1) ? OK : NOT_REGISTERED;
}
