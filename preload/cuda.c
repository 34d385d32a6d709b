/* CUDA's doors for streams: which of them copy to or from our blocks is noted, and before a device is reset what waits goes
 * back. All is done by CUDA's runtime, unchanged. */
#include "device/runtime.h"
#include "life/others.h"
#include "pool/device_reset.h"
#include "pool/stream_use.h"
#include "stock.h"
#include "torch_door.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOOR   __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

enum { SUCCESS = 0, NO_DEVICE = 100, CAPTURE_FIRST = 900, WRONG_THREAD = 908 };

static void *runtime_of(struct stock_memory *memory, const void *caller, const char *symbol)
{
    return stock_of_library(memory, caller, "libcudart.so", symbol);
}

/* cudaMemcpy3DParms, as it has been since CUDA 3. */
struct copy_3d {
    struct end {
        void *array;
        size_t position[3];
        void *pointer;
        size_t pitch, width, height;
    } from, to;
    size_t extent[3];
    int kind;
};

static void note_copy(int error, const void *caller, void *stream, const void *to, const void *from)
{
    if (error == SUCCESS && !torch_tells(caller)) {
        (void)pt_stream_use_note(to, stream, PT_STREAM_USE_CURRENT, false);
        (void)pt_stream_use_note(from, stream, PT_STREAM_USE_CURRENT, false);
    }
}

/* One that ends is over, whatever the answer, unless it was another thread's to end. */
static void note_end_of_capture(int error)
{
    if (error == SUCCESS || (error >= CAPTURE_FIRST && error != WRONG_THREAD)) {
        pt_stream_use_capture(-1);
    }
}

#define FORWARD(name, parameters, arguments, before, noted)                                                            \
    DOOR int name parameters;                                                                                          \
    int name parameters                                                                                                \
    {                                                                                                                  \
        static struct stock_memory memory;                                                                             \
        void *found = runtime_of(&memory, CALLER, #name);                                                              \
        before;                                                                                                        \
        int error = found != NULL ? ((int(*) parameters)found)arguments : NO_DEVICE;                                   \
        noted;                                                                                                         \
        return error;                                                                                                  \
    }

static void note_reset(int error)
{
    pt_device_reset_ended();
    if (error == SUCCESS) {
        pt_others_reset();
    }
}

/* The driver forgets what is registered. */
FORWARD(cudaDeviceReset, (void), (), pt_device_reset_begins(), note_reset(error))

#define END note_end_of_capture(error)
/* Before the call: nobody is to wait for a device while the capture begins. */
#define BEGIN(name, parameters, arguments)                                                                             \
    FORWARD(                                                                                                           \
        name, parameters, arguments, pt_stream_use_capture(1), if (error != SUCCESS) { pt_stream_use_capture(-1); })

#define X(name, parameters, arguments, noted) FORWARD(name, parameters, arguments, (void)0, noted)
#define B(name, parameters, arguments)        BEGIN(name, parameters, arguments)
#define COPY(stream, to, from)                note_copy(error, CALLER, stream, to, from)
#include "cuda.def"
#undef X
#undef B
#undef COPY
#define X(name, parameters, arguments, noted) FORWARD(name##_ptsz, parameters, arguments, (void)0, noted)
#define B(name, parameters, arguments)        BEGIN(name##_ptsz, parameters, arguments)
#define COPY(stream, to, from)                note_copy(error, CALLER, stream != NULL ? stream : PT_PER_THREAD_STREAM, to, from)
#include "cuda.def"
