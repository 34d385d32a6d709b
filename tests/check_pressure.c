/* Whether memory runs short, as files of /proc and /sys tell it: those of a folder here, in all forms that kernels
 * have. */
#include "base/sandbox.h"
#include "kernel.h"
#include "memory/pressure.h"
#include "suite.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define GIB           ((size_t)1 << 30)
#define NO_LIMIT_OF_1 "9223372036854771712\n"

static char root[] = "/tmp/pintensor-check-XXXXXX";

/* The file below the folder, with all folders that lead to it. */
static void put(const char *path, const char *text)
{
    char full[4096];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = full + sizeof root; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    REQUIRE(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void clean_up(void)
{
    char command[100];
    kernel_files(NULL);
    snprintf(command, sizeof command, "rm -rf %s", root);
    (void)!system(command);
}

/* 4 GiB, of which 2 are available; all of it is in use by the kernel's books. */
static void machine(void)
{
    ck_assert_ptr_nonnull(mkdtemp(root));
    kernel_files(root);
    put("/proc/meminfo", "MemTotal:        4194304 kB\nMemFree:          100000 kB\nMemAvailable:    2097152 kB\n"
                         "SwapFree:              0 kB\nActive(anon):    1048576 kB\nInactive(anon):  1048576 kB\n");
    put("/proc/zoneinfo",
        "Node 0, zone   Normal\n  pages free     1000\n        present  1048576\n        managed  1048576\n");
}

static void cgroup(const char *path, const char *file, const char *text)
{
    char full[4096];
    snprintf(full, sizeof full, "/sys/fs/cgroup%s/%s", path, file);
    put(full, text);
}

static const char *explained(size_t len)
{
    static char text[1000];
    struct pt_text t;
    pt_text_init(&t, text, sizeof text, -1);
    pt_pressure_explain(len, &t);
    return text;
}

static void explains(size_t len, const char *part)
{
    const char *text = explained(len);
    ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in '%s'", part, text);
}

START_TEST(a_machine)
{
    machine();
    pt_pressure_init();
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), 4 * GIB);
    ck_assert(!pt_pressure_high());
    ck_assert(pt_pressure_room(2 * GIB) && !pt_pressure_room(2 * GIB + 1));
    ck_assert(pt_pressure_room(PT_PRESSURE_LOOK - 1));
    ck_assert(!pt_pressure_await_room(3 * GIB)); /* at once: only a cgroup's numbers come late */
    explains(3 * GIB, "the machine has 4.0 GiB of memory, of which 2.0 GiB are available");
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 209714 kB\nSwapFree: 0 kB\n");
    ck_assert(pt_pressure_high()); /* less than a twentieth */
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 209715 kB\nSwapFree: 0 kB\n");
    ck_assert(!pt_pressure_high());
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 5000000 kB\nSwapFree: 0 kB\n"); /* nonsense */
    ck_assert(!pt_pressure_high());
}
END_TEST

START_TEST(swap_makes_room_for_what_can_go_there)
{
    machine();
    pt_pressure_init();
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\nSwapFree: 1048576 kB\n"
                         "Active(anon): 262144 kB\nInactive(anon): 262144 kB\n");
    ck_assert(pt_pressure_room(GIB + GIB / 2) && !pt_pressure_room(GIB + GIB / 2 + 1));
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\nSwapFree: 262144 kB\n"
                         "Active(anon): 262144 kB\nInactive(anon): 262144 kB\n");
    ck_assert(pt_pressure_room(GIB + GIB / 4) && !pt_pressure_room(GIB + GIB / 4 + 1));
}
END_TEST

START_TEST(memory_that_a_balloon_holds_may_come_back)
{
    machine();
    pt_pressure_init();
    put("/proc/zoneinfo", "  present  1048576\n  managed  786432\n"); /* a GiB is there, and not in use */
    ck_assert(pt_pressure_room(3 * GIB) && !pt_pressure_room(3 * GIB + 1));
    put("/proc/zoneinfo", "  present  524288\n  managed  262144\n  present  131072\n  managed  0\n");
    ck_assert(pt_pressure_room(2 * GIB + GIB / 2) && !pt_pressure_room(2 * GIB + GIB / 2 + 1)); /* all there is */
    put("/proc/zoneinfo", "  present  1048576\n");
    ck_assert(pt_pressure_room(100 * GIB)); /* nobody knows */
    put("/proc/zoneinfo", "");
    ck_assert(pt_pressure_room(100 * GIB));
}
END_TEST

