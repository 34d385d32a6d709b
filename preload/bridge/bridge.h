/* What the preload and the bridge to torch's host allocator ask of each other. The preload is C and the bridge is C++
 * built for one torch, at first use, from the text that the preload carries: so this header includes nothing of ours. */
#ifndef PRELOAD_BRIDGE_H
#define PRELOAD_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory freed through one door serves the next request at another, so what waits is nobody's: these figures are those
 * of all doors together. */
struct pintensor_bridge_stats {
    uint64_t locked;        /* bytes, in use and waiting */
    uint64_t registrations; /* with the device that hold memory now: torch's segments */
};

struct pintensor_bridge_block {
    void *data;
    uint64_t locking_us; /* how long locking took; 0: memory was there */
};

/* What the preload does for the bridge. Any thread may call any of it; none throws. */
struct pintensor_bridge_calls {
    /* Whether the program has a context of a device. Asks for nothing that a capture elsewhere forbids. */
    bool (*has_context)(void);

    /* Memory for `bytes` > 0, for the call that returns to `caller`. 0; else *why says the reason in one sentence, to
     * be read before this thread's next call, or is NULL when nothing can be had here and torch's own is to serve. */
    int (*alloc)(size_t bytes, const void *caller, struct pintensor_bridge_block *out, const char **why);

    /* The last tensor on the block that begins at `data` is gone. Never waits: reuse does, for what used() told.
     * Returns the bytes that were asked for it, 0 in a process that was forked from the block's. */
    size_t (*drop)(void *data);

    /* `stream` (a cudaStream_t) of `device` reads or writes the block around `p`, up to the drop. False: `p` is not
     * ours. */
    bool (*used)(const void *p, void *stream, int device);

    /* Gives back all that is not in use; returns how many registrations went. */
    uint64_t (*trim)(void);

    void (*stats)(struct pintensor_bridge_stats *out);

    /* A function of the library whose file's name begins so; NULL: there is none. Waits for no lock of the dynamic
     * linker's. */
    void *(*symbol)(const char *library, const char *name);
};

/* Both are at::HostAllocator. Whoever asks for `torchs` is to get `ours`, which passes on what is not about its blocks.
 */
struct pintensor_bridge_allocators {
    void *torchs, *ours;
};

/* Makes the allocator that is to stand in the place of torch's. Blocks that torch made before stay torch's. Returns
 * NULL, or what is wrong in a few words. For torch before 2.11 the bridge also has, under their own names, the
 * functions that src/api/tensor.c needs and that torch does not have yet. */
#define PINTENSOR_BRIDGE_START "pintensor_bridge_start"
typedef const char *pintensor_bridge_start_function(const struct pintensor_bridge_calls *calls,
                                                    struct pintensor_bridge_allocators *out);

/* Whether it fits the torch that is loaded: torch calls an allocator of it that nobody else uses. NULL, or what is
 * wrong. In a process of its own, since what does not fit may crash. */
#define PINTENSOR_BRIDGE_TRY "pintensor_bridge_try"
typedef const char *pintensor_bridge_try_function(void);

#ifdef __cplusplus
}
#endif

#endif
