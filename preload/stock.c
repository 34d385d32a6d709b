#include "stock.h"

#include "log.h"

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
    bool is_ours = found != NULL && dladdr(found, &theirs) != 0 &&
                   dladdr((void *)stock_of_caller, &ours) != 0 && theirs.dli_fbase == ours.dli_fbase;
    return is_ours ? NULL : found;
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
