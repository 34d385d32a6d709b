/* What the preload and the bridge to torch's host allocator ask of each other. The preload is C and the bridge is C++ built for
 * one torch, at first use, from the text that the preload carries: so this header includes nothing of ours. */
#ifndef PRELOAD_BRIDGE_H
#define PRELOAD_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pintensor_bridge_stats {
    uint64_t requests, requested;      /* live blocks of torch's, and their bytes as asked */
    uint64_t locked, locked_peak;      /* bytes locked for all doors, the cache included */
    uint64_t made;                     /* blocks for which memory had to be locked */
};

/* What the preload does for the bridge. Any thread may call any of it; none throws. */
struct pintensor_bridge_calls {
    /* Memory for `bytes` > 0, for the call that returns to `caller`. 0; else *why says the reason in one sentence, to be
     * read before this thread's next call. */
    int (*alloc)(size_t bytes, const void *caller, void **data, const char **why);

    /* The last tensor on the block that begins at `data` is gone. Never waits: reuse does, for what used() told. */
    void (*drop)(void *data);

    /* `stream` (a cudaStream_t) of `device` reads or writes the block around `p`, up to the drop. False: `p` is not ours. */
    bool (*used)(const void *p, void *stream, int device);

    /* Gives back all that is not in use. */
    void (*trim)(void);

    void (*stats)(struct pintensor_bridge_stats *out);
};

/* The bridge's one symbol: takes torch's pinned memory over from here on. Blocks that torch made before stay torch's.
 * Returns NULL, or what is wrong in a few words. */
#define PINTENSOR_BRIDGE_START "pintensor_bridge_start"
typedef const char *pintensor_bridge_start_function(const struct pintensor_bridge_calls *calls);

#ifdef __cplusplus
}
#endif

#endif
