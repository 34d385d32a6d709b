/* pintensor.h's alloc and free on nothing but jemalloc: an arena whose segments are mapped and locked by its hook, and
 * that never gives memory back. What a cycle costs at least. */
#include "pintensor.h"

#include <jemalloc/jemalloc.h>
#include <sys/mman.h>

static void *map(extent_hooks_t *h, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned arena)
{
    (void)h, (void)arena;
    size_t all = size + align;
    char *p = at != NULL ? MAP_FAILED : mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    p += -(uintptr_t)p & (align - 1);
    *zero = *commit = true;
    return mlock(p, size) == 0 ? p : NULL;
}

static extent_hooks_t hooks = {.alloc = map};
static int flags;

static void make_arena(void)
{
    unsigned arena;
    size_t len = sizeof arena;
    extent_hooks_t *h = &hooks;
    mallctl("arenas.create", &arena, &len, &h, sizeof h);
    size_t mib[3], mib_len = 3;
    mallctlnametomib("arena.0.dirty_decay_ms", mib, &mib_len);
    mib[1] = arena;
    ssize_t never = -1;
    mallctlbymib(mib, mib_len, NULL, NULL, &never, sizeof never);
    flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
}

int pintensor_alloc(pintensor_manager manager, size_t bytes, pintensor_block *block)
{
    (void)manager;
    if (flags == 0) {
        make_arena();
    }
    block->data = mallocx(bytes, flags);
    return block->data != NULL ? 0 : -1;
}

int pintensor_free(pintensor_manager manager, void *data)
{
    (void)manager;
    dallocx(data, flags);
    return 0;
}

pintensor_manager pintensor_manager_create(void)
{
    return 1;
}

const char *pintensor_last_error(void)
{
    return "jemalloc could not";
}
