/* What our copy of jemalloc calls instead of libc, libm and the unwinder: Makefile.am renames the calls. MALLOC_CONF
 * and /etc/malloc.conf read as absent; the dynamic linker is not asked for what only threads of its own would need, and
 * those stay off, as does its heap profiler, which the rest belongs to. What it maps for itself is in no core file and
 * costs memory when touched, also after mlockall(MCL_FUTURE); libc's own functions may be the preload's doors. */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { PAGE = 4096 };

char *pt_no_getenv(const char *name);
void *pt_no_dlsym(void *handle, const char *name);
ssize_t pt_no_readlink(const char *path, char *buf, size_t len);
void *pt_jemalloc_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset);
int pt_jemalloc_munmap(void *p, size_t len);
int pt_jemalloc_madvise(void *p, size_t len, int how);
int pt_jemalloc_mprotect(void *p, size_t len, int protection);
double pt_no_log(double x);
double pt_no_exp(double x);
double pt_no_round(double x);
int pt_no_backtrace(void *trace, void *argument);
size_t pt_no_ip(void *context);
int pt_jemalloc_open(const char *path, int flags, int mode);
long pt_jemalloc_syscall(long number, long a, long b, long c, long d);
int pt_jemalloc_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
long pt_jemalloc_sysconf(int name);

char *pt_no_getenv(const char *name)
{
    (void)name;
    return NULL;
}

void *pt_no_dlsym(void *handle, const char *name)
{
    (void)handle;
    (void)name;
    return NULL;
}

ssize_t pt_no_readlink(const char *path, char *buf, size_t len)
{
    (void)path;
    (void)buf;
    (void)len;
    errno = ENOENT;
    return -1;
}

/* jemalloc 5.3.0 begins by trying MADV_DONTNEED on a page, and writes to it whether it got one or not. */
static char page_to_try[PAGE] __attribute__((aligned(PAGE)));

void *pt_jemalloc_mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    void *p = (void *)syscall(SYS_mmap, at, len, PROT_NONE, flags, fd, offset);
    if (p != MAP_FAILED) {
        (void)syscall(SYS_munlock, p, len);
        (void)syscall(SYS_madvise, p, len, MADV_DONTDUMP);
        if (syscall(SYS_mprotect, p, len, protection) == 0) {
            return p;
        }
        (void)syscall(SYS_munmap, p, len);
    }
    errno = ENOMEM;
    return len == PAGE ? page_to_try : MAP_FAILED;
}

int pt_jemalloc_munmap(void *p, size_t len)
{
    return p == page_to_try ? 0 : (int)syscall(SYS_munmap, p, len);
}

int pt_jemalloc_madvise(void *p, size_t len, int how)
{
    return (int)syscall(SYS_madvise, p, len, how);
}

int pt_jemalloc_mprotect(void *p, size_t len, int protection)
{
    return (int)syscall(SYS_mprotect, p, len, protection);
}

double pt_no_log(double x)
{
    return x;
}

double pt_no_exp(double x)
{
    return x;
}

double pt_no_round(double x)
{
    return x;
}

int pt_no_backtrace(void *trace, void *argument)
{
    (void)trace;
    (void)argument;
    return 0;
}

size_t pt_no_ip(void *context)
{
    (void)context;
    return 0;
}

/* What it asks about the machine when it is set up, a program in a sandbox could be killed for. */
static int refuse(void)
{
    errno = EPERM;
    return -1;
}

int pt_jemalloc_open(const char *path, int flags, int mode)
{
    return pt_sandbox_entered() ? refuse() : open(path, flags, mode);
}

long pt_jemalloc_syscall(long number, long a, long b, long c, long d)
{
    bool opens = number == SYS_open || number == SYS_openat;
    return opens && pt_sandbox_entered() ? refuse() : syscall(number, a, b, c, d);
}

int pt_jemalloc_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    return pt_sandbox_entered() ? refuse() : sched_getaffinity(pid, size, set);
}

long pt_jemalloc_sysconf(int name)
{
    bool counts = name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF;
    return counts && pt_sandbox_entered() ? 1 : sysconf(name);
}
