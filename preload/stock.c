#include "stock.h"

#include "base/libraries.h"
#include "base/linker.h"
#include "base/wait.h"

#include <errno.h>
#include <stddef.h>

enum { PATIENCE_MS = 1000 };

void *stock_of_caller(const void *caller, const char *symbol)
{
    struct pt_library object;
    bool known = pt_libraries_around(caller, &object) == 0 && !pt_libraries_is_ours(&object);
    return known ? pt_elf_symbol(&object.elf, symbol) : NULL;
}

static int look_in_library(const struct pt_library *user, const char *library, const char *symbol, void **out)
{
    struct pt_library loaded;
    int error = pt_libraries_reached(symbol, true, user, out);
    if (error == -ENOENT && (error = pt_libraries_named(library, symbol, &loaded)) == 0) {
        *out = pt_elf_symbol(&loaded.elf, symbol);
    }
    return error;
}

/* What is remembered has to stay where it is. */
static bool keep(void *found)
{
    struct pt_library object;
    if (!pt_linker_begin()) {
        return false;
    }
    bool kept = pt_libraries_around(found, &object) == 0 && pt_libraries_keep(&object);
    pt_linker_end();
    return kept;
}

void *stock_of_library(struct stock_memory *memory, const void *caller, const char *library, const char *symbol)
{
    enum { MOST = sizeof memory->known / sizeof memory->known[0] };
    unsigned used = atomic_load_explicit(&memory->used, memory_order_relaxed);
    for (unsigned i = 0; i < used && i < MOST; i++) {
        uintptr_t from = atomic_load_explicit(&memory->known[i].from, memory_order_acquire);
        if (from != 0 && (uintptr_t)caller - from < memory->known[i].len) {
            return memory->known[i].found;
        }
    }
    struct pt_library user;
    bool known = pt_libraries_around(caller, &user) == 0;
    void *found = NULL;
    int error;
    /* The list is in use for moments only, and without an answer the call would fail. */
    for (int i = 0;
         (error = look_in_library(known ? &user : NULL, library, symbol, &found)) == -EBUSY && i < PATIENCE_MS; i++) {
        pt_wait_pause(1000000);
    }
    bool lasts = error == 0 && known && used < MOST && keep(found);
    /* A place is written once; objects past the last one are looked up each time. */
    unsigned place = lasts ? atomic_fetch_add(&memory->used, 1) : MOST;
    if (place < MOST) {
        memory->known[place].found = found;
        memory->known[place].len = user.elf.len;
        atomic_store_explicit(&memory->known[place].from, user.elf.from, memory_order_release);
    }
    return error == 0 ? found : NULL;
}

bool stock_next(const char *const *symbols, void **out, unsigned count)
{
    int error = pt_libraries_find_all(PT_BEHIND_US, symbols, out, count);
    if (error == -ENOENT) { /* loaded late, we are the last */
        error = pt_libraries_find_all(PT_OTHERS_THAN_US, symbols, out, count);
    }
    return error != -EBUSY;
}
