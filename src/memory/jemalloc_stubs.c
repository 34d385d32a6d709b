/* What our copy of jemalloc calls instead of libc, libm and the unwinder: Makefile.am renames the calls. MALLOC_CONF
 * and /etc/malloc.conf read as absent; the dynamic linker is not asked for what only threads of its own would need, and
 * those stay off, as does its heap profiler, which the rest belongs to. */
#include "base/thread.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

char *pt_no_getenv(const char *name);
void *pt_no_dlsym(void *handle, const char *name);
int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
ssize_t pt_no_readlink(const char *path, char *buf, size_t len);
double pt_no_log(double x);
double pt_no_exp(double x);
double pt_no_round(double x);
int pt_no_backtrace(void *trace, void *argument);
size_t pt_no_ip(void *context);

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

int pt_jemalloc_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    return pt_thread_at_fork(before, parent, child);
}

ssize_t pt_no_readlink(const char *path, char *buf, size_t len)
{
    (void)path;
    (void)buf;
    (void)len;
    errno = ENOENT;
    return -1;
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
