#include "memory/pressure.h"

#include "base/text.h"

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

static bool read_number(const char *folder, const char *file, const char *key, uint64_t *out)
{
    char path[4200];
    struct pt_text t;
    pt_text_init(&t, path, sizeof path, -1);
    pt_text_add(&t, "%s/%s", folder, file);
    return pt_text_proc_number(path, key, out) == 0; /* "max" is no number: no limit */
}

/* Without the page cache, which the kernel gives up by itself. */
static bool read_usage(const char *folder, uint64_t *used)
{
    uint64_t active = 0, inactive = 0;
    if (!read_number(folder, "memory.current", "", used)) {
        return false;
    }
    (void)read_number(folder, "memory.stat", "active_file", &active);
    (void)read_number(folder, "memory.stat", "inactive_file", &inactive);
    uint64_t cache = active + inactive;
    *used = *used > cache ? *used - cache : 0;
    return true;
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
        if (read_usage(folder, &used) &&
            ((read_number(folder, "memory.max", "", &most) && short_of(used, most)) ||
             (read_number(folder, "memory.high", "", &most) && short_of(used, most)))) {
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
