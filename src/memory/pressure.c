#include "memory/pressure.h"

#include "base/kept_file.h"
#include "base/sandbox.h"
#include "memory/pages.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KIB            1024u
#define FILE_NAME_MOST 40
#define LEVELS_MOST    8

/* How the two versions of cgroups call things. */
static const struct names {
    const char *line, *mount; /* what /proc/self/cgroup says before the path, and where that is */
    const char *most, *high, *used, *active_file, *inactive_file, *active, *inactive, *swap_most, *swap_used;
} versions[] = {{"0::", "/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "active_file", "inactive_file",
                 "active_anon", "inactive_anon", "memory.swap.max", "memory.swap.current"},
                {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.soft_limit_none",
                 "memory.usage_in_bytes", "total_active_file", "total_inactive_file", "total_active_anon",
                 "total_inactive_anon", "memory.memsw.none", "memory.memsw.none"}};

/* A cgroup with a limit. */
struct level {
    const struct names *names;
    struct pt_kept most, high, used, stat, swap_most, swap_used;
};

/* Written once. */
static struct {
    struct pt_kept memory, zones;
    struct level level[LEVELS_MOST];
    unsigned levels;
    bool grows; /* memory is added to the machine as it is used */
} state;

/* ---- finding them ---- */

/* The rest of the line of /proc/self/cgroup in which `key` ends what comes before the path; false: there is none. */
static bool find_path(const char *key, struct pt_text *out)
{
    char buf[256];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    size_t matched = 0, len = strlen(key);
    enum { BEFORE, IN_PATH, DONE } at = BEFORE;
    while (fd >= 0 && at != DONE && (n = read(fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n && at != DONE; i++) {
            char one[2] = {buf[i], '\0'};
            if (at == IN_PATH && one[0] != '\n') {
                pt_text_add(out, "%s", one);
            } else if (at == IN_PATH) {
                at = DONE;
            } else {
                matched = one[0] == key[matched] ? matched + 1 : one[0] == key[0];
                at = matched == len ? IN_PATH : BEFORE;
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return at != BEFORE && out->len < out->cap - FILE_NAME_MOST;
}

/* The file's name stands behind the folder's for as long as it is opened. */
static void keep(struct pt_kept *f, char *folder, const char *file)
{
    size_t len = strlen(folder);
    folder[len] = '/';
    strcpy(folder + len + 1, file);
    pt_kept_file_open(f, folder);
    folder[len] = '\0';
}

/* One with a limit is kept. In version 1 none is a number beyond all memory. */
static void keep_level(const struct names *names, char *folder)
{
    struct level l = {.names = names};
    uint64_t bytes;
    keep(&l.most, folder, names->most);
    keep(&l.high, folder, names->high);
    bool limited = (pt_kept_file_number(&l.most, "", &bytes) && bytes >> 60 == 0) ||
                   (pt_kept_file_number(&l.high, "", &bytes) && bytes >> 60 == 0);
    if (!limited || state.levels == LEVELS_MOST) {
        pt_kept_close(&l.most);
        pt_kept_close(&l.high);
        return;
    }
    keep(&l.used, folder, names->used);
    keep(&l.stat, folder, "memory.stat");
    keep(&l.swap_most, folder, names->swap_most);
    keep(&l.swap_used, folder, names->swap_used);
    state.level[state.levels++] = l;
}

/* A limit may lie on any level, up to the root of what is mounted, which in a container is a cgroup like others. */
static void keep_levels(const struct names *names)
{
    static char folder[1024]; /* one thread sets up, and its stack may be small */
    struct pt_text t;
    pt_text_init(&t, folder, sizeof folder, -1);
    pt_text_add(&t, "%s", names->mount);
    if (!find_path(names->line, &t)) {
        return;
    }
    while (strlen(folder) >= strlen(names->mount)) {
        keep_level(names, folder);
        *strrchr(folder, '/') = '\0';
    }
}

/* Whether the driver has a device, which is named so. */
static bool has_virtio_mem(void)
{
    static const char name[] = "virtio";
    char names[512];
    int fd = open("/sys/bus/virtio/drivers/virtio_mem", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long n = fd >= 0 ? syscall(SYS_getdents64, fd, names, sizeof names) : 0;
    if (fd >= 0) {
        close(fd);
    }
    return n > 0 && memmem(names, (size_t)n, name, sizeof name - 1) != NULL;
}

static bool may_grow(void)
{
    return has_virtio_mem() || access("/sys/bus/vmbus/drivers/hv_balloon", F_OK) == 0 ||
           access("/sys/devices/system/xen_memory", F_OK) == 0 || access("/sys/module/vmw_balloon", F_OK) == 0;
}

void pt_pressure_init(void)
{
    static bool done; /* a forked child inherits them */
    if (done) {
        return;
    }
    done = true;
    if (!pt_sandbox_may_open()) {
        return;
    }
    pt_kept_file_open(&state.memory, "/proc/meminfo");
    pt_kept_file_open(&state.zones, "/proc/zoneinfo");
    state.grows = may_grow();
    keep_levels(&versions[0]);
    keep_levels(&versions[1]);
}

/* ---- asking them ---- */

static uint64_t number_of(const struct pt_kept *f, const char *key)
{
    uint64_t n = 0;
    (void)pt_kept_file_number(f, key, &n);
    return n;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Bytes in use, without the page cache, which the kernel gives up by itself. */
static bool read_usage(const struct level *l, uint64_t *used)
{
    if (!pt_kept_file_number(&l->used, "", used)) {
        return false;
    }
    *used = less(*used, number_of(&l->stat, l->names->active_file) + number_of(&l->stat, l->names->inactive_file));
    return true;
}

static bool short_of(uint64_t used, uint64_t most)
{
    return used > most - most / 20;
}

bool pt_pressure_high(void)
{
    uint64_t total, available, used, most;
    if (pt_sandbox_entered()) {
        return false;
    }
    if (pt_kept_file_number(&state.memory, "MemTotal", &total) &&
        pt_kept_file_number(&state.memory, "MemAvailable", &available) && short_of(less(total, available), total)) {
        return true;
    }
    for (unsigned i = 0; i < state.levels; i++) {
        const struct level *l = &state.level[i];
        if (read_usage(l, &used) && ((pt_kept_file_number(&l->most, "", &most) && short_of(used, most)) ||
                                     (pt_kept_file_number(&l->high, "", &most) && short_of(used, most)))) {
            return true;
        }
    }
    return false;
}

/* ---- room ---- */

/* What others have and may be swapped out to make room. */
static uint64_t swappable(const struct pt_kept *f, const char *active, const char *inactive, uint64_t unit)
{
    uint64_t swap = number_of(&state.memory, "SwapFree") * KIB;
    return swap > 0 ? least(swap, (number_of(f, active) + number_of(f, inactive)) * unit) : 0;
}

/* The most that can be locked on this machine; UINT64_MAX: nobody knows. */
static uint64_t room_of_machine(void)
{
    uint64_t available;
    if (state.grows || !pt_kept_file_number(&state.memory, "MemAvailable", &available)) {
        return UINT64_MAX;
    }
    return available * KIB + swappable(&state.memory, "Active(anon)", "Inactive(anon)", KIB);
}

/* A balloon may give back what it holds, and some kernels take memory into use only as it is needed: what is there and
 * not managed. But never more than there is. */
static uint64_t room_at_most(uint64_t room)
{
    uint64_t present, managed;
    if (!pt_kept_file_sum(&state.zones, "present", &present) || !pt_kept_file_sum(&state.zones, "managed", &managed)) {
        return UINT64_MAX;
    }
    return least(room + less(present, managed) * PT_PAGE, present * PT_PAGE);
}

static uint64_t room_of_level(const struct level *l)
{
    uint64_t used, most, swap_most;
    if (!pt_kept_file_number(&l->most, "", &most) || most >> 60 != 0 || !read_usage(l, &used)) {
        return UINT64_MAX;
    }
    uint64_t swap = swappable(&l->stat, l->names->active, l->names->inactive, 1);
    if (pt_kept_file_number(&l->swap_most, "", &swap_most)) {
        swap = least(swap, less(swap_most, number_of(&l->swap_used, "")));
    }
    return less(most, used) + swap;
}

/* The cgroup that has no room for it, or NULL. */
static const struct level *full_level(size_t len)
{
    for (unsigned i = 0; i < state.levels; i++) {
        if (len > room_of_level(&state.level[i])) {
            return &state.level[i];
        }
    }
    return NULL;
}

static bool machine_has(size_t len)
{
    uint64_t room = room_of_machine();
    return len <= room || len <= room_at_most(room);
}

bool pt_pressure_room(size_t len)
{
    return len < PT_PRESSURE_LOOK || pt_sandbox_entered() || (machine_has(len) && full_level(len) == NULL);
}

/* File pages that the kernel is about to move stand in no list of their cgroup for as long, and pass for used. */
bool pt_pressure_await_room(size_t len)
{
    for (int looks = 0; looks < 3; looks++) {
        if (pt_pressure_room(len)) {
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return pt_pressure_room(len);
}

uint64_t pt_pressure_total(void)
{
    uint64_t all = number_of(&state.memory, "MemTotal") * KIB, most;
    for (unsigned i = 0; i < state.levels; i++) {
        if (pt_kept_file_number(&state.level[i].most, "", &most) && most >> 60 == 0) {
            all = all == 0 ? most : least(all, most);
        }
    }
    return all;
}

void pt_pressure_explain(size_t len, struct pt_text *out)
{
    const struct level *l = full_level(len);
    if (l != NULL) {
        pt_text_add(
            out,
            "its cgroup may have %B, of which %B are free, file cache included. Give it more: `docker run --memory`, "
            "`MemoryMax=` in a systemd unit, `#SBATCH --mem` for Slurm",
            (size_t)number_of(&l->most, ""), (size_t)room_of_level(l));
    } else {
        pt_text_add(out, "the machine has %B of memory, of which %B are available. Ask for less, or end what holds it",
                    (size_t)number_of(&state.memory, "MemTotal") * KIB,
                    (size_t)number_of(&state.memory, "MemAvailable") * KIB);
    }
}
