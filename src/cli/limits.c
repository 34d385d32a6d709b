#include "cli/limits.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* How the versions of cgroups call things; the last is version 2 beside version 1. */
static const struct names {
    const char *line, *mount; /* what /proc/self/cgroup says before the path, and where that is */
    const char *most, *used, *active, *inactive;
} versions[] = {{"0::", "/sys/fs/cgroup", "memory.max", "memory.current", "active_file", "inactive_file"},
                {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                 "total_active_file", "total_inactive_file"},
                {"0::", "/sys/fs/cgroup/unified", "memory.max", "memory.current", "active_file", "inactive_file"}};

static uint64_t kib_of(const char *key)
{
    uint64_t kib = 0;
    (void)pt_text_proc_number("/proc/meminfo", key, &kib);
    return kib << 10;
}

uint64_t pt_limits_available(void)
{
    return kib_of("MemAvailable");
}

uint64_t pt_limits_total(void)
{
    return kib_of("MemTotal");
}

bool pt_limits_line(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    bool got = f != NULL && fgets(out, (int)cap, f) != NULL;
    if (f != NULL) {
        fclose(f);
    }
    out[got ? strcspn(out, "\n") : 0] = '\0';
    return got;
}

static bool find_path(const char *key, char *out, size_t cap)
{
    char line[1024];
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, key);
        found = at != NULL && (key[0] == ':' || at == line) &&
                snprintf(out, cap, "%.*s", (int)strcspn(at + strlen(key), "\n"), at + strlen(key)) < (int)cap;
    }
    if (f != NULL) {
        fclose(f);
    }
    return found;
}

/* No number, "max", is no limit, and in version 1 neither is one beyond all memory. */
static uint64_t number_in(const char *folder, const char *file, const char *key, uint64_t none)
{
    char path[1200];
    uint64_t n;
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path ||
        pt_text_proc_number(path, key, &n) != 0 || n >> 60 != 0) {
        return none;
    }
    return n;
}

static void look_at(const struct names *names, const char *folder, struct pt_limits_cgroup *out)
{
    uint64_t limit = number_in(folder, names->most, "", UINT64_MAX), used = number_in(folder, names->used, "", 0);
    uint64_t cache =
        number_in(folder, "memory.stat", names->active, 0) + number_in(folder, "memory.stat", names->inactive, 0);
    uint64_t high = number_in(folder, "memory.high", "", UINT64_MAX);
    used = used > cache ? used - cache : 0;
    out->high = high < out->high ? high : out->high;
    if (limit != UINT64_MAX && (limit > used ? limit - used : 0) < out->room) {
        (void)snprintf(out->folder, sizeof out->folder, "%s", folder);
        out->file = names->most;
        out->limit = limit;
        out->room = limit > used ? limit - used : 0;
    }
}

/* Up to the root of what is mounted, which in a container is a cgroup like others. */
bool pt_limits_cgroup(struct pt_limits_cgroup *out)
{
    *out = (struct pt_limits_cgroup){.limit = UINT64_MAX, .room = UINT64_MAX, .high = UINT64_MAX};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        char path[700], folder[1024];
        if (!find_path(versions[i].line, path, sizeof path)) {
            continue;
        }
        (void)snprintf(folder, sizeof folder, "%s%s", versions[i].mount, path);
        while (strlen(folder) >= strlen(versions[i].mount)) {
            look_at(&versions[i], folder, out);
            *strrchr(folder, '/') = '\0';
        }
    }
    return out->limit != UINT64_MAX;
}
