#include "base/write.h"

#include "base/thread.h"
#include "base/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The signals that a write itself may raise: a pipe nobody reads, RLIMIT_FSIZE, a terminal under `stty tostop`. */
struct quiet {
    sigset_t before, waiting;
};

static void quiet_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
    sigaddset(set, SIGXFSZ);
    sigaddset(set, SIGTTOU);
}

/* sigprocmask() is this thread's alone in Linux, and in every libc. */
static void quiet_begin(struct quiet *q)
{
    sigset_t raised;
    quiet_set(&raised);
    sigpending(&q->waiting);
    sigprocmask(SIG_BLOCK, &raised, &q->before);
}

/* What the write raised is taken away; what somebody else has sent before stays. */
static void quiet_end(const struct quiet *q, int failed)
{
    int raised = failed == EPIPE ? SIGPIPE : failed == EFBIG ? SIGXFSZ : 0;
    if (raised != 0 && !sigismember(&q->waiting, raised)) {
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, raised);
        (void)sigtimedwait(&one, NULL, &(struct timespec){0});
    }
    sigprocmask(SIG_SETMASK, &q->before, NULL);
}

/* Waits until something can be written, by the deadline. Returns 0, or the errno to give up with. The kernel has waited
 * all the time that was left, whatever clock_gettime() says afterwards: a tool that fakes the time may have it stand
 * still. */
static int wait_for_room(int fd, int64_t until)
{
    for (;;) {
        int64_t left = until - pt_thread_now();
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        int ready = (int)syscall(SYS_poll, &room, 1,
                                 left > 0 ? (int)(left / 1000000) + 1 : 0); /* libc's may be replaced, too */
        if (ready > 0) {
            return 0; /* or an error, which the write tells */
        }
        if (ready < 0 && errno != EINTR && errno != EAGAIN) {
            return 0; /* poll() is not to be had here: then nobody can tell */
        }
        if (left <= 0 || ready == 0) {
            return ETIMEDOUT;
        }
    }
}

/* A pipe with room has it for PIPE_BUF bytes, so that a write of no more does not block, and others' come before or
 * after it: so it ends with a line where it can. A socket is told not to block; a file takes all at once. */
static size_t part_of(mode_t kind, const char *p, size_t n)
{
    if (n <= PIPE_BUF || kind == S_IFREG) {
        return n;
    }
    const char *end = memrchr(p, '\n', PIPE_BUF);
    return end != NULL ? (size_t)(end - p) + 1 : PIPE_BUF;
}

static int write_all(int fd, const char *p, size_t n, int64_t until)
{
    struct stat is;
    mode_t kind = fstat(fd, &is) == 0 ? is.st_mode & S_IFMT : 0;
    struct pt_patience patience = pt_patience_until(until);
    while (n > 0) {
        int failed = wait_for_room(fd, until);
        if (failed != 0) {
            return failed;
        }
        size_t part = part_of(kind, p, n);
        ssize_t wrote = kind == S_IFSOCK ? send(fd, p, part, MSG_DONTWAIT | MSG_NOSIGNAL) : write(fd, p, part);
        bool no_room = wrote < 0 && errno == EAGAIN; /* less than it takes */
        if (no_room && !pt_patience_pause(&patience, 1000000)) {
            return ETIMEDOUT;
        } else if (wrote < 0 && !no_room && errno != EINTR) {
            return errno;
        }
        p += wrote > 0 ? (size_t)wrote : 0;
        n -= wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

int pt_write(int fd, const char *p, size_t n, int64_t until_ns)
{
    struct quiet q;
    int before = errno;
    quiet_begin(&q);
    int failed = write_all(fd, p, n, until_ns);
    quiet_end(&q, failed);
    errno = before;
    return failed;
}