START_TEST(a_machine_that_tells_nothing)
{
    ck_assert_ptr_nonnull(mkdtemp(root));
    kernel_files(root);
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), 0);
    ck_assert(!pt_pressure_high() && pt_pressure_room(100 * GIB) && pt_pressure_await_room(100 * GIB));
}
END_TEST

START_TEST(a_machine_that_tells_its_size_alone)
{
    machine();
    put("/proc/meminfo", "MemTotal: 4194304 kB\n");
    pt_pressure_init();
    ck_assert(!pt_pressure_high() && pt_pressure_room(100 * GIB));
}
END_TEST

/* Where memory is added as it is used, what is available now says nothing. */
static const struct {
    const char *file;
    bool grows;
} drivers[] = {{"/sys/bus/virtio/drivers/virtio_mem/bind", false}, /* the driver, without a device */
               {"/sys/bus/virtio/drivers/virtio_mem/virtio3", true},
               {"/sys/bus/vmbus/drivers/hv_balloon", true},
               {"/sys/devices/system/xen_memory", true},
               {"/sys/module/vmw_balloon", true}};

START_TEST(a_machine_that_grows)
{
    machine();
    put(drivers[_i].file, "");
    pt_pressure_init();
    ck_assert_int_eq(pt_pressure_room(100 * GIB), drivers[_i].grows);
}
END_TEST

