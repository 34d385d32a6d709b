#include "base/own_status.h"

#include "base/kept.h"
#include "base/text.h"

#include <fcntl.h>
#include <unistd.h>

/* Written by the constructor, and in a forked child before its first block, while no other thread of it is in here. */
static struct pt_kept file;
static pid_t whose; /* 0: nobody's yet */
static bool had;

bool pt_own_status_init(void)
{
    if (whose == getpid()) {
        return false;
    }
    pt_kept_close(&file);
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    whose = getpid();
    had = fd >= 0 && pt_kept_take(&file, fd);
    return true;
}

bool pt_own_status_inherited(void)
{
    return whose != 0 && whose != getpid();
}

void pt_own_status_forget(void)
{
    pt_kept_close(&file);
    whose = getpid();
}

bool pt_own_status_had(void)
{
    return had;
}

bool pt_own_status_number(const char *key, uint64_t *out)
{
    int fd = pt_kept_fd(&file);
    return fd >= 0 && pt_text_find_number(fd, key, out) == 0;
}
