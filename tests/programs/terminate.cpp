// Pins a block; then an exit handler lets an exception out, as a job that never destroys its engine does.
#include "pintensor.h"

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <stdexcept>

static void handler()
{
    throw std::runtime_error("out of an exit handler");
}

template <class F> static F *find(F *, const char *name)
{
    return reinterpret_cast<F *>(dlsym(RTLD_DEFAULT, name));
}

int main()
{
    std::atexit(handler);
    pintensor_block b;
    auto create = find(&pintensor_manager_create, "pintensor_manager_create");
    auto alloc = find(&pintensor_alloc, "pintensor_alloc");
    return create != nullptr && alloc(create(), 1 << 20, &b) == 0 ? 0 : 99;
}
