/* A preload that stands between a program and dlsym(), as profilers do: what it is asked for the next one of, it looks
 * up from where it stands itself; with WRAP_NOTHING set it finds nothing at all. */
#include <dlfcn.h>
#include <stdlib.h>

void *dlsym(void *handle, const char *name)
{
    void *(*real)(void *, const char *) = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return getenv("WRAP_NOTHING") != NULL ? NULL : real(handle, name);
}
