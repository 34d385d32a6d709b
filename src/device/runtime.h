/* What is needed of a device's runtime to register host memory: one row a runtime, in driver.c. A row is only asked once
 * its library was found in the process; none loads a library, initialises a runtime or makes a context. */
#ifndef PT_RUNTIME_H
#define PT_RUNTIME_H

#include "base/elf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Streams that are named rather than pointed to. */
#define PT_LEGACY_STREAM     ((void *)1)
#define PT_PER_THREAD_STREAM ((void *)2)

/* Where a stream's work runs: a context of the program's. The number tells it from a later one at the same address. */
struct pt_place {
    void *context;
    uint64_t number;
    int device; /* whose primary context it is; -1: one that the program made itself */
};

/* What a stream has done of what it was given: */
enum pt_passed { PT_PASSED, PT_PENDING };

struct pt_runtime {
    const char *library; /* how the file's name begins */

    /* Finds the functions; false if the library lacks one. */
    bool (*bind)(const struct pt_elf *library);

    /* Whether the program has initialised it, in this process (not in one that it was forked from), and it sees a device. */
    bool (*in_use)(void);

    /* Whether the program has made a context that works. */
    bool (*ready)(void);

    /* Brackets around the calls below: such a context becomes this thread's for the while. False: there is none. */
    bool (*enter)(int *saved);
    void (*leave)(int saved);

    /* Whether its devices use registered memory by the address that the program has; true while nobody can tell. */
    bool (*usable)(void);

    /* Whether hold()'s code means that it will never register anything here. `first`: it never has. */
    bool (*refuses_all)(int code, bool first);

    /* 0 or the runtime's own code. A range given back is named by its start. */
    int (*hold)(void *p, size_t len);
    int (*let_go)(void *p);

    /* Which place a stream belongs to; `device` < 0: the runtime has to tell. */
    bool (*place)(void *stream, int device, struct pt_place *out);

    /* What tells the stream from all others, also from a later one by the same handle; 0: not known. */
    uint64_t (*identity)(void *stream);

    /* Whether what the stream is given is being recorded for later. */
    bool (*captured)(void *stream);

    /* Notes in `*event` how far the stream has been given work; if it is NULL, in a new one. False: it could not, and the
     * event is what it was. */
    bool (*mark)(const struct pt_place *place, void *stream, void **event);

    /* Whether that work is known to be done. `event` NULL: only a place that is gone is done with everything. */
    enum pt_passed (*passed)(const struct pt_place *place, void *event);

    /* Waits for all work of all devices; false: not now, since a capture runs, or this is a host callback. */
    bool (*finish)(void);

    int out_of_memory;  /* the code that says so */
    size_t most;        /* bytes of one registration */
};

extern const struct pt_runtime pt_runtime_cuda;

#endif
