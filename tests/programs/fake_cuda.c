/* Stands in for CUDA's driver (libcuda.so.1) and runtime (libcudart): the functions that pintensor and its tests use.
 * It checks every rule and ends the process with a line and status 70 when one is broken. What programs make it do:
 *
 *   fake_start(device)   initialises the driver and makes the device's context, as a CUDA program does; -1: no context
 *   fake_stop()          the driver shuts down
 *   fake_count(what)     'c' calls that need a context, 'e' events, 's' ranges registered now, 'r' registrations ever,
 * 'w' how often this thread waited for the device, 'h' calls of cudaHostRegister that came here, 'l' how often giving a
 * registration back met work in flight, 'b' how many such calls are blocked now, 'd' how often one of them held up a
 * thread that had work for a stream 'a' what the calls that allocate host memory have given out and not been given back
 *   fake_holds(p, len)   whether exactly this range is registered
 *   fake_within(p, len)  whether one registration covers it, as a copy needs
 *   fake_stream(device)  a stream; what it is given is done when fake_run(stream) is called, not before
 *   fake_works(on)       the device does its work by itself for who gives a registration back, which else nobody may do
 *   fake_launch(stream)  gives it work that uses no memory of ours
 *   fake_capture(s, on)  the stream begins or ends to be captured
 *   fake_again(s)        the stream is destroyed, and its handle another one's
 *   fake_refuse(s, on)   no event can be recorded on the stream
 *   fake_answer(f, code, k)  the driver's function of that name does nothing but answer the code, for k calls; or for
 * ever: -1 fake_callback(on)    this thread is in a host callback, in which the driver answers next to nothing
 *   fake_when_asked(f)   calls f once, when somebody asks for an event next, as if another thread came in between
 *   fake_when_gone(f)    the same, when a registration was given back
 *   fake_reset()         the device that fake_start() named last is reset, as by cudaDeviceReset(): the context goes,
 * and with it streams' work and registrations that were made in it fake_context()       a context that is no primary
 * one, with a stream in it; fake_destroy(stream) ends it
 *
 * FAKE_CUDA_FAIL=K[:CODE]   the K-th registration and all later ones fail, with CODE (2: out of memory)
 * FAKE_CUDA_MOST=BYTES      a registration of more than that fails: out of memory
 * FAKE_CUDA_ADDRESSES=D     device D uses registered memory by other addresses than the program does, as under WSL2
 * FAKE_CUDA_PATIENCE=MS     how long giving a registration back waits for a busy device before that is a broken rule,
 * 10,000 unless told; 0: it must not meet work at all */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, DEINITIALIZED };
