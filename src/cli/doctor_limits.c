/* What a process may do: limits, the capability, the filters of its sandbox. */
#include "cli/doctor.h"

#include "cli/limits.h"
#include "cli/tries.h"
#include "memory/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIED ((size_t)1 << 20)

enum { PATIENCE_S = 10, USUAL_MAPPINGS = 65530 };

static bool may_lock_without_limit(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, caps) == 0 && (caps[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

static void add_limit(struct pt_text *t, rlim_t limit)
{
    if (limit == RLIM_INFINITY) {
        pt_text_add(t, "unlimited");
    } else {
        pt_text_add(t, "%B", (size_t)limit);
    }
}

/* The library takes the hard limit by itself. A limit below half of what is free stops what a machine is bought for;
 * above that it is somebody's decision. */
enum pt_doctor_state pt_doctor_memlock(struct pt_doctor_finding *f)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        pt_text_add(&f->words, "cannot be asked for");
        return PT_DOCTOR_NOTE;
    }
    add_limit(&f->words, limit.rlim_cur);
    if (limit.rlim_max != limit.rlim_cur) {
        pt_text_add(&f->words, ", which the library raises by itself to ");
        add_limit(&f->words, limit.rlim_max);
    }
    if (limit.rlim_max == RLIM_INFINITY) {
        return PT_DOCTOR_OK;
    }
    if (may_lock_without_limit()) {
        pt_text_add(&f->words, ", which does not count: this user has CAP_IPC_LOCK");
        return PT_DOCTOR_OK;
    }
    f->most = limit.rlim_max;
    if (limit.rlim_max >= pt_limits_available() / 2) {
        return PT_DOCTOR_OK;
    }
    if (pt_doctor_has_gpu()) {
        pt_text_add(&f->words,
                    "; what is registered with the GPU does not count, what is pinned before CUDA is used does");
        return PT_DOCTOR_NOTE;
    }
    pt_text_add(&f->words, ", and there is no CAP_IPC_LOCK");
    return PT_DOCTOR_STOPS;
}

/* As the library does: with the hard limit, if the soft one is not enough. */
static int lock_some(int out)
{
    struct rlimit limit;
    void *p = mmap(NULL, TRIED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)out;
    if (p == MAP_FAILED) {
        return errno;
    }
    if (mlock(p, TRIED) == 0) {
        return 0;
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_MEMLOCK, &limit);
    }
    return mlock(p, TRIED) == 0 ? 0 : errno;
}

enum pt_doctor_state pt_doctor_lock(struct pt_doctor_finding *f)
{
    char said[8];
    int result = pt_try_call(lock_some, PATIENCE_S, said, sizeof said);
    if (result == 0) {
        pt_text_add(&f->words, "a process locked %B", TRIED);
        return PT_DOCTOR_OK;
    }
    pt_text_add(&f->words, "a process that was to lock %B ", TRIED);
    if (result > 0) {
        pt_text_add(&f->words, "failed: %s", strerror(result));
    } else {
        pt_text_add(&f->words, "%s", result == -EINTR ? "was ended by a signal" : strerror(-result));
    }
    f->most = 0;
    return pt_doctor_has_gpu() ? PT_DOCTOR_NOTE : PT_DOCTOR_STOPS;
}

enum pt_doctor_state pt_doctor_address_space(struct pt_doctor_finding *f)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        pt_text_add(&f->words, "unlimited");
        return PT_DOCTOR_OK;
    }
    pt_text_add(&f->words, "%B", (size_t)limit.rlim_cur);
    f->most = limit.rlim_cur;
    return limit.rlim_cur < pt_limits_available() / 2 ? PT_DOCTOR_STOPS : PT_DOCTOR_OK;
}

enum pt_doctor_state pt_doctor_mappings(struct pt_doctor_finding *f)
{
    uint64_t most;
    if (pt_text_proc_number("/proc/sys/vm/max_map_count", "", &most) != 0) {
        pt_text_add(&f->words, "/proc/sys/vm/max_map_count cannot be read");
        return PT_DOCTOR_NOTE;
    }
    pt_text_add(&f->words, "a process may have %N", most);
    return most < USUAL_MAPPINGS ? PT_DOCTOR_STOPS : PT_DOCTOR_OK;
}

/* What a filter that was there before the program has to allow. Names the first that it does not. */
static int call_each(int out)
{
    static uint32_t word;
    struct stat about;
    char byte;
    const char *refused = NULL;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    char *p = mmap(NULL, PT_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || p == MAP_FAILED) {
        return 2;
    }
    refused = munlock(p, PT_PAGE) != 0 && errno != ENOMEM             ? "munlock"
              : madvise(p, PT_PAGE, MADV_DONTNEED) != 0               ? "madvise"
              : pread(fd, &byte, 1, 0) != 1                           ? "pread64"
              : fstat(fd, &about) != 0                                ? "fstat"
              : syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0) < 0 ? "futex"
                                                                      : NULL;
    if (refused != NULL) {
        (void)!write(out, refused, strlen(refused));
    }
    return refused != NULL;
}

enum pt_doctor_state pt_doctor_seccomp(struct pt_doctor_finding *f)
{
    uint64_t mode = 0;
    char said[32];
    /* Where that cannot be read a filter may be why. */
    bool known = pt_text_proc_number("/proc/self/status", "Seccomp:", &mode) == 0;
    int result = known && mode == 0 ? 0 : pt_try_call(call_each, PATIENCE_S, said, sizeof said);
    if (result == 0) {
        pt_text_add(&f->words, mode == 0 ? "no filter" : "a filter, which allows what is needed");
        return PT_DOCTOR_OK;
    }
    pt_text_add(&f->words, "a filter that refuses %s", result == 1 ? said : "one of the calls that are needed");
    return PT_DOCTOR_STOPS;
}
