#include "memory/pressure.h"

#include "base/sandbox.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME_MOST 32

static bool short_of(uint64_t used, uint64_t most)
{
    return used > most - most / 20;
}

/* This process's cgroup (v2) as a folder below /sys/fs/cgroup; false when there is none, or it is nested absurdly deep. */
static bool cgroup_folder(struct pt_text *out)
{
    static const char prefix[] = "0::"; /* the line that is wanted */
    char buf[256];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    size_t matched = 0;
    enum { AT_PREFIX, ELSEWHERE, IN_PATH, DONE } at = AT_PREFIX;
    pt_text_add(out, "/sys/fs/cgroup");
    while (fd >= 0 && at != DONE && (n = read(fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n && at != DONE; i++) {
            char one[2] = {buf[i], '\0'};
            if (at == IN_PATH && one[0] != '\n') {
                pt_text_add(out, "%s", one);
            } else if (one[0] == '\n') {
                at = at == IN_PATH ? DONE : AT_PREFIX;
                matched = 0;
            } else if (at == AT_PREFIX && one[0] == prefix[matched]) {
                at = prefix[++matched] == '\0' ? IN_PATH : AT_PREFIX;
            } else {
                at = ELSEWHERE;
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return at == DONE && out->len < out->cap - FILE_NAME_MOST;
}

/* The file's name stands behind the folder's for as long as it is read. */
static bool read_number(char *folder, const char *file, const char *key, uint64_t *out)
{
    size_t len = strlen(folder);
    folder[len] = '/';
    strcpy(folder + len + 1, file);
    bool read = pt_text_proc_number(folder, key, out) == 0; /* "max" is no number: no limit */
    folder[len] = '\0';
    return read;
}

/* Without the page cache, which the kernel gives up by itself. */
static bool read_usage(char *folder, uint64_t *used)
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
    char folder[1024];
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
    if (!pt_sandbox_may_open()) {
        return false;
    }
    if (pt_text_proc_number("/proc/meminfo", "MemTotal", &total) == 0 &&
        pt_text_proc_number("/proc/meminfo", "MemAvailable", &available) == 0 &&
        short_of(total - available, total)) {
        return true;
    }
    return cgroup_short();
}
