/* A program that embeds Python: it pins a block under it, ends Python, and then: embeds LIBPYTHON ends | frees | goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pintensor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *name(const char *symbol)
{
    void *found = dlsym(RTLD_DEFAULT, symbol);
    if (found == NULL) {
        fprintf(stderr, "no %s\n", symbol);
        exit(99);
    }
    return found;
}

int main(int argc, char **argv)
{
    if (argc < 3 || dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL) {
        return 99;
    }
    void (*begin)(int) = (void (*)(int))name("Py_InitializeEx");
    int (*end)(void) = (int (*)(void))name("Py_FinalizeEx");
    pintensor_block a, b, many[8];
    begin(0);
    pintensor_manager m = pintensor_manager_create();
    if (m == 0 || pintensor_alloc(m, 1 << 20, &a) != 0 || end() != 0) {
        return 1;
    }
    if (strcmp(argv[2], "frees") == 0) {
        return pintensor_free_block(m, &a) != 0;
    }
    if (strcmp(argv[2], "goes on") == 0) {
        int wrong = pintensor_alloc(m, 2 << 20, &b) != 0 || pintensor_free_block(m, &a) != 0;
        begin(0); /* and Python once more */
        for (int i = 0; i < 8; i++) {
            wrong |= pintensor_alloc(m, 100000, &many[i]) != 0;
        }
        for (int i = 0; i < 8; i++) {
            wrong |= pintensor_free_block(m, &many[i]) != 0;
        }
        wrong |= pintensor_report(1) != 0;
        return wrong | end();
    }
    return 0;
}
