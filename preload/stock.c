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

struct object {
    uintptr_t caller, from, len;
};

static int locate(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    struct object *o = out;
    uintptr_t from = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD) {
            from = at < from ? at : from;
            end = at + part->p_memsz > end ? at + part->p_memsz : end;
        }
    }
    if (o->caller < from || o->caller >= end) {
        return 0;
    }
    o->from = from;
    o->len = end - from;
    return 1;
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
    struct object o = {.caller = (uintptr_t)caller};
    bool lasts = found != NULL && used < MOST && dl_iterate_phdr(locate, &o) != 0 && keep(found);
    /* A place is written once; objects past the last one are looked up each time. */
    unsigned place = lasts ? atomic_fetch_add(&memory->used, 1) : MOST;
    if (place < MOST) {
        memory->known[place].found = found;
        memory->known[place].len = o.len;
        atomic_store_explicit(&memory->known[place].from, o.from, memory_order_release);
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
