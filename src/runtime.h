/* What is needed of a device's runtime to register host memory: one row a runtime, in device.c. A row is only asked once
 * its library was found in the process; none loads a library, initialises a runtime or makes a context. */
#ifndef PT_RUNTIME_H
#define PT_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>

struct pt_runtime {
    const char *library; /* how the file's name begins */

    /* Finds the functions; false if the library lacks one. */
    bool (*bind)(void *library);

    /* Whether the program has initialised it, in this process (not in one that it was forked from), and it sees a device. */
    bool (*in_use)(void);

    /* Whether the program has made a context that works. */
    bool (*ready)(void);

    /* Brackets around the calls below: such a context becomes this thread's for the while. False: there is none. */
    bool (*enter)(int *saved);
    void (*leave)(int saved);

    /* 0 or the runtime's own code. A range given back is named by its start. */
    int (*hold)(void *p, size_t len);
    int (*let_go)(void *p);

    int out_of_memory;  /* the code that says so */
    size_t most;        /* bytes of one registration */
};

extern const struct pt_runtime pt_runtime_cuda;

#endif
