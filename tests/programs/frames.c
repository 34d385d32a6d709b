/* What src/frames.c makes of the interpreter it is loaded into, for tests/python/frames.py, which calls in with the GIL
 * (PyDLL) or without it (CDLL). It holds copies of frames.c, python.c and what these need: nothing of the preload's. */
#include "trace/frames.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* What an allocation that looks at its stack in full does. With the GIL. Returns how many frames there are. */
unsigned probe_learn(void)
{
    struct pt_python_frame frames[PT_FRAMES_MOST];
    void *thread_state = pt_python_thread_state();
    uintptr_t at[PT_FRAMES_MOST];
    unsigned count = pt_python_frames(thread_state, frames, at, PT_FRAMES_MOST);
    pt_frames_learn(thread_state, (uintptr_t)frames, frames, at, count);
    return count;
}

void probe_init(void)
{
    pt_python_init();
    pt_frames_init();
}

int probe_state(void)
{
    return (int)pt_frames_state();
}

/* 0: none to be had. */
uint64_t probe_key(void)
{
    uint64_t key = 1;
    return pt_frames_key(&key) ? key : 0;
}

/* Nanoseconds that a key takes. */
double probe_cost(void)
{
    enum { TIMES = 20000 };
    struct timespec start, end;
    uint64_t sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < TIMES; i++) {
        sum += probe_key();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return sum == 0 ? -1 : ((end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / TIMES;
}

/* ---- without the GIL while another thread keeps it, in tests/python/leaf.py ---- */

static _Atomic bool held;

/* By PyDLL: keeps the GIL. */
void probe_keep(unsigned ms)
{
    held = true;
    usleep(ms * 1000);
    held = false;
}

/* By CDLL: once another thread keeps the GIL, allocates `count` blocks. Returns how many ms that took; -1: it fails. */
double probe_alloc(uint64_t manager, size_t bytes, unsigned count, int (*alloc)(uint64_t, size_t, void *))
{
    struct timespec start, end;
    char block[64];
    while (!held) {
        usleep(100);
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned i = 0; i < count; i++) {
        if (alloc(manager, bytes, block) != 0) {
            return -1;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return held ? (end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6 : -1;
}
