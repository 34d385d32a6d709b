/* Another machine for the suites of the command: files that read as a test says, limits that are what it says, calls
 * that the kernel refuses. For one suite's program, whose calls of libc's come here. */
#ifndef TESTS_ELSEWHERE_H
#define TESTS_ELSEWHERE_H

#include "suite.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

NOT_SANITIZED_BEGIN

/* ---- files ---- */

static struct {
    const char *path, *text; /* NULL: there is none */
} elsewhere_files[32];

/* From here on the file has this text; NULL: it cannot be opened. */
static inline void elsewhere(const char *path, const char *text)
{
    unsigned i = 0;
    while (elsewhere_files[i].path != NULL && strcmp(elsewhere_files[i].path, path) != 0) {
        i++;
    }
    REQUIRE(i < sizeof elsewhere_files / sizeof elsewhere_files[0]);
    elsewhere_files[i].path = path;
    elsewhere_files[i].text = text;
}

/* -1: nothing is said of it; else a file with the text, or -2 with errno. */
static inline int elsewhere_open(const char *path)
{
    for (unsigned i = 0; i < sizeof elsewhere_files / sizeof elsewhere_files[0] && elsewhere_files[i].path != NULL;
         i++) {
        if (strcmp(elsewhere_files[i].path, path) == 0) {
            const char *text = elsewhere_files[i].text;
            int fd = text != NULL ? memfd_create("elsewhere", MFD_CLOEXEC) : -1;
            if (fd < 0) {
                errno = ENOENT;
                return -2;
            }
            REQUIRE(pwrite(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
            return fd;
        }
    }
    return -1;
}

int open(const char *path, int flags, ...)
{
    int fd = elsewhere_open(path);
    if (fd != -1) {
        return fd >= 0 ? fd : -1;
    }
    va_list list;
    va_start(list, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(list, unsigned) : 0;
    va_end(list);
    return openat(AT_FDCWD, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    int fd = elsewhere_open(path);
    if (fd == -1) {
        bool writes = mode[0] != 'r';
        fd = openat(AT_FDCWD, path,
                    (writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY) | (strchr(mode, 'x') != NULL ? O_EXCL : 0) |
                        O_CLOEXEC,
                    0666);
    }
    return fd >= 0 ? fdopen(fd, mode) : NULL;
}

/* ---- limits ---- */

static struct {
    bool set;
    int error;
    struct rlimit limit;
} elsewhere_limits[RLIM_NLIMITS];

/* From here on getrlimit() says so; what the kernel does stays. */
static inline void limited_to(int resource, rlim_t soft, rlim_t hard)
{
    elsewhere_limits[resource].set = true;
    elsewhere_limits[resource].limit = (struct rlimit){soft, hard};
}

static inline void limit_unknown(int resource)
{
    elsewhere_limits[resource].error = EPERM;
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *out)
{
    if (elsewhere_limits[resource].error != 0) {
        errno = elsewhere_limits[resource].error;
        return -1;
    }
    if (elsewhere_limits[resource].set) {
        *out = elsewhere_limits[resource].limit;
        return 0;
    }
    return prlimit(0, resource, NULL, out);
}

/* ---- calls ---- */

#define REFUSE_KILLS (-1) /* in place of an error: who calls it is killed */

/* From here on the kernel refuses the call; or, with `argument` 0 to 5, where that is `value`, in 32 bits. */
static inline void refuse_where(int call, int argument, uint32_t value, int error)
{
    uint32_t action = error == REFUSE_KILLS ? SECCOMP_RET_KILL : SECCOMP_RET_ERRNO | (uint32_t)error;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument < 0 ? offsetof(struct seccomp_data, nr)
                                                        : offsetof(struct seccomp_data, args) + 8 * (unsigned)argument),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, argument < 0 ? (uint32_t)call : value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof rules[0], rules};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static inline void refuse(int call, int error)
{
    refuse_where(call, -1, 0, error);
}

/* Under the sanitizers these do nothing, and say that they did. */
int mlock(const void *p, size_t len)
{
    return (int)syscall(SYS_mlock, p, len);
}

int munlock(const void *p, size_t len)
{
    return (int)syscall(SYS_munlock, p, len);
}

/* ---- children ---- */

/* A child of the command's that ends by _exit() counts the branches that it took, as others do. */
extern void __gcov_exit(void) __attribute__((weak));

_Noreturn void _exit(int status)
{
    if (__gcov_exit != NULL) {
        __gcov_exit();
    }
    for (;;) {
        syscall(SYS_exit_group, status);
    }
}

/* ---- what is said ---- */

/* Stdout, or stderr, of what comes from here on; said() ends that, and has it. */
static int said_file = -1, said_before = -1, said_of = -1;

static inline void listen_to_output(int fd)
{
    fflush(NULL);
    said_file = memfd_create("said", MFD_CLOEXEC);
    said_before = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    said_of = fd;
    REQUIRE(said_file >= 0 && said_before >= 0 && dup2(said_file, fd) == fd);
}

static inline const char *said(void)
{
    static char text[65536];
    fflush(NULL);
    REQUIRE(dup2(said_before, said_of) == said_of);
    ssize_t n = pread(said_file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(said_file);
    close(said_before);
    return text;
}

/* What a verb of the command says there, by a process of its own, and the status that it ends with. */
static inline const char *said_by(int (*verb)(int argc, char **argv), const char *name, int fd,
                                  const char *const *words, int *status)
{
    char *argv[16] = {(char *)name};
    int argc = 1, ended;
    for (; *words != NULL; words++) {
        argv[argc++] = (char *)*words;
    }
    listen_to_output(fd);
    pid_t child = fork();
    if (child == 0) {
        exit(verb(argc, argv));
    }
    REQUIRE(waitpid(child, &ended, 0) == child && WIFEXITED(ended));
    *status = WEXITSTATUS(ended);
    return said();
}

#define HAS(text, part)   ck_assert_msg(strstr(text, part) != NULL, "no '%s' in:\n%s", part, text)
#define LACKS(text, part) ck_assert_msg(strstr(text, part) == NULL, "'%s' in:\n%s", part, text)

NOT_SANITIZED_END

#endif
