/* CUDA's door: who registers a block of ours himself, as DeepSpeed does with each of its own, is told that it is done. All
 * else goes to CUDA's runtime, unchanged. */
#include "room.h"
#include "stock.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#define DOOR __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

enum { SUCCESS = 0, NO_DEVICE = 100 };

DOOR int cudaHostRegister(void *p, size_t len, unsigned flags);
int cudaHostRegister(void *p, size_t len, unsigned flags)
{
    if (pt_room_register(p, len)) {
        return SUCCESS;
    }
    int (*stock)(void *, size_t, unsigned) =
        (int (*)(void *, size_t, unsigned))stock_of_library(CALLER, "libcudart.so", "cudaHostRegister");
    return stock != NULL ? stock(p, len, flags) : NO_DEVICE;
}

DOOR int cudaHostUnregister(void *p);
int cudaHostUnregister(void *p)
{
    if (pt_room_registered(p)) {
        return SUCCESS;
    }
    int (*stock)(void *) = (int (*)(void *))stock_of_library(CALLER, "libcudart.so", "cudaHostUnregister");
    return stock != NULL ? stock(p) : NO_DEVICE;
}
