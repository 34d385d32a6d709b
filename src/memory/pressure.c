#include "memory/pressure.h"

#include "base/kept_file.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "base/wait.h"
#include "memory/pages.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KIB            1024u
#define FILE_NAME_MOST 40
#define LEVELS_MOST    16
#define NS_A_SECOND    INT64_C(1000000000)
#define LATE_NS        (5 * NS_A_SECOND / 2) /* the kernel sums up every 2 s */
#define AGAIN_NS       (10 * NS_A_SECOND)

/* How the two versions of cgroups call things. */
static const struct names {
    const char *line, *mount; /* what /proc/self/cgroup says before the path, and where that is */
    const char *most, *high, *used, *active_file, *inactive_file, *active, *inactive, *swap_most, *swap_used;
} versions[] = {{"0::", "/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "active_file", "inactive_file",
                 "active_anon", "inactive_anon", "memory.swap.max", "memory.swap.current"},
                {":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.soft_limit_none",
                 "memory.usage_in_bytes", "total_active_file", "total_inactive_file", "total_active_anon",
                 "total_inactive_anon", "memory.memsw.none", "memory.memsw.none"}};

/* The process's cgroup, or one that it lies in, which follows it. A limit may come while the program runs; what else is
 * asked of a level is opened when it has one. */
struct level {
    const struct names *names;
    size_t len; /* of its folder in state.folder */
    _Atomic bool whole;
    struct pt_kept most, high, used, stat, swap_most, swap_used;
};

/* Written by the one thread that sets up, but for `waited_ns`, when somebody last waited for room in vain (0: nobody
 * did), `unlooked`, and what `opening` says is being written: the rest of a level's files. */
static struct {
    struct pt_kept memory, zones;
    char folder[sizeof versions / sizeof versions[0]][1024];
    struct level level[LEVELS_MOST];
    unsigned levels;
    bool grows; /* memory is added to the machine as it is used */
    _Atomic bool opening;
    _Atomic int64_t waited_ns;
    _Atomic size_t unlooked; /* bytes of small requests since somebody looked */
} state;

/* ---- finding them ---- */

