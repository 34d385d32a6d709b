/* A CUDA program that pins memory itself, beside what pintensor pins for it: pins WHAT, linked with the fake runtime,
 * or with the fake driver (-DDRIVER). Its functions are its lines. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef DRIVER
#define host_alloc      cuMemHostAlloc
#define host_alloc_2    cuMemAllocHost_v2
#define host_free       cuMemFreeHost
#define host_register   cuMemHostRegister_v2
#define host_unregister cuMemHostUnregister
#else
#define host_alloc      cudaHostAlloc
#define host_alloc_2    cudaMallocHost
#define host_free       cudaFreeHost
#define host_register   cudaHostRegister
#define host_unregister cudaHostUnregister
#endif
int host_alloc(void **p, size_t bytes, unsigned flags);
int host_alloc_2(void **p, size_t bytes);
int host_free(void *p);
int host_register(void *p, size_t bytes, unsigned flags);
int host_unregister(void *p);
int cudaDeviceReset(void);

#define MIB ((size_t)1 << 20)

static char area[4 << 20] __attribute__((aligned(4096)));

void *reader(size_t bytes);
void *writer(size_t bytes);
int keeper(void);

__attribute__((noinline)) void *reader(size_t bytes)
{
    void *p = NULL;
    if (host_alloc(&p, bytes, 1) != 0) {
        puts("no memory");
    }
    return p;
}

__attribute__((noinline)) void *writer(size_t bytes)
{
    void *p = NULL;
    if (host_alloc_2(&p, bytes) != 0) {
        puts("no memory");
    }
    return p;
}

__attribute__((noinline)) int keeper(void)
{
    int error = host_register(area, sizeof area, 1);
    return error;
}

static void tell(const char *what)
{
    void (*get)(pintensor_stats *, size_t) =
        (void (*)(pintensor_stats *, size_t))dlsym(RTLD_DEFAULT, "pintensor_get_stats");
    pintensor_stats s = {0};
    if (get != NULL) {
        get(&s, sizeof s);
    }
    printf("%s: %lu in %lu\n", what, (unsigned long)s.others_bytes, (unsigned long)s.others_blocks);
    fflush(stdout);
}

/* Ours, by the C interface. */
static void *ours(size_t bytes)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    pintensor_block b = {0};
    if (alloc(create(), bytes, &b) != 0) {
        puts("nothing is pinned");
    }
    return b.data;
}

static void *many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 500; i++) {
        void *p = reader(MIB / 8), *q = writer(MIB / 8);
        if (host_free(p) != 0 || host_free(q) != 0) {
            puts("not freed");
        }
    }
    return NULL;
}

static void in_threads(void *(*body)(void *))
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        pthread_create(&threads[i], NULL, body, NULL);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void lines(void)
{
    void *a = reader(8 * MIB), *b = reader(8 * MIB), *c = writer(16 * MIB);
    printf("registers %d\n", keeper());
    tell("most");
    int errors = host_free(a) | host_free(c);
    printf("frees %d, unregisters %d\n", errors, host_unregister(area));
    tell("then");
    memset(b, 1, 8 * MIB);
}

static void fails(void)
{
    void *p = &p;
    printf("flags %d %d\n", host_alloc(&p, 8 * MIB, 99), p == NULL);
    printf("nothing %d %d\n", host_alloc(&p, 0, 0), p == NULL);
    printf("unknown %d %d\n", host_free(area), host_free(NULL));
    tell("none");
}

static void few(void)
{
    printf("flag %d\n", reader(64) != NULL);
    tell("few");
}

/* Twice at one address: its end was not seen, as with a function that was looked up. */
static void unseen(void *library)
{
    void *p = NULL, *q = NULL;
    int (*alloc)(void **, size_t, unsigned) = (int (*)(void **, size_t, unsigned))dlsym(library, "cudaHostAlloc");
    int (*free_it)(void *) = (int (*)(void *))dlsym(library, "cudaFreeHost");
    p = reader(8 * MIB);
    printf("past us %d\n", alloc(&q, 8 * MIB, 0));
    tell("one is seen");
    free_it(p);
    free_it(q);
    for (int i = 0; i < 64; i++) { /* until the address comes again */
        q = writer(8 * MIB);
        if (q == p) {
            break;
        }
    }
    tell("again");
    int error = host_free(q);
    printf("frees %d, and once more %d\n", error, host_free(q));
    tell("then");
}

