/* pintensor: CPU tensors and raw blocks in page-locked memory.
 *
 * Pages of blocks are locked, so that O_DIRECT and DMA reach them and they are never swapped: with mlock, or, once the
 * process has a CUDA context, by registering them with its driver, to which no memlock limit applies. Freed memory stays
 * locked for later requests, within a twentieth over the most that was ever in use, or up to a quarter where sizes vary
 * (PINTENSOR_CACHE). What is mlocked goes back when it was idle for 10 seconds. At exit a report says what was lost and
 * where it was allocated.
 *
 * Units: sizes are bytes, element counts are elements. Addresses are aligned to 4096 from 4096 bytes on, else to the
 * largest power of two that divides a size that is a multiple of 512, else to 64.
 *
 * Errors: calls that return int return 0 or a negative PINTENSOR_E* code, and leave a sentence with the details in
 * pintensor_last_error(). No call ends the process, and none changes its arguments' memory on failure.
 *
 * Threads: every call may be made from any thread at any time, unless it says otherwise. No call is
 * async-signal-safe, except pintensor_report().
 *
 * Fork: a child owns nothing of its parent's blocks and may pin its own. It sees them as any copied memory; if the parent had
 * a CUDA driver running when it pinned its first block, as memory that both share: what the child writes, the parent reads.
 *
 * Environment: the options in pintensor(1) apply to linked programs as well.
 *
 * Licence: Apache-2.0 */
#ifndef PINTENSOR_H
#define PINTENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PINTENSOR_API __attribute__((visibility("default")))

/* Every error, once: X(name, code, text). Codes never change. */
#define PINTENSOR_ERRORS(X)                                                         \
    X(INVALID, -1, "an argument is out of range")                                   \
    X(LIMIT, -2, "no more memory can be locked")                                    \
    X(NOT_OURS, -3, "not the start of a live block of this manager")                \
    X(STALE, -4, "the block is gone and its memory is another block's by now")      \
    X(NO_TORCH, -5, "this process has no libtorch of version 2.11 or newer")        \
    X(TORCH, -6, "libtorch could not do it")                                        \
    X(OFF, -7, "pintensor is switched off or could not start in this process")      \
    X(IO, -8, "the report could not be written")

enum {
#define PINTENSOR_ERROR_(name, code, text) PINTENSOR_E##name = code,
    PINTENSOR_ERRORS(PINTENSOR_ERROR_)
#undef PINTENSOR_ERROR_
};

/* The text of a code; "no error" for 0, "unknown error" for others. Static. */
PINTENSOR_API const char *pintensor_strerror(int code);

/* What went wrong in this thread's last failed call, why, and what to do about it. Valid until the thread's next
 * failure; empty if there was none. */
PINTENSOR_API const char *pintensor_last_error(void);

/* ---- managers: blocks that go together ---- */

/* A manager is only a name for a group of blocks; 0 is never one. One that was never made, or is destroyed, is told
 * apart and refused: PINTENSOR_EINVALID, or PINTENSOR_ENOT_OURS by what frees. A forked child may go on with its
 * parent's. */
typedef uint64_t pintensor_manager;

/* Returns a new manager, or 0 if pintensor is off, or 65,536 are alive. */
PINTENSOR_API pintensor_manager pintensor_manager_create(void);

/* Everything of the manager goes: raw blocks at once (they must no longer be used), blocks under tensors when their
 * last tensor is dropped. The manager must not be used afterwards; 0 is ignored, and so is an unknown one, of which
 * only pintensor_last_error() tells. */
PINTENSOR_API void pintensor_manager_destroy(pintensor_manager manager);

/* ---- raw blocks ---- */

/* A block as its owner knows it. `id` tells it from blocks that lie at the same address later. */
typedef struct pintensor_block {
    void *data;
    size_t bytes;
    uint64_t id;
} pintensor_block;

/* Makes a block of `bytes` bytes; its contents are undefined. bytes == 0 gives a block with data == NULL.
 * PINTENSOR_ELIMIT: pintensor_last_error() names the limit and the command that lifts it; if it is PINTENSOR_LIMIT, who
 * holds most.
 * PINTENSOR_EINVALID, PINTENSOR_EOFF. */
PINTENSOR_API int pintensor_alloc(pintensor_manager manager, size_t bytes, pintensor_block *block);

/* Gives a block back. Freeing twice, a foreign or an inner address changes nothing, is counted, and warned of once a
 * place: PINTENSOR_ENOT_OURS. The first form goes by address alone, so it cannot tell a block from a later one at the
 * same address; the second can: PINTENSOR_ESTALE. data == NULL is fine. */
PINTENSOR_API int pintensor_free(pintensor_manager manager, void *data);
PINTENSOR_API int pintensor_free_block(pintensor_manager manager, const pintensor_block *block);

/* Tells that what a CUDA stream of this process was given so far uses the block around `data`: a free, early or late, does
 * not hand its memory out again before that work is done, and does not wait for it. Needed only for what pintensor cannot
 * see: copies by the driver's own functions or by a runtime that is linked statically, and kernels that read or write
 * pinned memory. `stream` is a cudaStream_t or CUstream. While the stream is being captured the block is marked never to be
 * used again. PINTENSOR_ENOT_OURS: no live block lies there. */
PINTENSOR_API int pintensor_record_stream(const void *data, void *stream);

/* ---- tensors of libtorch ---- */

/* What libtorch's C functions call AtenTensorHandle: a pointer to an at::Tensor. Delete it with
 * aoti_torch_delete_tensor_object(), or move the at::Tensor out of it. */
