/* A CUDA program against the fakes: cuda_job DRIVER WAY, with the driver's path or -, and how it reaches the runtime:
 * the path of an op (this file built with -DOP), the path of a runtime that only others use, linked, or none. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef OP
int cudaHostRegister(void *, size_t, unsigned);
int cudaHostUnregister(void *);
int cudaMemcpyAsync(void *, const void *, size_t, int, void *);
int cudaDeviceReset(void);
int op_register(void *p, size_t len, unsigned flags);
int op_unregister(void *p);
int op_copy(void *to, const void *from, size_t bytes, int kind, void *stream);
int op_reset(void);

int op_register(void *p, size_t len, unsigned flags)
{
    return cudaHostRegister(p, len, flags);
}

int op_unregister(void *p)
{
    return cudaHostUnregister(p);
}

int op_copy(void *to, const void *from, size_t bytes, int kind, void *stream)
{
    return cudaMemcpyAsync(to, from, bytes, kind, stream);
}

int op_reset(void)
{
    return cudaDeviceReset();
}

/* A hundred places that call, as the templates of a library make them. */
int op_everywhere(void);
int op_everywhere(void)
{
    int errors = 0;
#define ONE  errors += cudaMemcpyAsync(NULL, NULL, 0, 77, NULL) != 0;
#define TEN  ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE
    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
    return errors;
}

/* A libtorch that has another name. */
const void *get_host_allocator(signed char device) __asm__("_ZN2at16getHostAllocatorEN3c1010DeviceTypeE");
const void *get_host_allocator(signed char device)
{
    return device == 1 ? "torch's" : NULL;
}

const char *op_allocator(void);
const char *op_allocator(void)
{
    const char *name = get_host_allocator(1);
    return name != NULL ? name : "none";
}
#else
static int (*reset)(void);
static int (*host_register)(void *, size_t, unsigned);
static int (*host_unregister)(void *);
static int (*copy)(void *, const void *, size_t, int, void *);
static void *(*fake_stream)(int);
static void (*fake_run)(void *);
static pintensor_manager manager;

static void *pin(size_t bytes)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    pintensor_block b = {0};
    manager = manager == 0 && create != NULL ? create() : manager;
    if (manager == 0 || alloc(manager, bytes, &b) != 0) {
        puts("nothing is pinned");
        exit(1);
    }
    memset(b.data, 1, bytes);
    return b.data;
}

static void unpin(void *p)
{
    int (*give_back)(pintensor_manager, void *) =
        (int (*)(pintensor_manager, void *))dlsym(RTLD_DEFAULT, "pintensor_free");
    give_back(manager, p);
}

/* Whether a block that a copy of this kind used was handed out again before it was done, and after that. */
static void drop_in_flight(const char *name, int kind)
{
    static char device[1 << 20];
    void *stream = fake_stream(1), *p = pin(sizeof device);
    int error = copy(device, p, sizeof device, kind, stream);
    unpin(p);
    void *before = pin(sizeof device);
    fake_run(stream);
    void *after = pin(sizeof device);
    printf("%s %d %d %d\n", name, error, before == p, after == p);
}

/* The same under PINTENSOR_REUSE=strict: nobody waits for a device while a stream is captured. */
static void drop_in_capture(void)
{
    int (*begin)(void *, int) = (int (*)(void *, int))dlsym(RTLD_DEFAULT, "cudaStreamBeginCapture");
    int (*end)(void *, void **) = (int (*)(void *, void **))dlsym(RTLD_DEFAULT, "cudaStreamEndCapture");
    void *stream = fake_stream(1), *graph, *p = pin(1 << 20);
    int none = begin(stream, 3), errors = begin(stream, 0) | end(fake_stream(1), &graph);
    unpin(p);
    void *before = pin(1 << 20);
    errors |= end(stream, &graph) << 10;
    void *after = pin(1 << 20);
    printf("capture %d %d %d %d\n", none, errors, before == p, after == p);
}

