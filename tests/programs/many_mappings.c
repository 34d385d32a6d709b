/* Uses up the kernel's number of mappings, all but a few, then pins block after block until one is refused, and prints
 * why. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>

int main(void)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    const char *(*last_error)(void) = (const char *(*)(void))dlsym(RTLD_DEFAULT, "pintensor_last_error");
    pintensor_manager manager = create();
    pintensor_block b;
    if (alloc(manager, (size_t)1 << 20, &b) != 0) {
        return 1;
    }
    size_t pages = 4 << 20; /* every other page of 16 GiB of addresses */
    char *p = mmap(NULL, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t i = 1;
    while (i < pages && mprotect(p + i * 4096, 4096, PROT_READ) == 0) {
        i += 2;
    }
    if (i >= pages) {
        puts("no limit in reach");
        return 77;
    }
    for (unsigned n = 0; n < 100; n++) { /* side by side they need no further mapping, until a chunk of addresses is full */
        if (alloc(manager, (size_t)32 << 20, &b) != 0) {
            puts(last_error());
            return 0;
        }
    }
    puts("a hundred blocks were pinned");
    return 1;
}
