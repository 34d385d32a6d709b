/* A CUDA program that pins memory itself, beside what pintensor pins for it: pins WHAT, linked with the fake runtime,
 * or with the fake driver (-DDRIVER). Its functions are its lines. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <pthread.h>
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

static void forks(void)
{
    void *p = reader(8 * MIB);
    pid_t child = fork();
    if (child == 0) {
        printf("child: frees %d\n", host_free(p));
        tell("child");
        p = writer(2 * MIB);
        tell("its own");
        exit(p == NULL);
    }
    waitpid(child, NULL, 0);
    tell("parent");
    printf("frees %d\n", host_free(p));
    tell("then");
}

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
    if (dlopen("libcuda.so.1", RTLD_NOW) != NULL) {
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
        pthread_t threads[8];
        void *kept = reader(2 * MIB);
        for (int i = 0; i < 8; i++) {
            pthread_create(&threads[i], NULL, many, NULL);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], NULL);
        }
        tell("kept");
        host_free(kept);
        tell("then");
#ifndef DRIVER
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
