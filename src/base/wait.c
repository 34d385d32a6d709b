#include "base/wait.h"

#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000

static struct timespec of_ns(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

void pt_wait_pause(int64_t ns)
{
    struct timespec pause = of_ns(ns);
    int error = errno;
    (void)syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &pause, NULL); /* the call that nanosleep() makes */
    errno = error;
}

struct pt_patience pt_patience_for(int64_t ns)
{
    return (struct pt_patience){.until_ns = pt_thread_now() + ns, .unslept_ns = ns};
}

struct pt_patience pt_patience_until(int64_t until_ns)
{
    return (struct pt_patience){.until_ns = until_ns, .unslept_ns = until_ns - pt_thread_now()};
}

int64_t pt_patience_left(const struct pt_patience *p)
{
    int64_t left = p->until_ns - pt_thread_now();
    left = left < p->unslept_ns ? left : p->unslept_ns;
    return left > 0 ? left : 0;
}

void pt_patience_slept(struct pt_patience *p, int64_t ns)
{
    p->unslept_ns -= ns;
}

bool pt_patience_pause(struct pt_patience *p, int64_t ns)
{
    if (pt_patience_left(p) == 0) {
        return false;
    }
    pt_wait_pause(ns);
    pt_patience_slept(p, ns);
    return true;
}

uint32_t pt_bell_rings(const struct pt_bell *b)
{
    return atomic_load(&b->rings);
}

/* The system call, as libc's conditions make it: the word is this process's alone. */
static long futex(struct pt_bell *b, int operation, uint32_t value, const struct timespec *most)
{
    return syscall(SYS_futex, &b->rings, operation | FUTEX_PRIVATE_FLAG, value, most, NULL, 0);
}

void pt_bell_ring(struct pt_bell *b)
{
    int error = errno;
    atomic_fetch_add(&b->rings, 1);
    (void)futex(b, FUTEX_WAKE, INT_MAX, NULL);
    errno = error;
}

void pt_bell_await(struct pt_bell *b, uint32_t rings)
{
    int error = errno;
    while (pt_bell_rings(b) == rings) {
        (void)futex(b, FUTEX_WAIT, rings, NULL);
    }
    errno = error;
}

/* The kernel takes a time from now on, not a moment, and nobody tells what a signal has left of it: the clock does, or
 * if that stands still, a part is taken off. */
bool pt_bell_wait(struct pt_bell *b, uint32_t rings, int64_t most_ns)
{
    int error = errno;
    struct pt_patience p = pt_patience_for(most_ns);
    int64_t left = most_ns;
    bool timed_out = false;
    while (pt_bell_rings(b) == rings && left > 0 && !timed_out) {
        struct timespec most = of_ns(left);
        int64_t began = pt_thread_now();
        bool failed = futex(b, FUTEX_WAIT, rings, &most) != 0;
        timed_out = failed && errno != EINTR && errno != EAGAIN;
        if (failed && !timed_out) {
            int64_t slept = pt_thread_now() - began;
            pt_patience_slept(&p, slept > 0 ? slept : most_ns / 64 + 1);
            left = pt_patience_left(&p);
        }
    }
    errno = error;
    return pt_bell_rings(b) != rings;
}
