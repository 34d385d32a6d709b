/* What people call files and functions. */
#ifndef PT_SYMBOL_H
#define PT_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_SYMBOL_MOST 200

/* Remembers where the program is now: paths below are shown relative to it. */
void pt_symbol_init(void);

/* Whether a Python file belongs to an installed package or to Python itself, and not to the user. */
bool pt_symbol_is_library(const char *file);

/* A file relative to the packages or to the working directory. Points into `file`. */
const char *pt_symbol_short_path(const char *file);

/* The symbol before a return address, with the offset, and the object it lies in; empty if unknown. The address is one
 * of this thread's own stack, so its object stays. */
void pt_symbol_native(const void *pc, char *symbol, char *object, size_t size);

/* Likewise, for who has the object's debug information: "BUILD-ID PATH", and the address of the call in its file. False: it
 * has no build ID, or does not fit. */
bool pt_symbol_place(const void *pc, char *object, size_t size, uint32_t *at);

#endif
