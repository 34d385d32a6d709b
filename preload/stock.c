#include "stock.h"

#include "base/libraries.h"
#include "base/log.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

void *stock_of_caller(const void *caller, const char *symbol)
{
    Dl_info info;
    void *found = NULL;
    if (dladdr(caller, &info) != 0 && info.dli_fname != NULL) {
        void *object = dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY);
        if (object != NULL) {
            found = dlsym(object, symbol);
            dlclose(object);
        }
    }
    /* An object that only uses the symbol leads back to this library. */
    Dl_info ours, theirs;
    bool is_ours = found != NULL && dladdr(found, &theirs) != 0 && dladdr((void *)stock_of_caller, &ours) != 0 &&
                   theirs.dli_fbase == ours.dli_fbase;
    return is_ours ? NULL : found;
}

static void *look_in_library(const void *caller, const char *library, const char *symbol)
{
    void *found = dlsym(RTLD_NEXT, symbol);
    if (found == NULL) {
        found = stock_of_caller(caller, symbol);
    }
    struct pt_library loaded;
    if (found == NULL && pt_libraries_named(library, &loaded)) {
        void *object = dlopen(loaded.path, RTLD_NOLOAD | RTLD_LAZY);
        if (object != NULL) {
            found = dlsym(object, symbol);
            dlclose(object);
        }
    }
    return found;
}

/* What is remembered has to stay where it is. */
static bool keep(void *found)
{
    Dl_info info;
    return dladdr(found, &info) != 0 && dlopen(info.dli_fname, RTLD_NOLOAD | RTLD_LAZY | RTLD_NODELETE) != NULL;
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
    void *found = look_in_library(caller, library, symbol);
    struct pt_library object;
    bool lasts = found != NULL && used < MOST && pt_libraries_around(caller, &object) && keep(found);
    /* A place is written once; objects past the last one are looked up each time. */
    unsigned place = lasts ? atomic_fetch_add(&memory->used, 1) : MOST;
    if (place < MOST) {
        memory->known[place].found = found;
        memory->known[place].len = object.len;
        atomic_store_explicit(&memory->known[place].from, object.from, memory_order_release);
    }
    return found;
}

void *stock_next(const char *symbol)
{
    void *next = dlsym(RTLD_NEXT, symbol);
    if (next == NULL) {
        pt_log("this libc has no %s: the process cannot go on", symbol);
        syscall(SYS_exit_group, 127);
    }
    return next;
}
