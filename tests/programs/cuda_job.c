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
int op_register(void *p, size_t len, unsigned flags);
int op_unregister(void *p);

int op_register(void *p, size_t len, unsigned flags)
{
    return cudaHostRegister(p, len, flags);
}

int op_unregister(void *p)
{
    return cudaHostUnregister(p);
}
#else
static int (*host_register)(void *, size_t, unsigned);
static int (*host_unregister)(void *);

static void *pin(size_t bytes)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    pintensor_block b = {0};
    if (create == NULL || alloc(create(), bytes, &b) != 0) {
        puts("nothing is pinned");
        exit(1);
    }
    return b.data;
}

static void find(const char *way)
{
    const char *names[] = {"cudaHostRegister", "cudaHostUnregister"};
    void *from = RTLD_DEFAULT;
    if (way[0] == '/') {
        from = dlopen(way, RTLD_NOW | RTLD_LOCAL);
        if (from != NULL && dlsym(from, "op_register") != NULL) {
            names[0] = "op_register";
            names[1] = "op_unregister";
        } else {
            from = RTLD_DEFAULT;
        }
    }
    *(void **)&host_register = dlsym(from, names[0]);
    *(void **)&host_unregister = dlsym(from, names[1]);
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
    printf("foreign %d %d\n", host_register(foreign, 4242, 7), host_unregister(foreign));
    if (dlsym(RTLD_DEFAULT, "pintensor_alloc") != NULL) {
        char *p = pin((size_t)8 << 20), *small = pin(1000);
        memset(p, 1, (size_t)8 << 20);
        printf("ours %d %d %d\n", host_register(p, (size_t)8 << 20, 0), host_register(p + 5, 1000, 0), host_unregister(p));
        printf("small %d %d\n", host_register(small, 1000, 0), host_unregister(small));
        printf("beyond %d\n", host_register(p + 4096, (size_t)8 << 20, 0));
    }
    return 0;
}
#endif
