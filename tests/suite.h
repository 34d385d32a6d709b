/* What every Check suite uses: a main, and the kernel's own account of this process. Each test runs in a forked child,
 * so it finds the library as a fresh process does and may change limits and the environment. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#pragma GCC diagnostic ignored "-Wframe-larger-than=" /* the library's alone are small */

#include "base/log.h"

#include <check.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif

/* Around functions that come before libc's: a sanitizer calls them before it is ready for code of its own. */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SUITE_PRAGMA(text) _Pragma(#text)
#define NOT_SANITIZED_BEGIN                                                                                            \
    SUITE_PRAGMA(                                                                                                      \
        clang attribute push(__attribute__((no_sanitize("address", "undefined", "thread"))), apply_to = function))
#define NOT_SANITIZED_END _Pragma("clang attribute pop")
#else
#define NOT_SANITIZED_BEGIN
#define NOT_SANITIZED_END
#endif

/* False under the sanitizers and valgrind: they make mappings of their own, all the time, and end the program where they
 * get none. The latter shows itself by what it preloads. */
static inline bool mappings_are_ours(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer) &&
           (preloaded == NULL || strstr(preloaded, "/vgpreload_") == NULL);
}

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* For loops and threads: Check writes to a file, under a lock, for each ck_assert that is met. */
#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            ck_abort_msg("'%s' is not so", #condition);                                                                \
        }                                                                                                              \
    } while (0)

/* For what the idle thread may still be at. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        for (int tries_ = 0; tries_ < 1000 && !(condition); tries_++) {                                                \
            usleep(10000);                                                                                             \
        }                                                                                                              \
        REQUIRE(condition);                                                                                            \
    } while (0)

/* fork(), and the end of its child without handlers. Where coverage is measured, what the child takes counts, from the
 * handlers of fork() on: the compiler would forget those where it sees the call. */
static pid_t (*volatile const suite_fork)(void) = fork;
extern void __gcov_dump(void) __attribute__((weak));
static inline __attribute__((noreturn)) void suite_leave(int status)
{
    if (__gcov_dump != NULL) {
        __gcov_dump();
    }
    _exit(status);
}

static inline int suite_run(const char *name, TCase *tests)
{
    Suite *suite = suite_create(name);
    tcase_set_timeout(tests, 120); /* far above what any test takes: only a hang meets it */
    suite_add_tcase(suite, tests);
    /* Options come from each test alone: the caller's, and the names that scripts/test sets, would be complained of. */
    for (char **entry = environ; *entry != NULL;) {
        char variable[64] = "";
        if (sscanf(*entry, "%63[A-Z_0-9]", variable) == 1 && strncmp(variable, "PINTENSOR_", 10) == 0) {
            unsetenv(variable); /* the rest moves down */
        } else {
            entry++;
        }
    }
    setenv("PINTENSOR_REPORT", "/dev/null", 1);
    setenv("FAKE_CUDA_PATIENCE", "0", 1); /* no test gives a registration back while the device is busy, unless it says so */
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}

/* A number that the kernel tells of this process; `key` with its colon. */
static inline size_t status_number(const char *key)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    size_t number = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            number = strtoul(line + strlen(key), NULL, 10);
        }
    }
    fclose(f);
    return number;
}

/* Bytes that are locked. */
static inline size_t vmlck(void)
{
    return status_number("VmLck:") * KIB;
}

static inline size_t threads_now(void)
{
    return status_number("Threads:");
}

static inline size_t mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    size_t lines = 0;
    for (int c; (c = getc(f)) != EOF;) {
        lines += c == '\n';
    }
    fclose(f);
    return lines;
}

/* From here on only RLIMIT_MEMLOCK says how much may be locked, also for root. */
static inline void limit_memlock(size_t soft, size_t hard)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    ck_assert_int_eq(syscall(SYS_capget, &header, caps), 0);
    caps[0].effective &= ~(1u << CAP_IPC_LOCK);
    caps[0].permitted &= ~(1u << CAP_IPC_LOCK);
    ck_assert_int_eq(syscall(SYS_capset, &header, caps), 0);
    struct rlimit limit = {soft, hard};
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

/* What the tests of a suite lock at most; a suite that this machine cannot run says so and counts as skipped. */
static inline void need_lockable(size_t bytes)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            (void)setrlimit(RLIMIT_MEMLOCK, &limit);
        }
        char *p = aligned_alloc(4096, bytes);
        _exit(p != NULL && syscall(SYS_mlock, p, bytes) == 0 ? 0 : 1);
    }
    int status;
    (void)waitpid(child, &status, 0);
    if (status != 0) {
        printf("SKIP: this machine does not let a process lock %zu MiB (ulimit -l unlimited)\n", bytes / MIB);
        exit(77);
    }
}

/* Stderr from here on goes to a file, whose text suite_stderr() gives. */
static int suite_stderr_file = -1;

static inline void catch_stderr(void)
{
    char name[] = "/tmp/pintensor-check-XXXXXX";
    suite_stderr_file = mkstemp(name);
    ck_assert_int_ge(suite_stderr_file, 0);
    unlink(name);
    dup2(suite_stderr_file, STDERR_FILENO);
    pt_log_remember();
}

static inline const char *suite_stderr(void)
{
    static char text[65536];
    ssize_t n = pread(suite_stderr_file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static inline unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++) {
        lines++;
    }
    return lines;
}

/* Runs `fn` in a forked child; true if it came to its end with every assertion met. */
static inline bool child_does(void (*fn)(void))
{
    pid_t child = suite_fork();
    if (child == 0) {
        fn();
        suite_leave(0);
    }
    int status;
    (void)waitpid(child, &status, 0);
    return status == 0;
}

#endif