static void forbid_something(void)
{
    pt_sandbox_init(); /* of this child */
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* A limit on the level above its own, of a GiB; of that half is used, and half of that is file cache. */
static void limited(void)
{
    machine();
    put("/proc/self/cgroup", "0::/job/step\n");
    cgroup("/job/step", "memory.max", "max\n");
    cgroup("/job/step", "memory.high", "max\n");
    cgroup("/job", "memory.max", "1073741824\n");
    cgroup("/job", "memory.high", "max\n");
    cgroup("/job", "memory.current", "536870912\n");
    cgroup("/job", "memory.stat",
           "anon 268435456\nactive_file 134217728\ninactive_file 134217728\nactive_anon 0\ninactive_anon 268435456\n");
    cgroup("/job", "memory.swap.max", "0\n");
    cgroup("/job", "memory.swap.current", "0\n");
}

START_TEST(a_cgroup_above_has_a_limit)
{
    limited();
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(!pt_pressure_high());
    ck_assert(pt_pressure_room(768 * MIB) && !pt_pressure_room(768 * MIB + 1));
    explains(800 * MIB, "its cgroup may have 1.0 GiB, of which 768.0 MiB are free");
    cgroup("/job", "memory.current", "1288490188\n"); /* without its cache 95 %, and then a byte more */
    ck_assert(!pt_pressure_high());
    cgroup("/job", "memory.current", "1288490190\n");
    ck_assert(pt_pressure_high());
    cgroup("/job", "memory.max", "max\n"); /* it was lifted */
    ck_assert(!pt_pressure_high() && pt_pressure_room(2 * GIB));
    ck_assert_uint_eq(pt_pressure_total(), 4 * GIB);
}
END_TEST

START_TEST(what_a_level_below_has_cached_stands_for_those_above)
{
    limited();
    cgroup("/job/step", "memory.stat", "active_file 402653184\ninactive_file 0\n");
    pt_pressure_init();
    ck_assert(pt_pressure_room(896 * MIB) && !pt_pressure_room(896 * MIB + 1));
    cgroup("/job/step", "memory.stat", "active_file 4026531840\ninactive_file 0\n"); /* more than is used */
    ck_assert(pt_pressure_room(GIB) && !pt_pressure_room(GIB + 1));
}
END_TEST

START_TEST(names_and_sizes_of_files_are_cache_too)
{
    limited();
    cgroup("/job", "memory.stat",
           "active_file 134217728\ninactive_file 0\nslab 300000000\nslab_reclaimable 268435456\n");
    pt_pressure_init();
    ck_assert(pt_pressure_room(896 * MIB) && !pt_pressure_room(896 * MIB + 1));
}
END_TEST

/* What is locked in small pieces counts together. */
START_TEST(small_requests_are_looked_at_together)
{
    limited();
    pt_pressure_init();
    for (unsigned i = 0; i < 40; i++) {
        ck_assert(pt_pressure_await_room(MIB));
    }
    cgroup("/job", "memory.current", "1342177280\n"); /* but for its cache it has all */
    unsigned passed = 0;
    while (passed < 20 && pt_pressure_await_room(MIB)) {
        passed++;
    }
    ck_assert_uint_lt(passed, 16);
    ck_assert(!pt_pressure_await_room(MIB)); /* at once: each is looked at now */
    explains(MIB, "its cgroup may have 1.0 GiB, of which 0 B are free");
    cgroup("/job", "memory.current", "1341128704\n"); /* a MiB less */
    ck_assert(pt_pressure_await_room(MIB) && !pt_pressure_await_room(MIB + 1));
    cgroup("/job", "memory.current", "536870912\n");
    for (unsigned i = 0; i < 40; i++) {
        ck_assert(pt_pressure_await_room(MIB));
    }
}
END_TEST

START_TEST(memory_that_a_cgroup_may_swap)
{
    limited();
    pt_pressure_init();
    put("/proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable: 4194304 kB\nSwapFree: 131072 kB\n");
    ck_assert(!pt_pressure_room(768 * MIB + 1)); /* memory.swap.max is 0 */
    cgroup("/job", "memory.swap.max", "max\n");
    ck_assert(pt_pressure_room(896 * MIB) && !pt_pressure_room(896 * MIB + 1)); /* what the machine has */
    cgroup("/job", "memory.swap.max", "67108864\n");
    ck_assert(pt_pressure_room(832 * MIB) && !pt_pressure_room(832 * MIB + 1));
    cgroup("/job", "memory.swap.current", "33554432\n");
    ck_assert(pt_pressure_room(800 * MIB) && !pt_pressure_room(800 * MIB + 1));
    cgroup("/job", "memory.swap.current", "134217728\n"); /* the limit was lowered */
    ck_assert(pt_pressure_room(768 * MIB) && !pt_pressure_room(768 * MIB + 1));
}
END_TEST

START_TEST(a_cgroup_that_is_throttled_is_short_too)
{
    limited();
    cgroup("/job", "memory.max", "max\n");
    cgroup("/job", "memory.high", "268435456\n");
    pt_pressure_init();
    ck_assert(pt_pressure_high());
    ck_assert(pt_pressure_room(2 * GIB)); /* it is slowed down, not killed */
    cgroup("/job", "memory.high", "1073741824\n");
    ck_assert(!pt_pressure_high());
    cgroup("/job", "memory.current", "");
    cgroup("/job", "memory.high", "1\n");
    ck_assert(!pt_pressure_high()); /* nobody knows */
}
END_TEST

static unsigned descriptors(void)
{
    unsigned count = 0;
    for (int fd = 600; fd < 700; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

START_TEST(a_limit_that_comes_late)
{
    limited();
    cgroup("/job", "memory.max", "max\n");
    cgroup("/job/step", "memory.stat", "active_file 402653184\ninactive_file 0\n");
    unsigned before = descriptors();
    pt_pressure_init();
    ck_assert_uint_eq(descriptors() - before, 2 + 4); /* of the machine, and two of each level */
    ck_assert_uint_eq(pt_pressure_total(), 4 * GIB);
    ck_assert(pt_pressure_room(2 * GIB) && !pt_pressure_high());
    cgroup("/job", "memory.max", "1073741824\n");
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(pt_pressure_room(896 * MIB) && !pt_pressure_room(896 * MIB + 1)); /* by the cache of the level below */
    ck_assert_uint_gt(descriptors() - before, 2 + 4);
    explains(GIB, "its cgroup may have 1.0 GiB, of which 896.0 MiB are free");
    cgroup("/job", "memory.max", "67108864\n"); /* lowered to less than is used */
    ck_assert(pt_pressure_high() && !pt_pressure_room(64 * MIB));
}
END_TEST

START_TEST(a_limit_that_comes_after_a_sandbox)
{
    limited();
    cgroup("/job", "memory.max", "max\n");
    pt_pressure_init();
    forbid_something();
    unsigned before = descriptors();
    cgroup("/job", "memory.max", "1048576\n");
    ck_assert(pt_pressure_room(GIB) && !pt_pressure_high());
    explains(GIB, "the machine has");
    ck_assert_uint_eq(descriptors(), before);
}
END_TEST

START_TEST(one_cgroup_and_nothing_above)
{
    machine();
    put("/proc/self/cgroup", "1:name=systemd:/a/0::/job\n0::/\n"); /* its path may look like another line */
    cgroup("", "memory.max", "1073741824\n");
    cgroup("", "memory.current", "0\n");
    unsigned before = descriptors();
    pt_pressure_init();
    ck_assert_uint_eq(descriptors() - before, 2 + 2); /* the limit and what is used, once */
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(pt_pressure_room(GIB) && !pt_pressure_room(GIB + 1));
}
END_TEST

START_TEST(the_older_cgroups)
{
    machine();
    put("/proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:/slurm/job\n4:pids:/memory:/\n1:name=systemd:/\n");
    cgroup("/memory/slurm/job", "memory.limit_in_bytes", NO_LIMIT_OF_1);
    cgroup("/memory/slurm", "memory.limit_in_bytes", "1073741824\n");
    cgroup("/memory/slurm", "memory.usage_in_bytes", "536870912\n");
    cgroup("/memory/slurm", "memory.stat",
           "active_file 1\ntotal_active_file 134217728\ntotal_inactive_file 134217728\n");
    cgroup("/memory", "memory.limit_in_bytes", NO_LIMIT_OF_1);
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(pt_pressure_room(768 * MIB) && !pt_pressure_room(768 * MIB + 1));
    cgroup("/memory/slurm", "memory.limit_in_bytes", NO_LIMIT_OF_1);
    ck_assert(pt_pressure_room(2 * GIB) && !pt_pressure_high());
}
END_TEST

/* A process may lie in both; each version has its own files and file cache. */
START_TEST(both_versions_of_cgroups)
{
    limited();
    put("/proc/self/cgroup", "9:memory:/old\n0::/job/step");
    cgroup("/memory/old", "memory.limit_in_bytes", "2147483648\n");
    cgroup("/memory/old", "memory.usage_in_bytes", "1879048192\n");
    cgroup("/memory/old", "memory.stat", "total_active_file 0\ntotal_inactive_file 0\n");
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(pt_pressure_room(256 * MIB) && !pt_pressure_room(256 * MIB + 1));
    explains(300 * MIB, "its cgroup may have 2.0 GiB, of which 256.0 MiB are free");
}
END_TEST

/* Deeper than any is: the innermost limits count. */
START_TEST(more_limits_than_there_is_room_for)
{
    char path[200] = "", line[220];
    machine();
    for (int i = 0; i < 20; i++) {
        strcat(path, "/level");
        cgroup(path, "memory.max", i == 0 ? "1048576\n" : "1073741824\n");
        cgroup(path, "memory.current", "0\n");
    }
    snprintf(line, sizeof line, "0::%s\n", path);
    put("/proc/self/cgroup", line);
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), GIB);
    ck_assert(pt_pressure_room(GIB) && !pt_pressure_room(GIB + 1));
}
END_TEST

START_TEST(a_path_that_is_too_long)
{
    char line[2000] = "0::/";
    limited();
    memset(line + 4, 'a', 1500);
    line[1504] = '\n';
    line[1505] = '\0';
    put("/proc/self/cgroup", line);
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), 4 * GIB);
}
END_TEST