enum { INVALID_CONTEXT = 201, DESTROYED_CONTEXT = 709, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713, NOT_PERMITTED = 800 };
enum { NOT_READY = 600, ILLEGAL_STATE = 401, CAPTURED_EVENT = 907 };
enum { DEVICES = 4, MOST = 65536, STREAMS = 64, CONTEXTS = 8, COPIES = 1024, GLOBAL = 0, RELAXED = 2 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER; /* work was done, or a blocked call went on */
static pid_t started_by;
static int stopped, active[DEVICES], retained[DEVICES];
static struct {
    uintptr_t at;
    size_t len;
    int device;
} held[MOST];
static int resets[DEVICES], any_reset; /* then a program's books may differ from the driver's */
static size_t held_count, ever, through_the_runtime;

/* Host memory that this library has allocated itself. */
static void *own[1024];
static size_t own_count;

/* What a program has registered by the runtime. */
static void *programs[16];
static size_t program_count;

/* Work on a stream is numbered; a copy remembers what it has to read. */
static struct stream {
    int device, capturing, refusing;
    unsigned long long id; /* past what the handle was given before */
    unsigned long given, done;
} streams[STREAMS], legacy;
static __thread struct stream per_thread;
static struct copy {
    struct stream *stream;
    unsigned long number, sum;
    const unsigned char *from;
    unsigned char *to;
    size_t bytes;
} copies[COPIES];
static int stream_count, program_device, context_count, destroyed[CONTEXTS];
static size_t events, calls;
struct event {
    struct stream *stream;
    unsigned long number;
    int captured;
    struct event *next;
};
static struct event *all_events;
static void (*when_asked)(void), (*when_gone)(void);
static int works;
static size_t met, blocked, held_up; /* 'l', 'b' and 'd' of fake_count() */
static __thread size_t waits;        /* this thread's calls that wait for a device that is busy */
static __thread int mode = GLOBAL, depth, mine[16], in_callback;

static const char *answering; /* see fake_answer() */
static int its_answer, its_calls;

static const char *watched; /* see fake_when() */
static void (*when_called)(void);

void fake_when(const char *function, void (*f)(void))
{
    watched = function;
    when_called = f;
}

static int told(const char *function)
{
    void (*f)(void) = when_called;
    if (f != NULL && strcmp(watched, function) == 0 &&
        __atomic_compare_exchange_n(&when_called, &f, NULL, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        f();
    }
    if (its_calls == 0 || strcmp(answering, function) != 0) {
        return OK;
    }
    its_calls -= its_calls > 0;
    return its_answer;
}

#define ANSWER_IF_TOLD                                                                                                 \
    int its = told(__func__);                                                                                          \
    if (its != OK) {                                                                                                   \
        return its;                                                                                                    \
    }

void fake_answer(const char *function, int code, int calls_of_it)
{
    answering = function;
    its_answer = code;
    its_calls = calls_of_it;
}

static void broken(const char *rule)
{
    char line[256];
    int n = snprintf(line, sizeof line, "fake_cuda: %s\n", rule);
    (void)!write(2, line, (size_t)n);
    _exit(70);
}

static int running(void)
{
    return stopped ? DEINITIALIZED : started_by != getpid() ? NOT_INITIALIZED : OK;
}

/* Seen on an H100, driver 13.0: in a callback all calls fail that ask for a context, and those that have one work. */
static int usable(void)
{
    return in_callback ? NOT_PERMITTED : running();
}

void fake_start(int device)
{
    started_by = getpid();
    if (device >= 0) {
        active[device] = 1;
        program_device = device;
    }
}

void fake_stop(void)
{
    pthread_mutex_lock(&mutex);
    stopped = 1;
    pthread_cond_broadcast(&progress);
    pthread_mutex_unlock(&mutex);
}

size_t fake_count(char what)
{
    pthread_mutex_lock(&mutex);
    size_t count = what == 'w'   ? waits
                   : what == 'c' ? calls
                   : what == 'e' ? events
                   : what == 's' ? held_count
                   : what == 'r' ? ever
                   : what == 'l' ? met
                   : what == 'b' ? blocked
                   : what == 'd' ? held_up
                   : what == 'a' ? own_count
                                 : through_the_runtime;
    pthread_mutex_unlock(&mutex);
    return count;
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
    ANSWER_IF_TOLD
    *count = DEVICES;
    return usable();
}

#ifndef WITHOUT_ATTRIBUTES
int cuDeviceGetAttribute(int *value, int which, int device)
{
    ANSWER_IF_TOLD
    const char *other = getenv("FAKE_CUDA_ADDRESSES");
    if (which != 91 || device < 0 || device >= DEVICES) {
        return INVALID_VALUE;
    }
    *value = other == NULL || atoi(other) != device;
    return usable();
}
#endif

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *is_active)
{
    ANSWER_IF_TOLD
    *flags = 0;
    *is_active = device >= 0 && device < DEVICES && active[device];
    return usable();
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
    ANSWER_IF_TOLD
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

/* Contexts beside the primary ones come after them. */
static int is_destroyed(const void *context)
{
    size_t number = (size_t)(uintptr_t)context;
    return number > DEVICES && destroyed[number - DEVICES - 1];
}

int cuCtxPushCurrent_v2(void *context)
{
    ANSWER_IF_TOLD
    if (usable() != OK) {
        return usable();
    }
    if (is_destroyed(context)) {
        broken("a context was used after its end"); /* the real one says OK, and the heap is corrupt then */
    }
    if (depth == 16) {
        broken("contexts were pushed and not popped");
    }
    mine[depth++] = (int)(uintptr_t)context;
    return OK;
}

int cuCtxPopCurrent_v2(void **context)
{
    if (usable() != OK) {
        return usable();
    }
    if (depth == 0) {
        broken("a context was popped that nobody pushed");
    }
    *context = (void *)(uintptr_t)mine[--depth];
    return OK;
}

int cuThreadExchangeStreamCaptureMode(int *other)
{
    ANSWER_IF_TOLD
    int before = mode;
    mode = *other;
    *other = before;
    return running();
}

static int current_device(void)
{
    return depth > 0 ? mine[depth - 1] - 1 : program_device;
}

static void call_once(void (**what)(void))
{
    void (*f)(void) = __atomic_exchange_n(what, NULL, __ATOMIC_SEQ_CST);
    if (f != NULL) {
        f();
    }
}

static int may_call(const char *what)
{
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (running() != OK) {
        return running();
    }
    if (mode != RELAXED) {
        broken(what);
    }
    return depth > 0 ? OK : INVALID_CONTEXT;
}

static int fails_now(size_t len)
{
    const char *most = getenv("FAKE_CUDA_MOST");
    if (most != NULL && len > strtoul(most, NULL, 10)) {
        return OUT_OF_MEMORY;
    }
    const char *fail = getenv("FAKE_CUDA_FAIL"), *colon = fail != NULL ? strchr(fail, ':') : NULL;
    return fail == NULL || ever + 1 < strtoul(fail, NULL, 10) ? OK : colon != NULL ? atoi(colon + 1) : OUT_OF_MEMORY;
}

int cuMemHostRegister_v2(void *p, size_t len, unsigned flags)
{
    ANSWER_IF_TOLD
    int error = may_call("a registration outside of relaxed capture mode");
    if (error == OK && (flags != 1 || len == 0 || ((uintptr_t)p | len) % 4096 != 0)) {
        broken("a registration that is not portable, or not of whole pages");
    }
    if (error == OK && len > (size_t)64 << 30) {
        error = INVALID_VALUE;
    }
    pthread_mutex_lock(&mutex);
    if (error == OK && (error = fails_now(len)) == OK) {
        size_t same = place_of(p);
        if (any_reset && same < held_count && held[same].len == len) {
            pthread_mutex_unlock(&mutex);
            return ALREADY_REGISTERED;
        }
        for (size_t i = 0; i < held_count; i++) {
            if ((uintptr_t)p < held[i].at + held[i].len && held[i].at < (uintptr_t)p + len) {
                broken("a page was registered twice");
            }
        }
        if (held_count == MOST) {
            broken("too many registrations for this fake");
        }
        held[held_count].at = (uintptr_t)p;
        held[held_count].device = current_device();
        held[held_count++].len = len;
        ever++;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

static void refuse_in_flight(uintptr_t at, size_t len, const char *rule)
{
    for (size_t i = 0; i < COPIES; i++) {
        const struct copy *c = &copies[i];
        if (c->stream != NULL && (((uintptr_t)c->from < at + len && at < (uintptr_t)c->from + c->bytes) ||
                                  ((uintptr_t)c->to < at + len && at < (uintptr_t)c->to + c->bytes))) {
            broken(rule);
        }
    }
}

static unsigned long sum_of(const unsigned char *p, size_t bytes)
{
    unsigned long sum = bytes;
    for (size_t i = 0; i < bytes; i++) {
        sum = sum * 31 + p[i];
    }
    return sum;
}

/* With the mutex held. */
static void run(struct stream *s)
{
    for (size_t i = 0; i < COPIES; i++) {
        struct copy *c = &copies[i];
        if (c->stream == s) {
            if (sum_of(c->from, c->bytes) != c->sum) {
                broken("what a copy had to read was changed before it was done");
            }
            memcpy(c->to, c->from, c->bytes);
            c->stream = NULL;
        }
    }
    s->done = s->given;
    pthread_cond_broadcast(&progress);
}

/* Streams that have work which is not done; with the mutex held. Of the streams that are one a thread it sees this thread's.
 * What is left in a destroyed context is nobody's. */
static size_t busy(void)
{
    size_t count = (size_t)(legacy.given > legacy.done) + (per_thread.given > per_thread.done);
    for (int i = 0; i < stream_count; i++) {
        const struct stream *s = &streams[i];
        count += s->given > s->done && (s->device < DEVICES || !destroyed[s->device - DEVICES]);
    }
    return count;
}

/* Waits for progress, at most till then; false if none came. */
static int waited(const struct timespec *until)
{
    return pthread_cond_timedwait(&progress, &mutex, until) != ETIMEDOUT;
}

static struct timespec patience_ends(void)
{
    const char *told = getenv("FAKE_CUDA_PATIENCE");
    unsigned long ms = told != NULL ? strtoul(told, NULL, 10) : 10000;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += (time_t)(ms / 1000) + (t.tv_nsec + (long)(ms % 1000) * 1000000) / 1000000000;
    t.tv_nsec = (t.tv_nsec + (long)(ms % 1000) * 1000000) % 1000000000;
    return t;
}

/* Seen on an H100, driver 13.0: giving a registration back waits for all that the device was given, on every stream and
 * whatever the memory, and no thread can give it more meanwhile (6.8 s, with a kernel that waited for such a launch). With the
 * mutex held, which it lets go of. */
static void wait_for_the_device(void)
{
    size_t streams_busy = busy();
    if (streams_busy == 0) {
        return;
    }
    waits += streams_busy;
    met++;
    if (works) {
        run(&legacy);
        run(&per_thread);
        for (int i = 0; i < stream_count; i++) {
            run(&streams[i]);
        }
        return;
    }
    struct timespec until = patience_ends();
    blocked++;
    while (busy() > 0 && running() == OK) {
        if (!waited(&until) && busy() > 0) {
            broken("a registration was given back while the device was busy, and nobody did the work: a deadlock");
        }
    }
    blocked--;
    pthread_cond_broadcast(&progress);
}

/* What every way of giving a stream work begins with; with the mutex held, which it lets go of. A forked child has copied the
 * count of calls that are blocked in its parent. */
static void launch(void)
{
    if (blocked > 0 && running() == OK) {
        struct timespec until = patience_ends();
        held_up++;
        while (blocked > 0) {
            if (!waited(&until) && blocked > 0) {
                broken("a launch waits for a registration to be given back, which waits for the device: a deadlock");
            }
        }
    }
}

int cuMemHostUnregister(void *p)
{
    ANSWER_IF_TOLD
    int error = may_call("a registration given back outside of relaxed capture mode");
    if (error == OK) {
        pthread_mutex_lock(&mutex);
        size_t i = place_of(p);
        if (i == held_count && any_reset) {
            pthread_mutex_unlock(&mutex);
            return NOT_REGISTERED;
        }
        if (i == held_count) {
            broken("what was given back is not the start of a registration");
        }
        refuse_in_flight(held[i].at, held[i].len, "memory was given back while a copy used it");
        wait_for_the_device();
        if ((i = place_of(p)) == held_count) {
            broken("a registration was given back twice at once");
        }
        held[i] = held[--held_count];
        pthread_mutex_unlock(&mutex);
        call_once(&when_gone);
    }
    return error;
}

/* ---- streams ---- */

static struct stream *stream_of(void *handle)
{
    return handle == NULL || handle == (void *)1 ? &legacy : handle == (void *)2 ? &per_thread : handle;
}

void *fake_stream(int device)
{
    if (stream_count == STREAMS) {
        broken("too many streams for this fake");
    }
    streams[stream_count].device = device;
    return &streams[stream_count++];
}

void fake_capture(void *handle, int on)
{
    stream_of(handle)->capturing = on;
}

void fake_refuse(void *handle, int on)
{
    stream_of(handle)->refusing = on;
}

void fake_works(int on)
{
    works = on;
}

void fake_callback(int on)
{
    in_callback = on;
}

void fake_when_asked(void (*f)(void))
{
    when_asked = f;
}

void fake_when_gone(void (*f)(void))
{
    when_gone = f;
}

/* The driver hands the handle of a destroyed stream out again, also while its work is under way (seen). */
void fake_again(void *handle)
{
    struct stream *s = stream_of(handle), *old = fake_stream(s->device);
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < COPIES; i++) {
        copies[i].stream = copies[i].stream == s ? old : copies[i].stream;
    }
    for (struct event *e = all_events; e != NULL; e = e->next) {
        e->stream = e->stream == s ? old : e->stream;
    }
    old->given = s->given;
    old->done = s->done;
    s->given = s->done = 0;
    s->id++;
    pthread_mutex_unlock(&mutex);
    stream_count -= old->done == old->given; /* nothing is left to do */
}

void *fake_context(void)
{
    return fake_stream(DEVICES + context_count++);
}

void fake_destroy(void *stream)
{
    pthread_mutex_lock(&mutex);
    destroyed[stream_of(stream)->device - DEVICES] = 1;
    pthread_cond_broadcast(&progress);
    pthread_mutex_unlock(&mutex);
}

void fake_reset(void)
{
    int device = program_device;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < COPIES; i++) {
        struct stream *s = copies[i].stream;
        if (s != NULL && (s == &legacy || s == &per_thread || s->device == device)) {
            s->done = s->given;
            copies[i].stream = NULL;
        }
    }
    for (size_t i = held_count; i-- > 0;) {
        if (held[i].device == device) {
            held[i] = held[--held_count];
        }
    }
    active[device] = 0;
    resets[device]++;
    any_reset = 1;
    pthread_cond_broadcast(&progress);
    pthread_mutex_unlock(&mutex);
}

/* All that the stream was given so far is done now. */
void fake_run(void *handle)
{
    pthread_mutex_lock(&mutex);
    run(stream_of(handle));
    pthread_mutex_unlock(&mutex);
}

void fake_launch(void *handle)
{
    struct stream *s = stream_of(handle);
    pthread_mutex_lock(&mutex);
    launch();
    s->given += !s->capturing;
    pthread_mutex_unlock(&mutex);
}

int cuCtxGetDevice(int *device)
{
    ANSWER_IF_TOLD
    *device = current_device() < DEVICES ? current_device() : program_device;
    return usable();
}

#ifndef WITHOUT_NUMBERS
int cuCtxGetId(void *context, unsigned long long *number)
{
    ANSWER_IF_TOLD
    size_t device = (uintptr_t)context - 1;
    *number = 1000 + (uintptr_t)context + (device < DEVICES ? 100 * (unsigned)resets[device] : 0);
    return usable() == OK && is_destroyed(context) ? DESTROYED_CONTEXT : usable();
}
#endif

int cuStreamGetCtx(void *handle, void **context)
{
    ANSWER_IF_TOLD
    struct stream *s = stream_of(handle);
    *context = (void *)(uintptr_t)((s == &legacy || s == &per_thread ? current_device() : s->device) + 1);
    return usable();
}

#ifndef WITHOUT_NUMBERS
int cuStreamGetId(void *handle, unsigned long long *id)
{
    ANSWER_IF_TOLD
    struct stream *s = stream_of(handle);
    static __thread char mine;
    if (s == &legacy) {
        broken("the default stream was asked for something, which ends captures");
    }
    *id = s == &per_thread ? (uintptr_t)&mine : (uintptr_t)s + s->id;
    return running();
}
#endif

int cuStreamIsCapturing(void *handle, int *status)
{
    ANSWER_IF_TOLD
    *status = stream_of(handle)->capturing;
    return running();
}

int cuEventCreate(void **event, unsigned flags)
{
    ANSWER_IF_TOLD
    if (flags != 2) {
        broken("an event that takes times, which costs");
    }
    int error = may_call("an event made outside of relaxed capture mode");
    struct event *e = error == OK ? calloc(1, sizeof(struct event)) : NULL;
    *event = e;
    if (e != NULL) {
        pthread_mutex_lock(&mutex);
        e->next = all_events;
        all_events = e;
        pthread_mutex_unlock(&mutex);
    }
    __atomic_add_fetch(&events, error == OK, __ATOMIC_SEQ_CST);
    return error;
}

int cuEventDestroy_v2(void *event)
{
    (void)event; /* it stays in the list */
    __atomic_sub_fetch(&events, 1, __ATOMIC_SEQ_CST);
    return OK;
}

int cuEventRecord(void *event, void *handle)
{
    ANSWER_IF_TOLD
    struct stream *s = stream_of(handle);
    int error = may_call("an event recorded outside of relaxed capture mode");
    if (error == OK && s != &legacy && s != &per_thread && s->device != current_device()) {
        broken("an event recorded in another context than its stream's");
    }
    for (int i = 0; i < stream_count && error == OK && s == &legacy; i++) {
        if (streams[i].capturing) {
            broken("the use of the default stream ended a capture"); /* that of a stream which waits for it */
        }
    }
    if (error == OK && s->refusing) {
        return INVALID_VALUE;
    }
    if (error == OK) {
        struct event *e = event;
        pthread_mutex_lock(&mutex);
        launch();
        e->stream = s;
        e->number = s->given;
        e->captured = s->capturing;
        pthread_mutex_unlock(&mutex);
    }
    return error;
}

int cuEventQuery(void *event)
{
    ANSWER_IF_TOLD
    const struct event *e = event;
    int error = may_call("an event asked outside of relaxed capture mode");
    call_once(&when_asked);
    pthread_mutex_lock(&mutex); /* what was done by then is seen by who asks */
    if (error == OK && e->stream != NULL) {
        error = e->captured ? CAPTURED_EVENT : e->stream->done >= e->number ? OK : NOT_READY;
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

int cuCtxSynchronize(void)
{
    ANSWER_IF_TOLD
    int error = may_call("waiting outside of relaxed capture mode");
    for (int i = 0; i < stream_count && error == OK; i++) {
        if (streams[i].capturing) {
            broken("waiting for the device ended a capture");
        }
    }
    for (int i = 0; i < stream_count && error == OK; i++) {
        fake_run(&streams[i]);
    }
    if (error == OK) {
        fake_run(NULL);
    }
    return error;
}

/* ---- host memory of its own; the driver's functions and the runtime's differ in their names alone ---- */

static int alloc_host(void **p, size_t bytes, unsigned flags)
{
    int error = flags > 7 ? INVALID_VALUE : OK;
    *p = NULL;
    pthread_mutex_lock(&mutex);
    if (error == OK && bytes > 0) {
        error = own_count == sizeof own / sizeof own[0] || posix_memalign(p, 4096, bytes) != 0 ? OUT_OF_MEMORY : OK;
        if (error == OK) {
            own[own_count++] = *p;
        }
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

static int free_host(void *p)
{
    size_t i = 0;
    pthread_mutex_lock(&mutex);
    while (i < own_count && own[i] != p) {
        i++;
    }
    int error = stopped ? DEINITIALIZED : p != NULL && i == own_count ? INVALID_VALUE : OK;
    if (error == OK && i < own_count) {
        own[i] = own[--own_count];
        free(p);
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

int cuMemHostAlloc(void **p, size_t bytes, unsigned flags)
{
    return alloc_host(p, bytes, flags);
}

int cuMemAllocHost_v2(void **p, size_t bytes)
{
    return alloc_host(p, bytes, 0);
}

int cuMemFreeHost(void *p)
{
    return free_host(p);
}

int cudaHostAlloc(void **p, size_t bytes, unsigned flags)
{
    return alloc_host(p, bytes, flags);
}

int cudaMallocHost(void **p, size_t bytes)
{
    return alloc_host(p, bytes, 0);
}

int cudaFreeHost(void *p)
{
    return free_host(p);
}

/* ---- the runtime: it counts, answers, and copies later ---- */

static int copy_later(void *to, const void *from, size_t bytes, struct stream *s)
{
    pthread_mutex_lock(&mutex);
    launch();
    size_t i = 0;
    while (i < COPIES && copies[i].stream != NULL) {
        i++;
    }
    if (i == COPIES) {
        broken("too many copies for this fake");
    }
    if (!s->capturing) {
        copies[i] = (struct copy){.stream = s, .number = ++s->given, .sum = sum_of(from, bytes), .from = from, .to = to, .bytes = bytes};
    }
    pthread_mutex_unlock(&mutex);
    return OK;
}

int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *handle)
{
    through_the_runtime++;
    return kind == 77 ? INVALID_VALUE : copy_later(to, from, bytes, stream_of(handle));
}

int cudaStreamBeginCapture(void *handle, int how)
{
    struct stream *s = stream_of(handle);
    if (s->capturing || how > 2) {
        return ILLEGAL_STATE;
    }
    s->capturing = 1;
    return OK;
}

int cudaStreamEndCapture(void *handle, void **graph)
{
    struct stream *s = stream_of(handle);
    int was = s->capturing;
    s->capturing = 0;
    *graph = NULL;
    return was ? OK : ILLEGAL_STATE;
}

/* The driver's, which is another object than a runtime. */
int cudaDeviceReset(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_LAZY);
    void (*reset)(void) = driver != NULL ? (void (*)(void))dlsym(driver, "fake_reset") : fake_reset;
    through_the_runtime++;
    reset();
    return OK;
}

int cudaMemcpyAsync_ptsz(void *to, const void *from, size_t bytes, int kind, void *handle)
{
    return cudaMemcpyAsync(to, from, bytes, kind, handle != NULL ? handle : (void *)2);
}

int cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind,
                      void *handle)
{
    (void)to_pitch;
    (void)from_pitch;
    return cudaMemcpyAsync(to, from, width * height, kind, handle);
}

int cudaHostRegister(void *p, size_t len, unsigned flags)
{
    through_the_runtime++;
    int error = fake_within(p, 1) ? ALREADY_REGISTERED : len == 4242 && flags == 7 ? 77 : OK;
    if (error == OK) {
        programs[program_count++ % (sizeof programs / sizeof programs[0])] = p;
    }
    return error;
}

int cudaHostUnregister(void *p)
{
    int known = fake_within(p, 1);
    through_the_runtime++;
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && p != NULL && !known; i++) {
        known = programs[i] == p;
        programs[i] = known ? NULL : programs[i];
    }
    return known ? OK : NOT_REGISTERED;
}
