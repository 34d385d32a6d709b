/* What our copy of jemalloc calls instead of libc, libm and the unwinder: Makefile.am renames the calls. MALLOC_CONF and
 * /etc/malloc.conf read as absent. The rest belongs to its heap profiler, which stays off. */
#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

char *pt_no_getenv(const char *name);
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