static const char *const no_paths[] = {"", "1:name=systemd:/job\n", "0:", "00:/job\n:memory/job\n"};

START_TEST(no_line_of_a_cgroup)
{
    limited();
    cgroup("", "memory.max", "1\n"); /* which only who lies in a cgroup looks at */
    put("/proc/self/cgroup", no_paths[_i]);
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), 4 * GIB);
}
END_TEST

START_TEST(a_key_that_begins_twice)
{
    limited();
    put("/proc/self/cgroup", "00::/job/step\n"); /* as in 10::, where the first 0 begins nothing */
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), GIB);
}
END_TEST

/* ---- waiting ---- */

static void *frees_soon(void *unused)
{
    usleep(200000);
    cgroup("/job", "memory.current", "0\n");
    return unused;
}

START_TEST(a_cgroup_s_numbers_may_be_late)
{
    pthread_t other;
    limited();
    cgroup("/job", "memory.current", "1073741824\n");
    cgroup("/job", "memory.stat", "");
    pt_pressure_init();
    ck_assert(!pt_pressure_room(GIB));
    pthread_create(&other, NULL, frees_soon, NULL);
    ck_assert(pt_pressure_await_room(GIB));
    pthread_join(other, NULL);
    ck_assert(!pt_pressure_await_room(2 * GIB)); /* it never has so much */
    ck_assert(pt_pressure_await_room(GIB));
}
END_TEST

/* How often the file was read by the second wait, which is in vain as well: it gives up at once. */
static atomic_uint reads;

static bool count_reads(long number, const long *arguments, long *result)
{
    (void)arguments;
    (void)result;
    reads += number == SYS_pread64;
    return false;
}

