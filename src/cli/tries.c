#include "cli/tries.h"

#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    return pt_thread_now() / 1000000;
}

/* Until it closes the pipe, which its end does; false: time is over. What does not fit is read and dropped. */
static int listen_to(int fd, int64_t until, char *said, size_t cap)
{
    char rest[512];
    size_t len = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t left = until - now_ms();
        int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;
        if (ready == 0) {
            return -ETIMEDOUT;
        }
        bool room = len + 1 < cap;
        ssize_t n = ready < 0 ? -1 : read(fd, room ? said + len : rest, room ? cap - 1 - len : sizeof rest);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return 0;
        }
        len += room && n > 0 ? (size_t)n : 0;
        said[len] = '\0';
    }
}

/* It has a group of its own, so that what it started ends with it. */
static int start(int (*body)(int out), char *const *argv, int out)
{
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    (void)setpgid(pid, pid); /* both do it: it has to be so before either goes on */
    if (pid > 0) {
        return pid;
    }
    if (body != NULL) {
        _exit(body(out));
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0) {
        _exit(126);
    }
    (void)unsetenv("LD_PRELOAD"); /* it is asked what is there, not served */
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? 127 : 126);
}

static int try(int (*body)(int out), char *const *argv, unsigned seconds, char *said, size_t cap)
{
    int ends[2], status;
    int64_t until = now_ms() + (int64_t)seconds * 1000;
    said[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -errno;
    }
    int pid = start(body, argv, ends[1]);
    close(ends[1]);
    int error = pid < 0 ? pid : listen_to(ends[0], until, said, cap);
    close(ends[0]);
    if (pid < 0) {
        return error;
    }
    if (error != 0) {
        (void)kill(-pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return error != 0 ? error : WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

int pt_try_call(int (*body)(int out), unsigned seconds, char *said, size_t cap)
{
    return try(body, NULL, seconds, said, cap);
}

int pt_try_program(char *const *argv, unsigned seconds, char *said, size_t cap)
{
    return try(NULL, argv, seconds, said, cap);
}
