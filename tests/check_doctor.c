/* The checks of `pintensor doctor` that ask the machine, on machines of every kind; and what it asks of child
 * processes. */
#include "cli/doctor.h"
#include "cli/limits.h"
#include "cli/tries.h"
#include "elsewhere.h"
#include "memory/pages.h"

#include <poll.h>
#include <signal.h>

#define GIB ((uint64_t)1 << 30)

static char words[2048];
static uint64_t most;

static enum pt_doctor_state look(pt_doctor_check *check)
{
    struct pt_doctor_finding f = {.most = UINT64_MAX};
    pt_text_init(&f.words, words, sizeof words, -1);
    enum pt_doctor_state state = check(&f);
    most = f.most;
    return state;
}

#define FINDS(check, state, text)                                                                                      \
    do {                                                                                                               \
        ck_assert_int_eq(look(pt_doctor_##check), PT_DOCTOR_##state);                                                  \
        ck_assert_msg(strstr(words, text) != NULL, "no '%s' in '%s'", text, words);                                    \
    } while (0)

/* Without the capability, whose process a limit holds for. */
static void lose_capability(void)
{
    struct rlimit limit;
    REQUIRE(prlimit(0, RLIMIT_MEMLOCK, NULL, &limit) == 0);
    limit_memlock(limit.rlim_cur, limit.rlim_max);
}

static void has_memory(const char *meminfo)
{
    elsewhere("/proc/meminfo", meminfo);
}

/* ---- limits ---- */

START_TEST(memlock)
{
    has_memory("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
    limited_to(RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    FINDS(memlock, OK, "unlimited");
    ck_assert_str_eq(words, "unlimited");
    limited_to(RLIMIT_MEMLOCK, 65536, RLIM_INFINITY);
    FINDS(memlock, OK, "64.0 KiB, which the library raises by itself to unlimited");
    ck_assert_uint_eq(most, UINT64_MAX);
    lose_capability();
    limited_to(RLIMIT_MEMLOCK, 65536, 2 * GIB);
    FINDS(memlock, OK, "64.0 KiB, which the library raises by itself to 2.0 GiB"); /* half of what is there */
    ck_assert_uint_eq(most, 2 * GIB);
    limited_to(RLIMIT_MEMLOCK, GIB, GIB);
    FINDS(memlock, STOPS, "1.0 GiB, and there is no CAP_IPC_LOCK");
    ck_assert_uint_eq(most, GIB);
    refuse(SYS_capget, EPERM); /* nobody says that there is one */
    FINDS(memlock, STOPS, "1.0 GiB, and there is no CAP_IPC_LOCK");
    limit_unknown(RLIMIT_MEMLOCK);
    FINDS(memlock, NOTE, "cannot be asked for");
}
END_TEST

START_TEST(lock)
{
    FINDS(lock, OK, "a process locked 1.0 MiB");
    struct rlimit limit;
    REQUIRE(prlimit(0, RLIMIT_MEMLOCK, NULL, &limit) == 0);
    if (limit.rlim_max >= 2 * MIB) {
        limit_memlock(65536, limit.rlim_max); /* it raises that by itself, as the library does */
        FINDS(lock, OK, "a process locked 1.0 MiB");
    }
    limit_memlock(65536, 65536);
    FINDS(lock, STOPS, "a process that was to lock 1.0 MiB failed: ");
    ck_assert_uint_eq(most, 0);
    limit_unknown(RLIMIT_MEMLOCK);
    FINDS(lock, STOPS, "failed: ");
}
END_TEST

START_TEST(lock_is_refused)
{
    static const struct {
        int call, argument, error;
        uint32_t value;
        const char *words;
    } all[] = {{SYS_mlock, -1, EPERM, 0, "failed: Operation not permitted"},
               {SYS_mlock, -1, REFUSE_KILLS, 0, "was ended by a signal"},
               {SYS_mmap, 1, ENOMEM, MIB, "failed: Cannot allocate memory"},
               {SYS_clone, -1, EAGAIN, 0, "Resource temporarily unavailable"}};
    char wanted[128];
    snprintf(wanted, sizeof wanted, "a process that was to lock 1.0 MiB %s", all[_i].words);
    FINDS(lock, OK, "locked");
    refuse_where(all[_i].call, all[_i].argument, all[_i].value, all[_i].error);
    if (all[_i].call == SYS_clone) {
        refuse(SYS_clone3, EAGAIN);
    }
    FINDS(lock, STOPS, wanted);
}
END_TEST

START_TEST(address_space)
{
    has_memory("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
    limited_to(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY);
    FINDS(address_space, OK, "unlimited");
    limited_to(RLIMIT_AS, 2 * GIB, RLIM_INFINITY);
    FINDS(address_space, OK, "2.0 GiB");
    ck_assert_uint_eq(most, 2 * GIB);
    limited_to(RLIMIT_AS, GIB, RLIM_INFINITY);
    FINDS(address_space, STOPS, "1.0 GiB");
    limit_unknown(RLIMIT_AS);
    FINDS(address_space, OK, "unlimited");
}
END_TEST

START_TEST(mappings_at_most)
{
    elsewhere("/proc/sys/vm/max_map_count", "65530\n");
    FINDS(mappings, OK, "a process may have 65,530");
    elsewhere("/proc/sys/vm/max_map_count", "65529\n");
    FINDS(mappings, STOPS, "a process may have 65,529");
    elsewhere("/proc/sys/vm/max_map_count", NULL);
    FINDS(mappings, NOTE, "cannot be read");
}
END_TEST

/* ---- filters ---- */

START_TEST(a_filter)
{
    static const struct {
        int call, error;
        const char *words;
    } all[] = {{SYS_swapon, EPERM, "a filter, which allows what is needed"},
               {SYS_munlock, ENOMEM, "a filter, which allows what is needed"}, /* of what is not locked */
               {SYS_munlock, EPERM, "a filter that refuses munlock"},
               {SYS_madvise, EPERM, "a filter that refuses madvise"},
               {SYS_pread64, EPERM, "a filter that refuses pread64"},
               {SYS_fstat, EPERM, "a filter that refuses fstat"},
               {SYS_futex, EPERM, "a filter that refuses futex"},
               {SYS_munlock, REFUSE_KILLS, "a filter that refuses one of the calls that are needed"}};
    bool allowed = strstr(all[_i].words, "allows") != NULL;
    refuse(all[_i].call, all[_i].error);
    ck_assert_int_eq(look(pt_doctor_seccomp), allowed ? PT_DOCTOR_OK : PT_DOCTOR_STOPS);
    ck_assert_str_eq(words, all[_i].words);
}
END_TEST

START_TEST(no_filter)
{
    elsewhere("/proc/self/status", "Name: x\nSeccomp:\t0\n");
    FINDS(seccomp, OK, "no filter");
    elsewhere("/proc/self/status", NULL);
    FINDS(seccomp, OK, "no filter");
    elsewhere("/proc/self/status", "Seccomp:\t2\n");
    FINDS(seccomp, OK, "a filter, which allows what is needed");
    elsewhere("/proc/self/exe", NULL); /* nothing can be tried */
    FINDS(seccomp, STOPS, "a filter that refuses one of the calls that are needed");
}
END_TEST

/* ---- memory ---- */

START_TEST(memory)
{
    has_memory("MemTotal: 8388608 kB\nMemAvailable: 65536 kB\n");
    FINDS(memory, OK, "64.0 MiB available of 8.0 GiB");
    ck_assert_uint_eq(most, 64 * MIB);
    has_memory("MemTotal: 8388608 kB\nMemAvailable: 65535 kB\n");
    FINDS(memory, STOPS, " available of 8.0 GiB");
    has_memory("nothing\n");
    FINDS(memory, NOTE, "/proc/meminfo cannot be read");
    has_memory(NULL);
    FINDS(memory, NOTE, "/proc/meminfo cannot be read");
    ck_assert_uint_eq(most, UINT64_MAX);
}
END_TEST

START_TEST(cgroups)
{
    elsewhere("/proc/self/cgroup", NULL);
    FINDS(cgroup, OK, "no limit");
    elsewhere("/proc/self/cgroup", "12:memory:/a\n0::/b/c\n");
    FINDS(cgroup, OK, "no limit");
    elsewhere("/sys/fs/cgroup/b/memory.max", "268435456\n");
    elsewhere("/sys/fs/cgroup/b/c/memory.max", "max\n");
    FINDS(cgroup, OK, "256.0 MiB free of 256.0 MiB, by memory.max in /sys/fs/cgroup/b");
    ck_assert_uint_eq(most, 256 * MIB);
    elsewhere("/sys/fs/cgroup/b/memory.high", "536870912\n"); /* above the limit: of no consequence */
    elsewhere("/sys/fs/cgroup/b/memory.current", "201326592\n");
    FINDS(cgroup, OK, "64.0 MiB free of 256.0 MiB");
    ck_assert_ptr_null(strstr(words, "memory.high"));
    elsewhere("/sys/fs/cgroup/b/memory.high", "134217728\n");
    FINDS(cgroup, NOTE,
          "64.0 MiB free of 256.0 MiB, by memory.max in /sys/fs/cgroup/b; from 128.0 MiB on (memory.high)");
    elsewhere("/sys/fs/cgroup/b/memory.current", "210000000\n");
    FINDS(cgroup, STOPS, "55.7 MiB free of 256.0 MiB");
    elsewhere("/sys/fs/cgroup/b/memory.current", "300000000\n"); /* more than it may */
    FINDS(cgroup, STOPS, "0 B free of 256.0 MiB");
    elsewhere("/sys/fs/cgroup/b/memory.stat", "active_file 200000000\ninactive_file 200000000\n"); /* more than all */
    FINDS(cgroup, NOTE, "256.0 MiB free of 256.0 MiB");
    /* Of two limits the one with less room counts, of whichever version. */
    elsewhere("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "167772160\n");
    FINDS(cgroup, NOTE, "160.0 MiB free of 160.0 MiB, by memory.limit_in_bytes in /sys/fs/cgroup/memory/a");
    elsewhere("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    FINDS(cgroup, NOTE, "256.0 MiB free of 256.0 MiB, by memory.max in /sys/fs/cgroup/b");
}
END_TEST

/* What is too long is none, and so is what only looks like it. */
START_TEST(cgroups_of_odd_names)
{
    static char text[4096];
    memcpy(text, "0::", 4);
    while (strlen(text) < 900) {
        strcat(text, "/folder");
    }
    strcat(text, "\n");
    elsewhere("/proc/self/cgroup", text);
    elsewhere("/sys/fs/cgroup/memory.max", "1\n");
    FINDS(cgroup, OK, "no limit");
    elsewhere("/proc/self/cgroup", "10::/a\n1:cpu:/x\n");
    FINDS(cgroup, OK, "no limit");
    elsewhere("/proc/self/cgroup", "0::/");
    FINDS(cgroup, STOPS, "1 B free of 1 B, by memory.max in /sys/fs/cgroup");
}
END_TEST

/* ---- the kernel ---- */

#define HUGE_PAGES "/sys/kernel/mm/transparent_hugepage/"

START_TEST(huge_pages)
{
    elsewhere(HUGE_PAGES "enabled", "always [madvise] never\n");
    elsewhere(HUGE_PAGES "shmem_enabled", "always within_size advise [never] deny force\n");
    FINDS(huge_pages, OK, "enabled: madvise, shmem_enabled: never");
    elsewhere(HUGE_PAGES "shmem_enabled", "always within_size advise never [deny] force\n");
    FINDS(huge_pages, NOTE, "enabled: madvise, shmem_enabled: deny: locking takes");
    elsewhere(HUGE_PAGES "shmem_enabled", NULL);
    FINDS(huge_pages, OK, "enabled: madvise, shmem_enabled: not there");
    elsewhere(HUGE_PAGES "enabled", "always madvise [never]\n");
    FINDS(huge_pages, NOTE, "enabled: never, shmem_enabled: not there: locking takes");
    elsewhere(HUGE_PAGES "enabled", "[one that is longer than any word that was ever there");
    FINDS(huge_pages, OK, "enabled: one that is longer than any wor, ");
    elsewhere(HUGE_PAGES "enabled", "always\n");
    FINDS(huge_pages, NOTE, "the kernel has none");
    elsewhere(HUGE_PAGES "enabled", "");
    FINDS(huge_pages, NOTE, "the kernel has none");
    elsewhere(HUGE_PAGES "enabled", NULL);
    FINDS(huge_pages, NOTE, "the kernel has none");
}
END_TEST

START_TEST(kernel)
{
    bool modern = look(pt_doctor_kernel) == PT_DOCTOR_OK;
    refuse_where(SYS_madvise, 2, MADV_COLLAPSE, EINVAL);
    ck_assert_int_eq(look(pt_doctor_kernel), PT_DOCTOR_NOTE);
    ck_assert(!modern || strstr(words, ", without MADV_COLLAPSE") != NULL);
    refuse_where(SYS_madvise, 2, MADV_POPULATE_WRITE, EINVAL);
    FINDS(kernel, NOTE, ", without MADV_POPULATE_WRITE and MADV_COLLAPSE");
    refuse(SYS_uname, EPERM);
    FINDS(kernel, NOTE, "unknown, without ");
}
END_TEST

START_TEST(kernel_without_the_older_call)
{
    bool modern = look(pt_doctor_kernel) == PT_DOCTOR_OK;
    refuse_where(SYS_madvise, 2, MADV_POPULATE_WRITE, EINVAL);
    ck_assert_int_eq(look(pt_doctor_kernel), PT_DOCTOR_NOTE);
    ck_assert(!modern || strcmp(strstr(words, ", without "), ", without MADV_POPULATE_WRITE") == 0);
}
END_TEST

/* ---- children ---- */

static int polls_fail, polls_error, reads_fail, reads_error;

int poll(struct pollfd *fds, nfds_t count, int ms)
{
    if (polls_fail > 0) {
        polls_fail--;
        errno = polls_error;
        return -1;
    }
    struct timespec most_time = {ms / 1000, ms % 1000 * 1000000L};
    return ppoll(fds, count, ms >= 0 ? &most_time : NULL, NULL);
}

ssize_t read(int fd, void *out, size_t len)
{
    if (reads_fail > 0) {
        reads_fail--;
        errno = reads_error;
        return -1;
    }
    return syscall(SYS_read, fd, out, len);
}

static int says_a_word(int out)
{
    return write(out, "word", 4) == 4 ? 5 : 6;
}

static int never_ends(int out)
{
    while (pause() != 0) {
    }
    return out;
}

static int dies(int out)
{
    (void)out;
    return raise(SIGKILL);
}

static int writes_much(int out)
{
    char much[3000];
    memset(much, 'x', sizeof much);
    return write(out, much, sizeof much) == (ssize_t)sizeof much ? 0 : 6;
}

START_TEST(a_call_in_a_child)
{
    char text[8];
    ck_assert_int_eq(pt_try_call(says_a_word, 60, text, sizeof text), 5);
    ck_assert_str_eq(text, "word");
    ck_assert_int_eq(pt_try_call(says_a_word, 60, text, 3), 5);
    ck_assert_str_eq(text, "wo");
    ck_assert_int_eq(pt_try_call(writes_much, 60, text, sizeof text), 0);
    ck_assert_str_eq(text, "xxxxxxx");
    ck_assert_int_eq(pt_try_call(dies, 60, text, sizeof text), -EINTR);
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(pt_try_call(never_ends, 0, text, sizeof text), -ETIMEDOUT);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* it is gone, and waited for */
    polls_fail = reads_fail = 3;
    polls_error = reads_error = EINTR;
    ck_assert_int_eq(pt_try_call(says_a_word, 60, text, sizeof text), 5);
    ck_assert_str_eq(text, "word");
    polls_fail = 1;
    polls_error = ENOMEM;
    ck_assert_int_eq(pt_try_call(never_ends, 60, text, sizeof text), -ENOMEM);
    reads_fail = 1;
    reads_error = EIO;
    ck_assert_int_eq(pt_try_call(says_a_word, 60, text, sizeof text), -EIO);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(a_program_in_a_child)
{
    char text[64];
    char *says[] = {"sh", "-c", "echo words; echo others >&2; cat; exit 3", NULL};
    char *waits[] = {"sh", "-c", "echo begun; sleep 1000 & wait", NULL};
    ck_assert_int_eq(pt_try_program(says, 60, text, sizeof text), 3);
    ck_assert_str_eq(text, "words\n");
    ck_assert_int_eq(pt_try_program((char *[]){"no_such_program", NULL}, 60, text, sizeof text), 127);
    ck_assert_int_eq(pt_try_program((char *[]){"/", NULL}, 60, text, sizeof text), 126);
    ck_assert_int_eq(pt_try_program(waits, 1, text, sizeof text), -ETIMEDOUT); /* with what it started */
    elsewhere("/dev/null", NULL);
    ck_assert_int_eq(pt_try_program(says, 60, text, sizeof text), 126);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(a_child_that_cannot_be_made)
{
    char text[64];
    char *says[] = {"sh", "-c", "echo words", NULL};
    ck_assert_int_eq(pt_try_program(says, 60, text, sizeof text), 0);
    for (uint32_t fd = STDERR_FILENO;; fd--) {
        refuse_where(SYS_dup2, 1, fd, EBUSY);
        ck_assert_int_eq(pt_try_program(says, 60, text, sizeof text), 126);
        if (fd == STDIN_FILENO) {
            break;
        }
    }
    refuse(SYS_pipe2, EMFILE);
    ck_assert_int_eq(pt_try_program(says, 60, text, sizeof text), -EMFILE);
}
END_TEST

/* ---- all of it ---- */

/* A machine on which nothing stands in the way, and nothing limits; and no Python. */
static void well(void)
{
    setenv("PATH", "/nowhere", 1);
    setenv("HOME", "/nowhere", 1);
    setenv("XDG_CACHE_HOME", "/nowhere", 1);
    has_memory(NULL);
    limited_to(RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    limited_to(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY);
    elsewhere("/proc/sys/vm/max_map_count", "65530\n");
    elsewhere("/proc/self/cgroup", NULL);
    elsewhere("/proc/self/status", NULL);
}

static const char *doctor_says(bool json, int *status)
{
    listen_to_output(STDOUT_FILENO);
    *status = pt_doctor(json);
    return said();
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part)) {
        n++;
    }
    return n;
}

START_TEST(in_words)
{
    int status;
    char head[128];
    well();
    for (unsigned i = 0; i < 3; i++) {
        const char *text = doctor_says(false, &status);
        unsigned stops = count(text, "\n  STOPS  ");
        ck_assert_int_eq(status, stops > 0);
        snprintf(head, sizeof head,
                 stops == 0   ? "pintensor: nothing limits here what a process can mlock; nothing stands in the way\n"
                 : stops == 1 ? "pintensor: nothing limits here what a process can mlock; 1 thing would stop a job\n"
                              : "pintensor: nothing limits here what a process can mlock; %u things would stop a job\n",
                 stops);
        ck_assert_msg(strstr(text, head) == text, "no '%s' in %s", head, text);
        ck_assert_uint_eq(count(text, "\n                        fix: "), stops + count(text, "\n  note   "));
        elsewhere("/proc/sys/vm/max_map_count", i == 0 ? "1\n" : "65530\n");
    }
    limited_to(RLIMIT_AS, 4096, 4096);
    const char *text = doctor_says(false, &status);
    ck_assert_int_eq(status, 1);
    ck_assert_msg(strstr(text, "pintensor: a process can mlock 4.0 KiB here (address space); ") == text, "%s", text);
}
END_TEST

/* What a path holds stands in JSON as far as it is UTF-8. */
START_TEST(in_json)
{
    static const struct {
        const char *name, *json;
    } all[] = {{"plain", "plain"},
               {"\"\\\x7f\t", "\\\"\\\\??"},
               {"\xc2\xa9\xdf\xbf", "\xc2\xa9\xdf\xbf"},
               {"\xe2\x82\xac\xef\xbf\xbd", "\xe2\x82\xac\xef\xbf\xbd"},
               {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
               {"\xc1\xbf", "??"}, /* longer than it need be */
               {"\xe0\x9f\xbf", "???"},
               {"\xf0\x8f\xbf\xbf", "????"},
               {"\xed\xa0\x80", "???"}, /* half of a pair */
               {"\xed\x9f\xbf", "\xed\x9f\xbf"},
               {"\x80\xbf", "??"},
               {"\xf1\x80\x80\x80", "????"}, /* no plane that is in use */
               {"\xe2\x82", "??"},
               {"\xc2", "?"}};
    int status;
    char line[64], path[64], wanted[128];
    well();
    snprintf(line, sizeof line, "0::/%s", all[_i].name);
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s/memory.max", all[_i].name);
    elsewhere("/proc/self/cgroup", line);
    const char *text = doctor_says(true, &status);
    snprintf(wanted, sizeof wanted, "{\"version\": 1, \"well\": %s, ", status == 0 ? "true" : "false");
    ck_assert_msg(strstr(text, wanted) == text, "no '%s' in %s", wanted, text);
    ck_assert_msg(strstr(text, "\"lockable_bytes\": null, \"limited_by\": null, ") != NULL, "%s", text);
    elsewhere(path, "100000000\n");
    text = doctor_says(true, &status);
    ck_assert_msg(strstr(text, "\"lockable_bytes\": 100000000, \"limited_by\": \"cgroup\", ") != NULL, "%s", text);
    snprintf(wanted, sizeof wanted, "by memory.max in /sys/fs/cgroup/%s\", \"fix\": null}", all[_i].json);
    ck_assert_msg(strstr(text, wanted) != NULL, "no '%s' in %s", wanted, text);
}
END_TEST

int main(void)
{
    need_lockable(MIB);
    TCase *tests = tcase_create("doctor");
    tcase_add_test(tests, memlock);
    tcase_add_test(tests, lock);
    tcase_add_loop_test(tests, lock_is_refused, 0, 4);
    tcase_add_test(tests, address_space);
    tcase_add_test(tests, mappings_at_most);
    tcase_add_loop_test(tests, a_filter, 0, 8);
    tcase_add_test(tests, no_filter);
    tcase_add_test(tests, memory);
    tcase_add_test(tests, cgroups);
    tcase_add_test(tests, cgroups_of_odd_names);
    tcase_add_test(tests, huge_pages);
    tcase_add_test(tests, kernel);
    tcase_add_test(tests, kernel_without_the_older_call);
    tcase_add_test(tests, a_call_in_a_child);
    tcase_add_test(tests, a_program_in_a_child);
    tcase_add_test(tests, a_child_that_cannot_be_made);
    tcase_add_test(tests, in_words);
    tcase_add_loop_test(tests, in_json, 0, 14);
    return suite_run("doctor", tests);
}
