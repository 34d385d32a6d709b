/* The objects in this process, and their symbols, without asking the dynamic linker for them. What is told has to stay
 * loaded while it is used: the caller's own object does, and what that needs; for others see pt_libraries_keep(). 0, or
 * -ENOENT, or -EBUSY where the list could not be read, or the object is being loaded just now: ask again another time.
 */
#ifndef PT_LIBRARIES_H
#define PT_LIBRARIES_H

#include "base/elf.h"

#include <stdbool.h>

struct pt_library {
    const char *path; /* the linker's own words, for as long as it is loaded */
    struct pt_elf elf;
};

/* The first library whose file's name begins so; `symbol`, unless NULL, has to be defined in it. */
int pt_libraries_named(const char *name, const char *symbol, struct pt_library *out);

/* The first object that defines the symbol. */
int pt_libraries_with(const char *symbol, struct pt_library *out);

/* The symbols of these names, each from the first object that defines it; what is not NULL in `values` stays. */
enum pt_objects { PT_ALL_OBJECTS, PT_OTHERS_THAN_US, PT_BEHIND_US };
int pt_libraries_find_all(enum pt_objects which, const char *const *names, void **values, unsigned count);

/* The library, or the program, that this address lies in. Takes no lock with glibc 2.35 or newer. */
int pt_libraries_around(const void *address, struct pt_library *out);

/* Whether it is this library that we are in. */
bool pt_libraries_is_ours(const struct pt_library *library);

/* What a call from `user` (NULL: from nobody) would reach if it were not for us: what the libraries define that the
 * program was started with, or the user itself, or what it is linked with. `after_us`: not what comes before us, so
 * that one who stands there and passes calls on does not get them back. */
int pt_libraries_reached(const char *symbol, bool after_us, const struct pt_library *user, void **out);

/* The first object loaded since the start that defines the symbol, and whose own calls of it come to that, though they
 * might go elsewhere. */
int pt_libraries_bound_to_itself(const char *symbol, struct pt_library *out);

/* How many were loaded since the start, however many went. */
int pt_libraries_loaded(unsigned long long *out);

/* Makes sure that it stays, and is set up. Between pt_linker_begin() and its end. */
bool pt_libraries_keep(const struct pt_library *library);

/* Loads one for good. -ENOENT: it cannot be loaded, and dlerror() has the reason. Likewise. */
int pt_libraries_open(const char *path, struct pt_elf *out);

#endif