START_TEST(who_waited_in_vain_does_not_wait_again)
{
    limited();
    cgroup("/job", "memory.current", "1073741824\n");
    cgroup("/job", "memory.stat", "");
    pt_pressure_init();
    kernel_watch(count_reads);
    ck_assert(!pt_pressure_await_room(GIB));
    unsigned first = reads;
    reads = 0;
    ck_assert(!pt_pressure_await_room(GIB));
    ck_assert_uint_lt(reads * 3, first);
    kernel_watch(NULL);
}
END_TEST

/* ---- where files cannot be opened or read ---- */

START_TEST(a_descriptor_that_the_program_closed)
{
    limited();
    pt_pressure_init();
    for (int fd = 600; fd < 700; fd++) {
        close(fd);
    }
    ck_assert_uint_eq(pt_pressure_total(), 0);
    ck_assert(!pt_pressure_high() && pt_pressure_room(100 * GIB));
}
END_TEST

static const struct {
    long number;
    unsigned skip;
    size_t total;
} refusals[] = {
    {SYS_openat, 0, GIB},     /* meminfo */
    {SYS_fcntl, 0, GIB},      /* its number out of the way */
    {SYS_fstat, 0, GIB},      /* what it is */
    {SYS_openat, 3, 4 * GIB}, /* the paths */
    {SYS_read, 0, 4 * GIB},
};

START_TEST(a_file_that_cannot_be_opened)
{
    limited();
    kernel_refuse(refusals[_i].number, EACCES, refusals[_i].skip, 1);
    pt_pressure_init();
    ck_assert_uint_eq(kernel_refused(), 1);
    kernel_refuse(0, 0, 0, 0);
    ck_assert_uint_eq(pt_pressure_total(), refusals[_i].total);
    ck_assert(!pt_pressure_high());
}
END_TEST

START_TEST(nobody_looks_in_a_sandbox)
{
    limited();
    cgroup("/job", "memory.current", "1342177280\n");
    pt_pressure_init();
    ck_assert(pt_pressure_high() && !pt_pressure_room(GIB));
    forbid_something();
    ck_assert(!pt_pressure_high() && pt_pressure_room(GIB));
}
END_TEST

START_TEST(nothing_is_opened_in_a_sandbox)
{
    limited();
    forbid_something();
    pt_pressure_init();
    ck_assert_uint_eq(pt_pressure_total(), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pressure");
    tcase_add_checked_fixture(tests, NULL, clean_up);
    tcase_add_test(tests, a_machine);
    tcase_add_test(tests, swap_makes_room_for_what_can_go_there);
    tcase_add_test(tests, memory_that_a_balloon_holds_may_come_back);
    tcase_add_test(tests, a_machine_that_tells_nothing);
    tcase_add_test(tests, a_machine_that_tells_its_size_alone);
    tcase_add_loop_test(tests, a_machine_that_grows, 0, sizeof drivers / sizeof drivers[0]);
    tcase_add_test(tests, a_cgroup_above_has_a_limit);
    tcase_add_test(tests, what_a_level_below_has_cached_stands_for_those_above);
    tcase_add_test(tests, names_and_sizes_of_files_are_cache_too);
    tcase_add_test(tests, small_requests_are_looked_at_together);
    tcase_add_test(tests, memory_that_a_cgroup_may_swap);
    tcase_add_test(tests, a_cgroup_that_is_throttled_is_short_too);
    tcase_add_test(tests, a_limit_that_comes_late);
    tcase_add_test(tests, a_limit_that_comes_after_a_sandbox);
    tcase_add_test(tests, one_cgroup_and_nothing_above);
    tcase_add_test(tests, the_older_cgroups);
    tcase_add_test(tests, both_versions_of_cgroups);
    tcase_add_test(tests, more_limits_than_there_is_room_for);
    tcase_add_test(tests, a_path_that_is_too_long);
    tcase_add_loop_test(tests, no_line_of_a_cgroup, 0, sizeof no_paths / sizeof no_paths[0]);
    tcase_add_test(tests, a_key_that_begins_twice);
    tcase_add_test(tests, a_cgroup_s_numbers_may_be_late);
    tcase_add_test(tests, who_waited_in_vain_does_not_wait_again);
    tcase_add_test(tests, a_descriptor_that_the_program_closed);
    tcase_add_loop_test(tests, a_file_that_cannot_be_opened, 0, sizeof refusals / sizeof refusals[0]);
    tcase_add_test(tests, nobody_looks_in_a_sandbox);
    tcase_add_test(tests, nothing_is_opened_in_a_sandbox);
    return suite_run("pressure", tests);
}