typedef void *pintensor_tensor;

/* Makes a one-dimensional CPU tensor of `elements` elements of a c10::ScalarType. Its block goes back when its last
 * tensor or view is dropped, freed or not. libtorch must be loaded in the process.
 * PINTENSOR_EINVALID (negative, or too many bytes, or no such type), PINTENSOR_ELIMIT, PINTENSOR_ENO_TORCH,
 * PINTENSOR_ETORCH, PINTENSOR_EOFF. */
PINTENSOR_API int pintensor_tensor_alloc(pintensor_manager manager, int64_t elements, int scalar_type,
                                         pintensor_tensor *tensor);

/* Declares that the tensor's block is no longer needed; the memory goes back when the last tensor or view on it is
 * dropped, and stays readable until then. PINTENSOR_ENOT_OURS: as pintensor_free(). */
PINTENSOR_API int pintensor_tensor_free(pintensor_manager manager, pintensor_tensor tensor);

/* ---- DLPack: numpy, JAX, torch and others without a copy ---- */

/* DLPack's structures: its own dlpack.h has them, and pintensor/dlpack.h. */
struct DLManagedTensor;
struct DLManagedTensorVersioned;

/* Makes a contiguous tensor of `dims` dimensions, 8 at most, of a c10::ScalarType (uint8 is 0, int64 4, float16 5, float32 6,
 * float64 7, bfloat16 15); its contents are undefined. It belongs to no manager: the block goes back when the tensor's
 * `deleter` is called, once, in any thread, which whoever takes the tensor over does; to drop it is no leak. pintensor_free()
 * refuses it. The device is kDLCPU also where the memory is registered with a GPU. What Python takes over is a capsule:
 * "dltensor_versioned" for the second form, which numpy makes a writable array of, or "dltensor" for the first, which is older
 * than DLPack 1.0.
 * PINTENSOR_EINVALID (no such shape, or too many bytes, or a type that DLPack has not), PINTENSOR_ELIMIT, PINTENSOR_EOFF. */
PINTENSOR_API int pintensor_dlpack_alloc(int dims, const int64_t *shape, int scalar_type, struct DLManagedTensor **tensor);
PINTENSOR_API int pintensor_dlpack_alloc_versioned(int dims, const int64_t *shape, int scalar_type,
                                                   struct DLManagedTensorVersioned **tensor);

/* ---- questions ---- */

/* Whether [data, data + bytes) lies in one live block of any manager that was not freed. Takes no lock. */
PINTENSOR_API bool pintensor_is_managed(const void *data, size_t bytes);

/* The same for the elements of a tensor or view; false for tensors that are not on the CPU. */
PINTENSOR_API bool pintensor_tensor_is_managed(pintensor_tensor tensor);

/* Counters of this process. Sizes in bytes; `*_locked` counts whole locked pages or size classes, the others what was
 * asked for. */
typedef struct pintensor_stats {
    uint64_t live_blocks, live_bytes, live_locked;
    uint64_t cached_bytes;             /* locked, free, waiting to be used again */
    uint64_t peak_bytes, peak_locked;  /* the most alive at once */
    uint64_t locked_bytes;             /* all that pintensor has locked now: live, cached and between */
    uint64_t allocated_blocks;         /* ever */
    uint64_t reused_blocks;            /* of these, served from memory that was locked already */
    uint64_t reclaimed_blocks;         /* dropped without a free */
    uint64_t misuses;                  /* calls of free that could not be */
    uint64_t pageable_blocks;          /* PINTENSOR_ON_LIMIT=pageable: made without a lock */
    uint64_t registrations;            /* calls of a device's driver that registered memory */
    uint64_t unregistrations;          /* and that took it back, which waits for the device */
    uint64_t mark_peak_bytes;          /* the most alive at once since pintensor_mark(), or ever */
    uint64_t others_blocks, others_bytes; /* what others pin by cudaHostAlloc and cudaHostRegister, served without us, as far as
                                             the preload sees it */
} pintensor_stats;

/* All zero before the first block. `size` is sizeof(pintensor_stats): newer libraries fill what the caller knows. */
PINTENSOR_API void pintensor_get_stats(pintensor_stats *stats, size_t size);

/* Counts mark_peak_bytes anew from what is alive now. One mark for all of the process: the latest. Allocations by many
 * threads at once take a little longer until what is alive is back where it was highest. */
PINTENSOR_API void pintensor_mark(void);

/* Unlocks and gives back all that is not alive; returns the bytes. What is registered with a device goes by chunks: those that
 * hold a live block stay. Taking one back waits for all work that the device was given, and holds up other threads' launches
 * meanwhile: not to be called while work is queued that waits for a later launch of this process. */
PINTENSOR_API size_t pintensor_trim(void);

/* Writes the report as of now to a file descriptor. Counts alive blocks as held. Waits for no lock, so it may be called in a
 * signal handler; and for a pipe that nobody reads two seconds at most. PINTENSOR_EIO, PINTENSOR_EOFF (nothing
 * was ever pinned). */
PINTENSOR_API int pintensor_report(int fd);

/* The same, and where the calling thread holds Python's GIL, the Python objects that hold what is growing or held, and the names
 * that they are reached from. That runs Python code, for PINTENSOR_REFERRERS seconds of the thread's time and twice as long by
 * the clock at most: never in a signal handler. */
PINTENSOR_API int pintensor_report_held_by(int fd);

/* "0.1.0" */
PINTENSOR_API const char *pintensor_version(void);

#ifdef __cplusplus
}
#endif

#endif
