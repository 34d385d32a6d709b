/* A thread's own Python stack as one number, read from the interpreter's memory: no GIL, no call into Python, some tens
 * of nanoseconds. A thread's frames stand still while it runs our code, whoever holds the GIL. Where they lie differs
 * by version and is not public, so it is proven first, against what the public API says of the same stack, and again
 * each time somebody looks at a stack in full. One contradiction switches this off for good. */
#ifndef PT_FRAMES_H
#define PT_FRAMES_H

#include "trace/python.h"

#include <stdbool.h>
#include <stdint.h>

/* A key covers so many frames at least. */
#define PT_FRAMES_MOST 48

void pt_frames_init(void);

/* Mixes this thread's frames into `key`: equal stacks give equal keys, and equal keys equal stacks as long as their
 * code is watched (code.h). False if it cannot be told. */
bool pt_frames_key(uint64_t *key);

/* What pt_python_frames() says of a thread's stack, up to PT_FRAMES_MOST frames. With the GIL, and the thread standing
 * still. `near` is on its C stack, further in than Python's last call. */
void pt_frames_learn(void *thread_state, uintptr_t near, const struct pt_python_frame *frames, const uintptr_t *at,
                     unsigned count);

/* What is thought of this interpreter's memory. */
enum pt_frames_state { PT_FRAMES_UNKNOWN, PT_FRAMES_ON_TRIAL, PT_FRAMES_PROVEN, PT_FRAMES_OFF };
enum pt_frames_state pt_frames_state(void);

static inline uint64_t pt_frames_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

#endif
