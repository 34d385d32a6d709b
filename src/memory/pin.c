#include "memory/pin.h"

#include "base/sandbox.h"
#include "device/driver.h"
#include "memory/limit.h"
#include "memory/pages.h"
#include "memory/prefault.h"
#include "memory/pressure.h"
#include "memory/windows.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Populating more than that takes too long to hear afterwards that the driver registers nothing. */
#define ASK_FIRST ((size_t)256 << 20)

static _Atomic size_t locked;
static __thread int last_error;

void pt_pin_reset(void)
{
    atomic_store(&locked, 0);
}

/* What an administrator allowed may be used without asking: `ulimit -l` below the hard limit is a default,
 * not a decision. */
static bool raise_soft_limit(void)
{
    struct rlimit limit;
    if (pt_sandbox_entered() || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == limit.rlim_max) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

/* The limits are checked before a large range is touched, which takes long. */
static int lock(void *p, size_t len)
{
    if (len >= PT_PREFAULT_LEAST && pt_pages_claim(p, len) == 0) {
        pt_prefault(p, len);
    }
    return pt_pages_lock(p, len);
}

int pt_pin_acquire(void *p, size_t len)
{
    int error = pt_limit_take(len);
    if (error != 0) {
        last_error = -error;
        return error;
    }
    error = lock(p, len);
    if ((error == -ENOMEM || error == -EPERM) && raise_soft_limit()) {
        error = lock(p, len);
    }
    last_error = -error;
    if (error == 0) {
        atomic_fetch_add(&locked, len);
    } else {
        pt_limit_give(len);
    }
    return error;
}

bool pt_pin_release(void *p, size_t len)
{
    bool unlocked = pt_pages_unlock(p, len) == 0;
    if (unlocked) {
        atomic_fetch_sub(&locked, len);
        pt_limit_give(len);
    }
    return unlocked;
}

int pt_pin_register(void *p, size_t len)
{
    if (!pt_driver_registers() || (len >= ASK_FIRST && !pt_driver_takes_a_page())) {
        return -ENODEV;
    }
    int error = pt_limit_take(len);
    last_error = -error;
    if (error != 0) {
        return error;
    }
    pt_prefault(p, len);
    error = pt_driver_register(p, len);
    if (error == 0) {
        atomic_fetch_add(&locked, len);
    } else {
        pt_pages_discard(p, len);
        pt_limit_give(len);
    }
    return error;
}

void pt_pin_unregister(void *p, size_t len)
{
    if (len > 0) {
        pt_driver_unregister(p, len);
        pt_pages_discard(p, len);
        atomic_fetch_sub(&locked, len);
        pt_limit_give(len);
    }
}

int pt_pin_convert(void *p, size_t len)
{
    int error = pt_driver_register(p, len);
    if (error == 0) {
        pt_pages_unlock_keep(p, len);
    }
    return error;
}

size_t pt_pin_bytes(void)
{
    return atomic_load(&locked);
}

int pt_pin_error(void)
{
    return last_error;
}

static size_t count_mappings(void)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    char buf[1024];
    size_t lines = 0;
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        for (const char *at = buf; (at = memchr(at, '\n', (size_t)(buf + n - at))) != NULL; at++) {
            lines++;
        }
    }
    close(fd);
    return lines;
}

static bool may_lock_without_limit(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, caps) == 0 && (caps[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

void pt_pin_explain(size_t len, int error, struct pt_text *out)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit space = {RLIM_INFINITY, RLIM_INFINITY};
    uint64_t locked_kib = 0, mapped_kib = 0, most_mappings = 65530;
    size_t mappings = 0;
    if (!pt_sandbox_entered()) {
        (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        (void)getrlimit(RLIMIT_AS, &space);
    }
    if (pt_sandbox_may_open()) {
        (void)pt_text_proc_number("/proc/self/status", "VmLck", &locked_kib);
        (void)pt_text_proc_number("/proc/self/status", "VmSize", &mapped_kib);
        (void)pt_text_proc_number("/proc/sys/vm/max_map_count", "", &most_mappings);
        mappings = count_mappings();
    }
    const struct pt_range *range = pt_windows_range();
    int refused = pt_driver_error();
    size_t locked_now = (size_t)locked_kib << 10;

    if (error == EDQUOT) {
        pt_text_add(out, "cannot lock %B more memory: ", len);
        pt_limit_explain(len, out);
        return;
    }
    pt_text_add(out, "cannot lock %B more memory (%B locked now): ", len, locked_now);
    if (refused != 0 && error != ENOSPC && error != ENOBUFS) {
        pt_text_add(out, "the device's driver would not register it (its error %d), and ", refused);
    }
    if (error == ENOSPC) {
        pt_pressure_explain(len, out);
    } else if (error == ENOBUFS) {
        pt_text_add(out, "it is more than is left of the %B of addresses that are kept for pinned memory",
                    range->size - range->small);
    } else if (limit.rlim_cur != RLIM_INFINITY && locked_now + len > limit.rlim_cur && !may_lock_without_limit()) {
        pt_text_add(out,
                    "the memlock limit is %B. Raise it: `ulimit -l unlimited` in the shell, "
                    "`docker run --ulimit memlock=-1`, `LimitMEMLOCK=infinity` in a systemd unit, or for Slurm "
                    "`PropagateResourceLimitsExcept=MEMLOCK` with LimitMEMLOCK=infinity for slurmd",
                    (size_t)limit.rlim_cur);
    } else if (mappings + 2 >= most_mappings) {
        pt_text_add(out,
                    "the process has %zu memory mappings of at most %llu. Raise it: `sysctl -w "
                    "vm.max_map_count=1048576` (on the host, also for Docker, systemd and Slurm)",
                    mappings, most_mappings);
    } else if (space.rlim_cur != RLIM_INFINITY &&
               ((size_t)mapped_kib << 10) + pt_pages_up(len, PT_HUGE) > space.rlim_cur) {
        pt_text_add(out,
                    "the address-space limit is %B. Raise it: `ulimit -v unlimited` in the shell, "
                    "`docker run --ulimit as=-1`, `LimitAS=infinity` in a systemd unit, or `#SBATCH --mem` "
                    "with VSizeFactor=0 for Slurm",
                    (size_t)space.rlim_cur);
    } else if (error == EPERM) {
        pt_text_add(out, "the kernel does not permit it. Allow it: `ulimit -l unlimited` in the shell, "
                         "`docker run --cap-add IPC_LOCK --ulimit memlock=-1`, `LimitMEMLOCK=infinity` in a "
                         "systemd unit or for slurmd");
    } else {
        pt_text_add(out,
                    "the machine or its cgroup has too little free memory (errno %d). Give it more: "
                    "`docker run --memory`, `MemoryMax=` in a systemd unit, `#SBATCH --mem` for Slurm",
                    error);
    }
}
