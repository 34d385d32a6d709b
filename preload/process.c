/* libc's doors: the ways a process ends, so that the report comes out of each, and mlock, which tells of ops that no
 * preload can reach. Everything is passed on unchanged. */
#include "base/log.h"
#include "base/options.h"
#include "deepspeed.h"
#include "life/shutdown.h"
#include "memory/owner.h"
#include "stock.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOOR __attribute__((visibility("default")))

/* Looked up early: these may be called from a signal handler, where dlsym() must not be. */
static struct {
    void (*abort)(void);
    void (*_exit)(int);
} next;

__attribute__((constructor)) static void look_up(void)
{
    next.abort = (void (*)(void))stock_next("abort");
    next._exit = (void (*)(int))stock_next("_exit");
}

static _Noreturn void end(int status)
{
    if (next._exit == NULL) {
        look_up(); /* a library's constructor, which ran before ours */
    }
    next._exit(status);
    __builtin_unreachable();
}

DOOR _Noreturn void exit(int status)
{
    void (*real)(int) = (void (*)(int))stock_next("exit");
    pt_shutdown_status(status, NULL);
    real(status);
    __builtin_unreachable();
}

DOOR _Noreturn void _exit(int status)
{
    end(pt_shutdown_now(status));
}

DOOR _Noreturn void _Exit(int status)
{
    end(pt_shutdown_now(status));
}

DOOR _Noreturn void quick_exit(int status)
{
    void (*real)(int) = (void (*)(int))stock_next("quick_exit");
    real(pt_shutdown_now(status));
    __builtin_unreachable();
}

DOOR _Noreturn void abort(void)
{
    if (next.abort == NULL) {
        look_up();
    }
    (void)pt_shutdown_now(1);
    next.abort();
    __builtin_unreachable();
}

/* glibc's own assert aborts without coming through the door above. */
DOOR _Noreturn void __assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
    void (*real)(const char *, const char *, unsigned, const char *) =
        (void (*)(const char *, const char *, unsigned, const char *))stock_next("__assert_fail");
    (void)pt_shutdown_now(1);
    real(what, file, line, function);
    __builtin_unreachable();
}

/* Stock's alloc runs only if its op bypasses the preload: such an op binds its own calls when it is linked. */
static bool bypasses(const void *caller)
{
    return stock_of_caller(caller, "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE") != NULL;
}

static void warn_of_unreachable_op(const void *caller)
{
    enum { REMEMBERED = 8 };
    static void *_Atomic innocent[REMEMBERED]; /* objects that were looked at already */
    static _Atomic unsigned place;
    static _Atomic bool said;
    Dl_info info;
    if (said || deepspeed_in_stock() || dladdr(caller, &info) == 0) {
        return;
    }
    for (unsigned i = 0; i < REMEMBERED; i++) {
        if (innocent[i] == info.dli_fbase) {
            return;
        }
    }
    if (!bypasses(caller)) {
        innocent[place++ % REMEMBERED] = info.dli_fbase;
    } else if (!atomic_exchange(&said, true)) {
        pt_log("warning: %s was linked with -Bsymbolic-functions, so its pinned tensors cannot be served by pintensor "
               "and stay DeepSpeed's. Have it built at first use instead: install DeepSpeed with DS_BUILD_OPS=0 and "
               "LDFLAGS without that flag",
               info.dli_fname);
    }
}

DOOR int mlock(const void *address, size_t len)
{
    static int (*_Atomic real)(const void *, size_t);
    if (real == NULL) {
        real = (int (*)(const void *, size_t))stock_next("mlock");
    }
    warn_of_unreachable_op(__builtin_return_address(0));
    return real(address, len);
}