/* What is alive when the device is reset is registered again with the next context, and what waits goes before. */
static void reset_device(void *cuda, char *p, char *small)
{
    void (*fake_start)(int) = (void (*)(int))dlsym(cuda, "fake_start");
    int (*within)(const void *, size_t) = (int (*)(const void *, size_t))dlsym(cuda, "fake_within");
    size_t (*count)(char) = (size_t(*)(char))dlsym(cuda, "fake_count");
    unpin(pin((size_t)20 << 20));
    size_t before = count('s');
    int error = reset();
    printf("reset %d %d %zu", error, before > 2, count('s'));
    fake_start(1);
    unpin(pin(1 << 20));
    printf(" %d %d %d\n", within(p, (size_t)8 << 20), within(small, 1000), p[((size_t)8 << 20) - 1]);
}

static void find(const char *way)
{
    const char *names[] = {"cudaHostRegister", "cudaHostUnregister", "cudaMemcpyAsync", "cudaDeviceReset"};
    void *from = RTLD_DEFAULT;
    if (way[0] == '/') {
        from = dlopen(way, RTLD_NOW | RTLD_LOCAL);
        *(void **)&fake_stream = dlsym(from, "fake_stream");
        *(void **)&fake_run = dlsym(from, "fake_run");
        if (from != NULL && dlsym(from, "op_register") != NULL) {
            names[0] = "op_register";
            names[1] = "op_unregister";
            names[2] = "op_copy";
            names[3] = "op_reset";
        } else {
            from = RTLD_DEFAULT;
        }
    }
    *(void **)&host_register = dlsym(from, names[0]);
    *(void **)&host_unregister = dlsym(from, names[1]);
    *(void **)&copy = dlsym(from, names[2]);
    *(void **)&reset = dlsym(from, names[3]);
    if (fake_stream == NULL) {
        *(void **)&fake_stream = dlsym(RTLD_DEFAULT, "fake_stream");
        *(void **)&fake_run = dlsym(RTLD_DEFAULT, "fake_run");
    }
}

int main(int argc, char **argv)
{
    static char foreign[8192];
    const char *driver = argc > 2 ? argv[1] : "-", *way = argc > 2 ? argv[2] : "none";
    if (driver[0] == '/') {
        void *cuda = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
        void (*fake_start)(int) = (void (*)(int))dlsym(cuda, "fake_start");
        fake_start(1);
    }
    find(way);
    if (host_register == NULL) {
        puts("no runtime");
        return 0;
    }
    void *op = way[0] == '/' ? dlopen(way, RTLD_NOW | RTLD_LOCAL) : NULL;
    int (*everywhere)(void) = (int (*)(void))(op != NULL ? dlsym(op, "op_everywhere") : NULL);
    const char *(*allocator)(void) = (const char *(*)(void))(op != NULL ? dlsym(op, "op_allocator") : NULL);
    if (getenv("CUDA_JOB_EVERYWHERE") != NULL && everywhere != NULL) {
        printf("everywhere %d, %s\n", everywhere(), allocator());
        return 0;
    }
    printf("foreign %d %d\n", host_register(foreign, 4242, 7), host_unregister(foreign));
    if (dlsym(RTLD_DEFAULT, "pintensor_alloc") != NULL) {
        char *p = pin((size_t)8 << 20), *small = pin(1000);
        memset(p, 1, (size_t)8 << 20);
        printf("ours %d %d %d\n", host_register(p, (size_t)8 << 20, 0), host_register(p + 5, 1000, 0), host_unregister(p));
        printf("small %d %d\n", host_register(small, 1000, 0), host_unregister(small));
        printf("beyond %d\n", host_register(p + 4096, (size_t)8 << 20, 0));
        if (fake_stream != NULL) {
            drop_in_flight("flying", 1);
            drop_in_flight("refused", 77);
            drop_in_capture();
            reset_device(dlopen(driver, RTLD_NOW | RTLD_LOCAL), p, small);
        }
    }
    return 0;
}
#endif