static void stuck(void *library)
{
    void *p = reader(8 * MIB);
    ((void (*)(void))dlsym(library, "fake_stop"))();
    printf("frees %d\n", host_free(p));
    tell("still there");
}

static void forks(void)
{
    void *p = reader(8 * MIB);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        tell("child");
        void *own = writer(2 * MIB);
        tell("its own");
        printf("child: frees %d\n", host_free(p));
        tell("still its own");
        exit(own == NULL);
    }
    waitpid(child, NULL, 0);
    tell("parent");
    printf("frees %d\n", host_free(p));
    tell("then");
}

#ifndef DRIVER
/* ---- PINTENSOR_SERVE=all: what the driver sees of it ---- */

static void *of_driver(const char *name)
{
    return dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), name);
}

static const char *whose(void *p, size_t bytes)
{
    size_t (*count)(char) = (size_t(*)(char))dlsym(RTLD_DEFAULT, "fake_count");
    int (*within)(const void *, size_t) = (int (*)(const void *, size_t))of_driver("fake_within");
    return count('a') > 0 ? "CUDA's" : within(p, bytes) ? "ours" : "nobody's";
}

/* With each flag: whose it is, what freeing it says, and that nothing is left. */
static void flags(void)
{
    for (unsigned flag = 0; flag <= 8; flag++) {
        void *p = NULL;
        int error = cudaHostAlloc(&p, MIB, flag);
        if (error != 0) {
            printf("%u: %d\n", flag, error);
            continue;
        }
        memset(p, 1, MIB);
        printf("%u: %s", flag, whose(p, MIB));
        int freed = cudaFreeHost(p);
        printf(" %d %d\n", freed, cudaFreeHost(p));
    }
    void *p = writer(100), *q = writer(5000);
    printf("small: %s %s, aligned %d %d\n", whose(p, 100), whose(q, 5000), (uintptr_t)p % 512 == 0,
           (uintptr_t)q % 4096 == 0);
    printf("inside: %d, no memory: %d\n", cudaFreeHost((char *)q + 4096), cudaFreeHost(NULL));
    printf("registers: %d %d\n", cudaHostRegister(q, 5000, 0), cudaHostUnregister(q));
    int (*driver_frees)(void *) = (int (*)(void *))dlsym(RTLD_DEFAULT, "cuMemFreeHost");
    printf("by the driver's: %d\n", driver_frees(p) | cudaFreeHost(q));
}

/* A copy that nobody could see: it is done when the memory is free. */
static void *(*fake_stream)(int);
static int (*unseen_copy)(void *, const void *, size_t, int, void *);
static char target[MIB];

static void waits_for_the_device(void)
{
    *(void **)&fake_stream = of_driver("fake_stream");
    *(void **)&unseen_copy = of_driver("cudaMemcpyAsync");
    void *stream = fake_stream(1), *p = reader(MIB);
    memset(p, 7, MIB);
    (void)unseen_copy(target, p, MIB, 1, stream);
    int before = target[MIB - 1];
    (void)cudaFreeHost(p);
    printf("copied: %d %d\n", before, target[MIB - 1]);
    printf("again: %d\n", reader(MIB) == p);
}

/* While a stream is captured nobody waits, and the memory is not used again. */
static void waits_for_a_capture(void)
{
    int (*begin)(void *, int) = (int (*)(void *, int))dlsym(RTLD_DEFAULT, "cudaStreamBeginCapture");
    int (*end)(void *, void **) = (int (*)(void *, void **))dlsym(RTLD_DEFAULT, "cudaStreamEndCapture");
    void *stream = fake_stream(1), *other = fake_stream(1), *graph, *p = reader(MIB), *q = reader(MIB);
    memset(p, 9, MIB);
    (void)unseen_copy(target, p, MIB, 1, other);
    int errors = begin(stream, 0) | cudaFreeHost(p);
    void *meanwhile = reader(MIB);
    errors |= end(stream, &graph);
    printf("captured: %d, copied %d, meanwhile %d", errors, target[0] == 9, meanwhile == p);
    (void)cudaFreeHost(q);
    void *after[] = {reader(MIB), reader(MIB)};
    printf(", after %d, copied %d\n", after[0] == p || after[1] == p, target[0] == 9);
}

