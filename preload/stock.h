/* What would have answered a call without the preload. Nothing here calls a function that another preload may wrap. */
#ifndef PRELOAD_STOCK_H
#define PRELOAD_STOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The definition of `symbol` in the very object that `caller` lies in, or NULL. */
void *stock_of_caller(const void *caller, const char *symbol);

/* The definition that a call from `caller` would have reached: the next one that all objects see, or what the caller's
 * own object brings along or is linked with, or that of any loaded library whose file's name begins so. NULL: there is
 * none. */
struct stock_memory;
void *stock_of_library(struct stock_memory *memory, const void *caller, const char *library, const char *symbol);

/* What stock_of_library() found for the objects that called first, since a library may call from hundreds of places:
 * one for each symbol, zero to begin with. */
struct stock_memory {
    struct {
        _Atomic uintptr_t from; /* where the object lies */
        uintptr_t len;
        void *found;
    } known[32];
    _Atomic unsigned used;
};

/* The next definitions of libc's functions, never our own; NULL stays where there is none. Any moment will do, a
 * library's constructor before ours or a malloc too; false: not this one, ask again. */
bool stock_next(const char *const *symbols, void **out, unsigned count);

#endif
