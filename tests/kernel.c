#undef _FORTIFY_SOURCE                                /* these are the functions themselves */
#pragma GCC diagnostic ignored "-Wframe-larger-than=" /* the library's alone are small */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

NOT_SANITIZED_BEGIN

static bool (*watch)(long number, const long *arguments, long *result);
static long refused_number;
static int refused_error;
static atomic_uint skipped, left, refused;
static const char *files;

void kernel_watch(bool (*answer)(long number, const long *arguments, long *result))
{
    watch = answer;
}

void kernel_refuse(long number, int error, unsigned skip, unsigned times)
{
    refused_number = number;
    refused_error = error;
    skipped = skip;
    left = times;
    refused = 0;
}

unsigned kernel_refused(void)
{
    return refused;
}

void kernel_files(const char *root)
{
    files = root;
}

long kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static bool refuses(long number)
{
    if (number != refused_number || left == 0) {
        return false;
    }
    if (skipped > 0) {
        skipped--;
        return false;
    }
    left--;
    refused++;
    return true;
}

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    const long arguments[] = {a, b, c, d, e, f};
    long result;
    if (watch == NULL || !watch(number, arguments, &result)) {
        result = refuses(number) ? -refused_error : kernel_call(number, a, b, c, d, e, f);
    }
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

/* ---- what the library calls ---- */

/* Whoever calls it passes as many words as the call takes: the others are read, and not used. */
__attribute__((no_sanitize_address)) long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    return call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static const char *path_of(const char *path, char *room, size_t size)
{
    static const char *const theirs[] = {"/sys/", "/proc/meminfo", "/proc/zoneinfo", "/proc/self/cgroup", "/proc/sys/"};
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0] && files != NULL; i++) {
        if (strncmp(path, theirs[i], strlen(theirs[i])) == 0) {
            snprintf(room, size, "%s%s", files, path);
            return room;
        }
    }
    return path;
}

int open(const char *path, int flags, ...)
{
    char room[4096];
    va_list list;
    va_start(list, flags);
    int mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(list, int) : 0;
    va_end(list);
    return (int)call(SYS_openat, AT_FDCWD, (long)path_of(path, room, sizeof room), flags, mode, 0, 0);
}

int access(const char *path, int mode)
{
    char room[4096];
    return (int)call(SYS_access, (long)path_of(path, room, sizeof room), mode, 0, 0, 0, 0);
}

ssize_t read(int fd, void *into, size_t bytes)
{
    return call(SYS_read, fd, (long)into, (long)bytes, 0, 0, 0);
}

ssize_t write(int fd, const void *from, size_t bytes)
{
    return call(SYS_write, fd, (long)from, (long)bytes, 0, 0, 0);
}

int poll(struct pollfd *which, nfds_t count, int ms)
{
    return (int)call(SYS_poll, (long)which, (long)count, ms, 0, 0, 0);
}

ssize_t pread(int fd, void *into, size_t bytes, off_t at)
{
    return call(SYS_pread64, fd, (long)into, (long)bytes, at, 0, 0);
}

__attribute__((no_sanitize_address)) int fcntl(int fd, int what, ...)
{
    va_list list;
    va_start(list, what);
    long argument = va_arg(list, long);
    va_end(list);
    return (int)call(SYS_fcntl, fd, what, argument, 0, 0, 0);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return (void *)call(SYS_mmap, (long)at, (long)len, protection, flags, fd, offset);
}

int munmap(void *p, size_t len)
{
    return (int)call(SYS_munmap, (long)p, (long)len, 0, 0, 0, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return (int)call(SYS_fallocate, fd, mode, offset, len, 0, 0);
}

int getrlimit(__rlimit_resource_t what, struct rlimit *out)
{
    return (int)call(SYS_getrlimit, (long)what, (long)out, 0, 0, 0, 0);
}

pid_t getpid(void)
{
    return (pid_t)call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

NOT_SANITIZED_END