/* The rest of the line of /proc/self/cgroup in which `key` ends what comes before the path; false: there is none. */
static bool find_path(const char *key, struct pt_text *out)
{
    char buf[256];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    size_t matched = 0, len = strlen(key);
    enum { BEFORE, IN_PATH, IN_ANOTHER, DONE } at = BEFORE;
    while (fd >= 0 && at != DONE && (n = read(fd, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n && at != DONE; i++) {
            char one[2] = {buf[i], '\0'};
            if (one[0] == '\n') {
                at = at == IN_PATH ? DONE : BEFORE;
                matched = 0;
            } else if (at == IN_PATH) {
                pt_text_add(out, "%s", one);
            } else if (at == BEFORE && one[0] == '/') {
                at = IN_ANOTHER;
            } else if (at == BEFORE) {
                matched = one[0] == key[matched] ? matched + 1 : one[0] == key[0];
                at = matched == len ? IN_PATH : BEFORE;
            }
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return (at == IN_PATH || at == DONE) && out->len < out->cap - FILE_NAME_MOST;
}

static void keep(struct pt_kept *f, const struct level *l, const char *file)
{
    static char path[sizeof state.folder[0]]; /* small stacks; one thread at a time comes here */
    memcpy(path, state.folder[l->names - versions], l->len);
    path[l->len] = '/';
    strcpy(path + l->len + 1, file);
    pt_kept_file_open(f, path);
}

/* In version 1 no limit is a number beyond all memory. */
static bool is_limit(const struct pt_kept *f)
{
    uint64_t bytes;
    return pt_kept_file_number(f, "", &bytes) && bytes >> 60 == 0;
}

static void open_rest(struct level *l)
{
    if (!atomic_load(&l->whole)) {
        keep(&l->used, l, l->names->used);
        keep(&l->stat, l, "memory.stat");
        keep(&l->swap_most, l, l->names->swap_most);
        keep(&l->swap_used, l, l->names->swap_used);
        atomic_store(&l->whole, true);
    }
}

/* Whether the level has a limit, and with it all that is asked of it. For its file cache its process's own is asked
 * too. */
static bool is_limited(unsigned level)
{
    struct level *l = &state.level[level], *own = &state.level[0];
    if (!is_limit(&l->most) && !is_limit(&l->high)) {
        return false;
    }
    while (own->names != l->names) {
        own++;
    }
    if (!atomic_load(&l->whole) && pt_sandbox_may_open() && !atomic_exchange(&state.opening, true)) {
        open_rest(own);
        open_rest(l);
        atomic_store(&state.opening, false);
    }
    return atomic_load(&l->whole);
}

/* The root of a machine's cgroups has no such files. */
static void keep_level(const struct names *names, size_t len)
{
    struct level *l = &state.level[state.levels];
    *l = (struct level){.names = names, .len = len};
    keep(&l->most, l, names->most);
    keep(&l->high, l, names->high);
    state.levels += l->most.fd > 0 || l->high.fd > 0;
}

/* A limit may lie on any level, up to the root of what is mounted, which in a container is a cgroup like others. */
static void keep_levels(const struct names *names)
{
    char *folder = state.folder[names - versions];
    size_t mount = strlen(names->mount);
    struct pt_text t;
    pt_text_init(&t, folder, sizeof state.folder[0], -1);
    pt_text_add(&t, "%s", names->mount);
    if (!find_path(names->line, &t)) {
        return;
    }
    size_t len = strlen(folder);
    len -= folder[len - 1] == '/'; /* its path is "/" */
    while (len >= mount && state.levels < LEVELS_MOST) {
        keep_level(names, len);
        while (folder[--len] != '/') {
        }
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
    static bool done;                    /* a forked child inherits them */
    atomic_store(&state.opening, false); /* by a thread of the parent's */
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
    for (unsigned i = 0; i < state.levels; i++) {
        (void)is_limited(i);
    }
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

/* The kernel is behind with the sums over a level and those below it, by up to 2 s and any amount: it takes changes
 * below for counted that it has not passed on (memcg_rstat_updated). So what a level below has stands for it too. */
static uint64_t file_cache(unsigned level)
{
    uint64_t cache = 0;
    for (unsigned i = 0; i <= level; i++) {
        const struct level *l = &state.level[i];
        if (l->names == state.level[level].names && atomic_load(&l->whole)) {
            uint64_t its =
                number_of(&l->stat, l->names->active_file) + number_of(&l->stat, l->names->inactive_file) +
                number_of(&l->stat, "slab_reclaimable"); /* names and sizes of files; version 1 does not tell */
            cache = its > cache ? its : cache;
        }
    }
    return cache;
}

/* Bytes in use, without the file cache, which the kernel gives up by itself. */
static bool read_usage(unsigned level, uint64_t *used)
{
    const struct level *l = &state.level[level];
    if (!is_limited(level) || !pt_kept_file_number(&l->used, "", used)) {
        return false;
    }
    *used = less(*used, file_cache(level));
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
        if (read_usage(i, &used) && ((pt_kept_file_number(&l->most, "", &most) && short_of(used, most)) ||
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

static uint64_t room_of_level(unsigned level)
{
    const struct level *l = &state.level[level];
    uint64_t used, most, swap_most;
    if (!pt_kept_file_number(&l->most, "", &most) || most >> 60 != 0 || !read_usage(level, &used)) {
        return UINT64_MAX;
    }
    uint64_t swap = swappable(&l->stat, l->names->active, l->names->inactive, 1);
    if (pt_kept_file_number(&l->swap_most, "", &swap_most)) {
        swap = least(swap, less(swap_most, number_of(&l->swap_used, "")));
    }
    return less(most, used) + swap;
}

/* The first cgroup that has no room for it; state.levels: none. */
static unsigned full_level(size_t len)
{
    unsigned level = 0;
    while (level < state.levels && len <= room_of_level(level)) {
        level++;
    }
    return level;
}

static bool machine_has(size_t len)
{
    uint64_t room = room_of_machine();
    return len <= room || len <= room_at_most(room);
}

static bool has_room(size_t len)
{
    return pt_sandbox_entered() || (machine_has(len) && full_level(len) == state.levels);
}

bool pt_pressure_room(size_t len)
{
    return len < PT_PRESSURE_LOOK || has_room(len);
}

/* Small requests are worth a look together, and each one of its own where memory has nearly run out. */
static bool is_worth_a_look(size_t len)
{
    if (len >= PT_PRESSURE_LOOK) {
        return true;
    }
    if (atomic_fetch_add(&state.unlooked, len) + len < PT_PRESSURE_LOOK) {
        return false;
    }
    bool nearly = !has_room(PT_PRESSURE_LOOK);
    atomic_store(&state.unlooked, nearly ? PT_PRESSURE_LOOK : 0);
    return nearly;
}

/* Only a cgroup's numbers come late, and only what it could ever have is worth the wait. A job that asks for less and
 * less until it gets some waits once. */
static bool may_be_late(size_t len)
{
    int64_t before = atomic_load(&state.waited_ns);
    return machine_has(len) && len <= pt_pressure_total() + number_of(&state.memory, "SwapFree") * KIB &&
           (before == 0 || pt_thread_now() - before > AGAIN_NS);
}

bool pt_pressure_await_room(size_t len)
{
    if (!is_worth_a_look(len) || has_room(len)) {
        return true;
    }
    if (!may_be_late(len)) {
        return false;
    }
    bool room = false;
    for (struct pt_patience patience = pt_patience_for(LATE_NS); !room && pt_patience_pause(&patience, 10000000);) {
        room = has_room(len);
    }
    if (!room) {
        atomic_store(&state.waited_ns, pt_thread_now());
    }
    return room;
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
    unsigned full = full_level(len);
    if (full < state.levels) {
        pt_text_add(
            out,
            "its cgroup may have %B, of which %B are free, file cache included. Give it more: `docker run --memory`, "
            "`MemoryMax=` in a systemd unit, `#SBATCH --mem` for Slurm",
            (size_t)number_of(&state.level[full].most, ""), (size_t)room_of_level(full));
    } else {
        pt_text_add(out, "the machine has %B of memory, of which %B are available. Ask for less, or end what holds it",
                    (size_t)number_of(&state.memory, "MemTotal") * KIB,
                    (size_t)number_of(&state.memory, "MemAvailable") * KIB);
    }
}
