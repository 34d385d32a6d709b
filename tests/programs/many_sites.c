/* Pins from 4,096 places: as many sites. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>

static int (*alloc)(pintensor_manager, size_t, pintensor_block *);

#define PIN     alloc(manager, 4096, &block);
#define FOUR(x) x x x x

int main(void)
{
    pintensor_block block;
    *(void **)&alloc = dlsym(RTLD_DEFAULT, "pintensor_alloc");
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    pintensor_manager manager = create();
    FOUR(FOUR(FOUR(FOUR(FOUR(FOUR(PIN))))))
    return 0;
}