/* What is used again too early changes what a copy has yet to read, which the fake finds. */
static void *copied_from;
static void *serve_many(void *unused)
{
    static __thread char to[64 << 12];
    (void)unused;
    for (size_t i = 0; i < 1000; i++) {
        size_t bytes = (i * 7919 % 64 + 1) << 12;
        unsigned char *p = reader(bytes);
        memset(p, (int)i, bytes);
        (void)unseen_copy(to, p, bytes, 1, copied_from);
        if (cudaFreeHost(p) != 0) {
            puts("wrong");
        }
    }
    return NULL;
}

static void served(void)
{
    flags();
    waits_for_the_device();
    waits_for_a_capture();
    copied_from = fake_stream(1);
    in_threads(serve_many);
    void *p = ours(MIB);
    printf("what is not CUDA's: %d\n", cudaFreeHost(p));
    p = reader(3 * MIB);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("child: %d\n", cudaFreeHost(p));
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("parent: %d\n", cudaFreeHost(p));
    p = reader(2 * MIB + 5);
    tell("others");
}
#endif

/* The runtime and the driver are libraries of their own; both are started. */
static void *start(const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
    void (*fake_start)(int) = (void (*)(int))dlsym(library, "fake_start");
    fake_start(1);
#ifdef DRIVER /* which has its rules: see fake_cuda.c */
    int relaxed = 2;
    ((int (*)(int *))dlsym(library, "cuThreadExchangeStreamCaptureMode"))(&relaxed);
    ((int (*)(void *))dlsym(library, "cuCtxPushCurrent_v2"))((void *)2);
#endif
    return library;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
#ifdef DRIVER
    void *library = start("libcuda.so.1");
#else
    void *library = start("libcudart.so.13");
    if (dlopen("libcuda.so.1", RTLD_NOW) != NULL && strcmp(what, "without") != 0) {
        start("libcuda.so.1");
    }
#endif
    if (strcmp(what, "lines") == 0) {
        lines();
    } else if (strcmp(what, "fails") == 0) {
        fails();
    } else if (strcmp(what, "few") == 0) {
        few();
    } else if (strcmp(what, "unseen") == 0) {
        unseen(library);
    } else if (strcmp(what, "stuck") == 0) {
        stuck(library);
    } else if (strcmp(what, "forks") == 0) {
        forks();
    } else if (strcmp(what, "beside") == 0) {
        memset(ours(12 * MIB), 1, 12 * MIB);
        lines();
        memset(ours(30 * MIB), 1, 30 * MIB);
    } else if (strcmp(what, "waits") == 0) {
        (void)reader(8 * MIB);
        puts("there");
        fflush(stdout);
        (void)!read(0, (char[1]){0}, 1);
    } else if (strcmp(what, "many") == 0) {
        void *kept = reader(2 * MIB);
        in_threads(many);
        tell("kept");
        host_free(kept);
        tell("then");
#ifndef DRIVER
    } else if (strcmp(what, "served") == 0) {
        served();
    } else if (strcmp(what, "one") == 0 || strcmp(what, "without") == 0) {
        void *p = NULL;
        int error = cudaHostAlloc(&p, 16 * MIB, 0);
        printf("%d %s", error, p != NULL ? whose(p, 16 * MIB) : "none");
        printf(" %d\n", cudaFreeHost(p));
    } else if (strcmp(what, "resets") == 0) {
        void *p = reader(8 * MIB);
        tell("before");
        printf("resets %d\n", cudaDeviceReset());
        tell("after");
        printf("frees %d\n", host_free(p));
        tell("then");
#endif
    }
    return 0;
}
