#include "pressure.h"

#include "text.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool short_of(uint64_t used, uint64_t most)
{
    return used > most - most / 20;
}

/* This process's cgroup (v2) as a folder below /sys/fs/cgroup; false when there is none. */
static bool cgroup_folder(struct pt_text *out)
{
    char buf[4096];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf - 1) : 0;
    if (fd >= 0) {
        close(fd);
    }
    buf[n > 0 ? n : 0] = '\0';
    const char *path = strstr(buf, "0::/");
    if (path == NULL) {
        return false;
    }
    path += strlen("0::");
    buf[strcspn(path, "\n") + (size_t)(path - buf)] = '\0';
    pt_text_add(out, "/sys/fs/cgroup%s", path);
    return true;
}

static bool read_limit(const char *folder, const char *file, uint64_t *out)
{
    char path[4200];
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_text_add(&t, "%s/%s", folder, file);
    return pt_text_proc_number(path, "", out) == 0; /* "max" is no number: no limit */
}

static bool cgroup_short(void)
{
    char folder[4096];
    struct pt_text t;
    uint64_t used, most;
    pt_text_init(&t, folder, sizeof folder, -1);
    if (!cgroup_folder(&t)) {
        return false;
    }
    /* A limit may lie on any level above. */
    while (strlen(folder) > strlen("/sys/fs/cgroup")) {
        if (read_limit(folder, "memory.current", &used) &&
            ((read_limit(folder, "memory.max", &most) && short_of(used, most)) ||
             (read_limit(folder, "memory.high", &most) && short_of(used, most)))) {
            return true;
        }
        *strrchr(folder, '/') = '\0';
    }
    return false;
}

bool pt_pressure_high(void)
{
    uint64_t total, available;
    if (pt_text_proc_number("/proc/meminfo", "MemTotal", &total) == 0 &&
        pt_text_proc_number("/proc/meminfo", "MemAvailable", &available) == 0 &&
        short_of(total - available, total)) {
        return true;
    }
    return cgroup_short();
}
