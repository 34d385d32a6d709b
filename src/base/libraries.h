/* The libraries in this process, as the dynamic linker lists them. Takes the linker's lock: not to be called with one of
 * ours held. A leaf. */
#ifndef PT_LIBRARIES_H
#define PT_LIBRARIES_H

#include <stdbool.h>
#include <stdint.h>

struct pt_library {
    const char *path;    /* the linker's own words, for as long as it is loaded */
    uintptr_t from, len; /* all of its segments lie there */
};

/* The first library whose file's name begins so. */
bool pt_libraries_named(const char *name, struct pt_library *out);

/* The library, or the program, that this address lies in. */
bool pt_libraries_around(const void *address, struct pt_library *out);

#endif
