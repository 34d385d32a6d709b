// Tries a freshly built bridge in a process of its own, where a crash harms nobody: try_bridge BRIDGE LIBRARY…, torch's
// libraries that it needs. Ends with 1 and the reason where it does not fit them. Where torch cannot be loaded like
// this, the program that wants the bridge has its own ways, and nothing was found against it.
#ifndef PRELOAD_BRIDGE_H // the preload carries it before this text, in one
#include "bridge.h"
#endif

#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

int main(int argc, char **argv)
{
    const rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    void *bridge = nullptr;
    for (int i = argc - 1; i > 0; i--) {
        bridge = dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL);
        if (bridge == nullptr && i == 1) { // torch's own could be
            std::printf("it cannot be loaded: %s\n", dlerror());
            return 1;
        }
        if (bridge == nullptr) {
            std::printf("not tried: %s\n", dlerror());
            return 0;
        }
    }
    auto how = reinterpret_cast<pintensor_bridge_try_function *>(dlsym(bridge, PINTENSOR_BRIDGE_TRY));
    const char *why = how != nullptr ? how() : "it is not one";
    std::printf("%s\n", why != nullptr ? why : "it fits");
    std::fflush(stdout);
    _exit(why != nullptr); // without the destructors of all that is loaded
}
