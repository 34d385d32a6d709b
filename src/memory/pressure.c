#include "memory/pressure.h"

#include "base/kept_file.h"
#include "base/sandbox.h"
#include "base/thread.h"
#include "base/wait.h"
#include "memory/cgroup.h"
#include "memory/pages.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KIB         1024u
#define NS_A_SECOND INT64_C(1000000000)
#define LATE_NS     (5 * NS_A_SECOND / 2) /* the kernel sums up every 2 s */
#define AGAIN_NS    (10 * NS_A_SECOND)

/* Written by the one thread that sets up, but for `waited_ns`, when somebody last waited for room in vain (0: nobody
 * did), and `unlooked`. */
static struct {
    struct pt_kept memory, zones;
    bool grows; /* memory is added to the machine as it is used */
    _Atomic int64_t waited_ns;
    _Atomic size_t unlooked; /* bytes of small requests since somebody looked */
} state;

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
        pt_cgroup_init_child();
        return;
    }
    done = true;
    if (!pt_sandbox_may_open()) {
        return;
    }
    pt_kept_file_open(&state.memory, "/proc/meminfo");
    pt_kept_file_open(&state.zones, "/proc/zoneinfo");
    state.grows = may_grow();
    pt_cgroup_init();
}

/* ---- asking them ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
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
    for (unsigned i = 0; i < pt_cgroup_levels(); i++) {
        if (pt_cgroup_used(i, &used) && ((pt_cgroup_limit(i, &most) && short_of(used, most)) ||
                                         (pt_cgroup_throttle(i, &most) && short_of(used, most)))) {
            return true;
        }
    }
    return false;
}

/* ---- room ---- */

/* What others have may be swapped out to make room. */
static uint64_t free_swap(void)
{
    return pt_kept_file_number_or_0(&state.memory, "SwapFree") * KIB;
}

/* The most that can be locked on this machine; UINT64_MAX: nobody knows. */
static uint64_t room_of_machine(void)
{
    uint64_t available;
    if (state.grows || !pt_kept_file_number(&state.memory, "MemAvailable", &available)) {
        return UINT64_MAX;
    }
    uint64_t swap = free_swap();
    if (swap > 0) {
        swap = least(swap, (pt_kept_file_number_or_0(&state.memory, "Active(anon)") +
                            pt_kept_file_number_or_0(&state.memory, "Inactive(anon)")) *
                               KIB);
    }
    return available * KIB + swap;
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
    uint64_t used, most, own_swap;
    if (!pt_cgroup_limit(level, &most) || !pt_cgroup_used(level, &used)) {
        return UINT64_MAX;
    }
    uint64_t swap = free_swap();
    if (swap > 0) {
        swap = least(swap, pt_cgroup_anonymous(level));
    }
    if (pt_cgroup_swap(level, &own_swap)) {
        swap = least(swap, own_swap);
    }
    return less(most, used) + swap;
}

/* The first cgroup that has no room for it; pt_cgroup_levels(): none. */
static unsigned full_level(size_t len)
{
    unsigned level = 0;
    while (level < pt_cgroup_levels() && len <= room_of_level(level)) {
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
    return pt_sandbox_entered() || (machine_has(len) && full_level(len) == pt_cgroup_levels());
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
    return machine_has(len) && len <= pt_pressure_total() + free_swap() &&
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
    uint64_t all = pt_kept_file_number_or_0(&state.memory, "MemTotal") * KIB, most;
    for (unsigned i = 0; i < pt_cgroup_levels(); i++) {
        if (pt_cgroup_limit(i, &most)) {
            all = all == 0 ? most : least(all, most);
        }
    }
    return all;
}

void pt_pressure_explain(size_t len, struct pt_text *out)
{
    unsigned full = full_level(len);
    uint64_t most;
    if (full < pt_cgroup_levels() && pt_cgroup_limit(full, &most)) {
        pt_text_add(
            out,
            "its cgroup may have %B, of which %B are free, file cache included. Give it more: `docker run --memory`, "
            "`MemoryMax=` in a systemd unit, `#SBATCH --mem` for Slurm",
            (size_t)most, (size_t)room_of_level(full));
    } else {
        pt_text_add(out, "the machine has %B of memory, of which %B are available. Ask for less, or end what holds it",
                    (size_t)pt_kept_file_number_or_0(&state.memory, "MemTotal") * KIB,
                    (size_t)pt_kept_file_number_or_0(&state.memory, "MemAvailable") * KIB);
    }
}
