#include "base/sandbox.h"

#include "base/kept.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

static struct pt_kept status;
static pid_t whose;
static bool had;
static uint64_t filters; /* when it began */
static _Atomic bool entered;

/* Before Linux 5.9 it is told whether there are any. */
static bool count(uint64_t *out)
{
    int fd = pt_kept_fd(&status);
    return fd >= 0 &&
           (pt_text_find_number(fd, "Seccomp_filters", out) == 0 || pt_text_find_number(fd, "Seccomp", out) == 0);
}

__attribute__((constructor)) static void begin(void)
{
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    whose = getpid();
    had = fd >= 0 && pt_kept_take(&status, fd) && count(&filters);
}

void pt_sandbox_init(void)
{
    if (whose != getpid()) {
        pt_kept_close(&status);
        atomic_store(&entered, false);
        begin();
    }
}

/* Such a filter is there for good. */
static bool look(bool *known)
{
    uint64_t now;
    if (atomic_load_explicit(&entered, memory_order_relaxed)) {
        *known = true;
        return true;
    }
    *known = count(&now);
    if (*known && now > filters) {
        atomic_store(&entered, true);
    }
    return *known && now > filters;
}

bool pt_sandbox_entered(void)
{
    bool known;
    return look(&known);
}

bool pt_sandbox_may_open(void)
{
    bool known, is = look(&known);
    return (known || !had) && !is;
}
