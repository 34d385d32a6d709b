/* Loads an op as Python does, and has it pin four times: fake_job OP [deep]. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *op = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL | (argc > 2 ? RTLD_DEEPBIND : 0)) : NULL;
    if (op == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    void *(*op_new)(long) = (void *(*)(long))dlsym(op, "op_new");
    for (int i = 0; i < 4; i++) {
        if (op_new(8192) == NULL) {
            return 1;
        }
    }
    puts("pinned");
    return 0;
}
