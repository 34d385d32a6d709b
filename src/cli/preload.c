#include "cli/preload.h"

#include "base/text.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool pt_preload_find(char path[PATH_MAX])
{
    static const char *const places[] = {"%s/../lib/" PT_PRELOAD, "%s/.libs/" PT_PRELOAD, "%s/" PT_PRELOAD};
    char self[PATH_MAX], candidate[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    const char *directory = dirname(self);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct pt_text t;
        pt_text_init(&t, candidate, sizeof candidate, -1);
        pt_text_add(&t, places[i], directory);
        if (realpath(candidate, path) != NULL) {
            return true;
        }
    }
    return realpath(PINTENSOR_LIBDIR "/" PT_PRELOAD, path) != NULL;
}

bool pt_preload_can_be_named(const char *path)
{
    return strpbrk(path, " :") == NULL;
}
