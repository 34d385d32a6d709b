#include "stock.h"

#include "log.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
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

struct wanted {
    const char *library;
    char path[4096];
};

static int match(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    struct wanted *w = out;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    size_t len = strlen(info->dlpi_name);
    if (strncmp(name, w->library, strlen(w->library)) != 0 || len >= sizeof w->path) {
        return 0;
    }
    memcpy(w->path, info->dlpi_name, len + 1);
    return 1;
}

static void *look_in_library(const void *caller, const char *library, const char *symbol)
{
    void *found = dlsym(RTLD_NEXT, symbol);
    if (found == NULL) {
        found = stock_of_caller(caller, symbol);
    }
    struct wanted w = {.library = library};
    if (found == NULL && dl_iterate_phdr(match, &w) != 0) {
        void *object = dlopen(w.path, RTLD_NOLOAD | RTLD_LAZY);
        if (object != NULL) {
            found = dlsym(object, symbol);
            dlclose(object);
        }
    }
    return found;
}

void *stock_of_library(struct stock_memory *memory, const void *caller, const char *library, const char *symbol)
{
    enum { MOST = sizeof memory->known / sizeof memory->known[0] };
    unsigned used = atomic_load_explicit(&memory->used, memory_order_relaxed);
    for (unsigned i = 0; i < used && i < MOST; i++) {
        if (atomic_load_explicit(&memory->known[i].caller, memory_order_acquire) == caller) {
            return memory->known[i].found;
        }
    }
    void *found = look_in_library(caller, library, symbol);
    /* A place is written once; callers past the last one are looked up each time. */
    unsigned place = found != NULL && used < MOST ? atomic_fetch_add(&memory->used, 1) : MOST;
    if (place < MOST) {
        memory->known[place].found = found;
        atomic_store_explicit(&memory->known[place].caller, caller, memory_order_release);
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
