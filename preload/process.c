/* libc's doors: the ways a process ends, so that the report comes out of each, and mlock, which tells of ops that no
 * preload can reach. Everything is passed on unchanged. */
#include "base/libraries.h"
#include "base/log.h"
#include "base/options.h"
#include "deepspeed.h"
#include "life/init.h"
#include "life/shutdown.h"
#include "life/signals.h"
#include "memory/owner.h"
#include "stock.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOOR __attribute__((visibility("default")))

typedef void assert_function(const char *what, const char *file, unsigned line, const char *function);

/* Looked up once, before main: these may be called from a signal handler, from a forked child, or by a malloc. NULL:
 * there is none, and the kernel is asked. */
enum { EXIT, _EXIT, QUICK_EXIT, ABORT, ASSERT_FAIL, MLOCK, COUNT };
static const char *const names[COUNT] = {"exit", "_exit", "quick_exit", "abort", "__assert_fail", "mlock"};
static void *next[COUNT];

__attribute__((constructor)) static void look_up(void)
{
    static _Atomic bool known;
    if (!known) { /* else a library's constructor called, which ran before ours */
        known = stock_next(names, next, COUNT);
    }
}

static _Noreturn void end(void *way, int status)
{
    if (way != NULL) {
        ((void (*)(int))way)(status);
    }
    for (;;) {
        syscall(SYS_exit_group, status);
    }
}

DOOR _Noreturn void exit(int status)
{
    look_up();
    pt_shutdown_status(status, NULL);
    end(next[EXIT], next[EXIT] != NULL ? status : pt_shutdown_now(status));
}

DOOR _Noreturn void _exit(int status)
{
    look_up();
    end(next[_EXIT], pt_shutdown_now(status));
}

DOOR _Noreturn void _Exit(int status)
{
    look_up();
    end(next[_EXIT], pt_shutdown_now(status));
}

DOOR _Noreturn void quick_exit(int status)
{
    look_up();
    end(next[QUICK_EXIT], pt_shutdown_now(status));
}

static _Noreturn void die(void)
{
    if (next[ABORT] != NULL) {
        ((void (*)(void))next[ABORT])();
    }
    (void)signal(SIGABRT, SIG_DFL);
    syscall(SYS_kill, (int)getpid(), SIGABRT);
    end(NULL, 127);
}

DOOR _Noreturn void abort(void)
{
    look_up();
    (void)pt_shutdown_now(1);
    pt_signals_leave(SIGABRT);
    die();
}

/* glibc's own assert aborts without coming through the door above. */
DOOR _Noreturn void __assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
    look_up();
    (void)pt_shutdown_now(1);
    pt_signals_leave(SIGABRT);
    if (next[ASSERT_FAIL] != NULL) {
        ((assert_function *)next[ASSERT_FAIL])(what, file, line, function);
    }
    die();
}

#define ALLOC "_ZN22deepspeed_pin_tensor_t5allocElRKN3c1013TensorOptionsE"

/* Stock's alloc runs only if its op bypasses the preload: such an op binds its own calls when it is linked. */
static bool bypasses(const void *caller)
{
    return stock_of_caller(caller, ALLOC) != NULL;
}

static void warn_of_unreachable_op(const void *caller)
{
    enum { REMEMBERED = 8 };
    static _Atomic uintptr_t innocent[REMEMBERED]; /* where objects lie that were looked at already */
    static _Atomic unsigned place;
    static _Atomic bool said;
    struct pt_library object;
    if (said || deepspeed_in_stock() || pt_libraries_around(caller, &object) != 0) {
        return;
    }
    for (unsigned i = 0; i < REMEMBERED; i++) {
        if (innocent[i] == object.elf.from) {
            return;
        }
    }
    if (!bypasses(caller)) {
        innocent[place++ % REMEMBERED] = object.elf.from;
    } else if (!atomic_exchange(&said, true)) {
        pt_log("warning: %s was linked with -Bsymbolic-functions, so its pinned tensors cannot be served by pintensor "
               "and stay DeepSpeed's. Have it built at first use instead: install DeepSpeed with DS_BUILD_OPS=0 and "
               "LDFLAGS without that flag",
               object.path);
    }
}

DOOR int mlock(const void *address, size_t len)
{
    look_up();
    warn_of_unreachable_op(__builtin_return_address(0));
    return next[MLOCK] != NULL ? ((int (*)(const void *, size_t))next[MLOCK])(address, len)
                               : (int)syscall(SYS_mlock, address, len);
}

/* An op that was loaded with RTLD_DEEPBIND calls nothing of ours, so it is looked for at the end, in the process that
 * was started with us. */
static int started;

__attribute__((constructor)) static void remember_process(void)
{
    started = (int)getpid();
}

__attribute__((destructor)) static void warn_of_deeply_bound_op(void)
{
    struct pt_library op;
    if (started == (int)getpid() && pt_libraries_bound_to_itself(ALLOC, &op) == 0 && pt_init_wanted()) {
        pt_log("warning: %s was loaded with RTLD_DEEPBIND, so its pinned tensors could not be served by pintensor and "
               "were "
               "DeepSpeed's. Have it loaded without that flag",
               op.path);
    }
}
