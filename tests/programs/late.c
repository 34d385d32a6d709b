/* A library whose destructor runs after ours, as those do that a program is linked with: it frees what it pinned, properly. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pintensor.h>
#include <unistd.h>

static pintensor_block small, large;
static pintensor_manager manager;
static int (*give)(pintensor_manager, void *);

static void say(const char *what, size_t n)
{
    (void)!write(1, what, n);
}

int late_begins(void)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    give = (int (*)(pintensor_manager, void *))dlsym(RTLD_DEFAULT, "pintensor_free");
    manager = create != NULL ? create() : 0;
    return create == NULL || alloc(manager, 1000, &small) != 0 || alloc(manager, 1 << 20, &large) != 0;
}

__attribute__((destructor)) static void ends(void)
{
    bool fine = give(manager, small.data) == 0 && give(manager, large.data) == 0;
    fine ? say("freed\n", 6) : say("refused\n", 8);
    if (give(manager, large.data) == 0) {
        say("twice\n", 6);
    }
}
