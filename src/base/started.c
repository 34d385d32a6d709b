#include "base/started.h"

#include "base/thread.h"

#include <unistd.h>

static int64_t loaded_ns;
static int loaded_by;

__attribute__((constructor)) static void remember(void)
{
    loaded_ns = pt_thread_now();
    loaded_by = (int)getpid();
}

int64_t pt_started_ns(void)
{
    return loaded_by == (int)getpid() ? loaded_ns : pt_thread_now();
}
