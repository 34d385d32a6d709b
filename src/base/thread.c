#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

/* What pthread_atfork() calls, in glibc. */
extern int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void *dso);
extern char __dso_handle[] __attribute__((visibility("hidden")));

#define SECOND 1000000000

/* Static TLS of the program's libraries, which may be large, comes out of it; what is not touched costs nothing. */
#define STACK ((size_t)1 << 20)

int pt_thread_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return PT_OLD_LIBC_HAS(__register_atfork) ? __register_atfork(before, parent, child, __dso_handle) : ENOSYS;
}

bool pt_thread_start(pthread_t *out, void *(*run)(void *), void *argument)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    (void)pthread_attr_setstacksize(&attributes, STACK);
    (void)pthread_attr_setdetachstate(&attributes, out == NULL ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
    bool started = pthread_create(out != NULL ? out : &thread, &attributes, run, argument) == 0;
    pthread_attr_destroy(&attributes);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return started;
}

int pt_thread_forbid_cancel(void)
{
    int before = PTHREAD_CANCEL_DISABLE;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void pt_thread_allow_cancel(int before)
{
    (void)pthread_setcancelstate(before, NULL);
}

int64_t pt_thread_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * (int64_t)SECOND + t.tv_nsec;
}
