/* CUDA's doors for pinned memory. Who registers a block of ours himself, as DeepSpeed does with each of its own, is
 * told that it is done. All else is CUDA's, unchanged, and counted as what others pin. Programs with a runtime of their
 * own inside, and those that look the driver's functions up, never come by here. */
#include "life/device_block.h"
#include "life/others.h"
#include "pool/registration.h"
#include "stock.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define DOOR   __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

#define RUNTIME "libcudart.so"
#define DRIVER  "libcuda.so"
enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, UNSERVED = -1 }; /* of both */
#define PLAIN                                                                                                          \
    3u /* cudaHostAllocPortable, cudaHostAllocMapped: all of ours is that; what is write-combined is not ours */

static int serve(void **p, size_t len, const void *caller)
{
    int error = p != NULL && len > 0 ? pt_device_block_pin(len, caller, p) : -ENODEV;
    return error == 0 ? SUCCESS : error == -ENODEV ? UNSERVED : OUT_OF_MEMORY;
}

static int ended(int error, const struct pt_foreign_pin *pin)
{
    if (error != SUCCESS) {
        pt_others_unpin_failed(pin);
    }
    return error;
}

#define STOCK(name, library, parameters, arguments)                                                                    \
    static struct stock_memory memory;                                                                                 \
    void *found = stock_of_library(&memory, CALLER, library, #name);                                                   \
    int error = found != NULL ? ((int(*) parameters)found)arguments : NO_DEVICE

#define ALLOC(name, library, parameters, arguments, may_serve)                                                         \
    DOOR int name parameters;                                                                                          \
    int name parameters                                                                                                \
    {                                                                                                                  \
        int served = (may_serve) ? serve(p, len, CALLER) : UNSERVED;                                                   \
        if (served != UNSERVED) {                                                                                      \
            return served;                                                                                             \
        }                                                                                                              \
        STOCK(name, library, parameters, arguments);                                                                   \
        if (error == SUCCESS) {                                                                                        \
            pt_others_pinned(*p, len, PT_FOREIGN_ALLOC, CALLER);                                                       \
        }                                                                                                              \
        return error;                                                                                                  \
    }

#define REGISTER(name, library)                                                                                        \
    DOOR int name(void *p, size_t len, unsigned flags);                                                                \
    int name(void *p, size_t len, unsigned flags)                                                                      \
    {                                                                                                                  \
        if (pt_registration_ensure(p, len)) {                                                                          \
            return SUCCESS;                                                                                            \
        }                                                                                                              \
        STOCK(name, library, (void *, size_t, unsigned), (p, len, flags));                                             \
        if (error == SUCCESS) {                                                                                        \
            pt_others_pinned(p, len, PT_FOREIGN_REGISTER, CALLER);                                                     \
        }                                                                                                              \
        return error;                                                                                                  \
    }

#define FREE(name, library)                                                                                            \
    DOOR int name(void *p);                                                                                            \
    int name(void *p)                                                                                                  \
    {                                                                                                                  \
        if (pt_device_block_unpin(p)) {                                                                                \
            return SUCCESS;                                                                                            \
        }                                                                                                              \
        struct pt_foreign_pin pin = pt_others_unpin(p);                                                                \
        STOCK(name, library, (void *), (p));                                                                           \
        return ended(error, &pin);                                                                                     \
    }

#define UNREGISTER(name, library)                                                                                      \
    DOOR int name(void *p);                                                                                            \
    int name(void *p)                                                                                                  \
    {                                                                                                                  \
        if (pt_registration_covers(p)) {                                                                               \
            return SUCCESS;                                                                                            \
        }                                                                                                              \
        struct pt_foreign_pin pin = pt_others_unpin(p);                                                                \
        STOCK(name, library, (void *), (p));                                                                           \
        return ended(error, &pin);                                                                                     \
    }

#include "pinned.def"
