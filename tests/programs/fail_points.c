/* Lets each kind of kernel call that the library makes fail: at its k-th use, once and from then on. What has to hold:
 * no crash, no hang, contents kept, each call does its work or says what is wrong, and what is locked at the end is
 * what is counted, which is nothing where unlocking worked.
 *
 * usage: fail_points [cuda LIBCUDA] [each]      each: at every use, not at some
 *        fail_points limit BYTES                the same calls, where no more than that may be mlocked
 *
 * A child runs the scenario under a seccomp filter that asks its parent about each call of these kinds. */
#include <dlfcn.h>
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pintensor.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What may fail in a process that is otherwise well. Left out: what libc itself cannot do without (futex, signals'
 * masks), and calls that never fail (getpid). */
static const struct kind {
    const char *name;
    int number, error;
} kinds[] = {
#define K(name, error)                                                                                                 \
    {                                                                                                                  \
#name, SYS_##name, error                                                                                       \
    }
    K(mmap, ENOMEM),
    K(munmap, ENOMEM),
    K(mprotect, ENOMEM),
    K(mremap, ENOMEM),
    K(madvise, EINVAL),
    K(mlock, ENOMEM),
    K(mlock2, ENOSYS),
    K(munlock, ENOMEM),
    K(mincore, ENOSYS),
    K(brk, ENOMEM),
    K(prlimit64, EPERM),
    K(openat, EACCES),
    K(open, EACCES),
    K(read, EIO),
    K(pread64, EIO),
    K(write, EPIPE),
    K(writev, EPIPE),
    K(fstat, EBADF),
    K(newfstatat, EACCES),
    K(fcntl, EBADF),
    K(dup, EMFILE),
    K(poll, ENOMEM),
    K(ppoll, ENOMEM),
    K(lseek, EINVAL),
    K(clone, EAGAIN),
    K(clone3, ENOSYS),
    K(sched_getaffinity, EPERM),
    K(sched_setscheduler, EPERM),
    K(process_vm_readv, EPERM),
    K(getrandom, ENOSYS),
    K(memfd_create, ENOSYS),
    K(membarrier, ENOSYS),
    K(prctl, EINVAL),
    K(sysinfo, ENOSYS),
    K(getcwd, ENOENT),
    K(readlink, EACCES),
    K(clock_nanosleep, EINTR),
    K(set_mempolicy, ENOSYS),
    K(get_mempolicy, ENOSYS),
    K(ftruncate, ENOSPC),
    K(fallocate, ENOSPC),
#undef K
};
enum { LEFT = 4 << 20 /* of the small region's chunks one may stay */ };
enum { KINDS = sizeof kinds / sizeof kinds[0], MARK = SYS_getpgrp /* tells the parent: from here on, or up to here */ };

/* ---- the scenario: some 200 calls ---- */

enum { PLACES = 64 };
static struct place {
    pintensor_block block;
    unsigned char fill;
} places[PLACES];
static pintensor_manager manager;
static unsigned refused, done;
static bool limited;

static void wrong(const char *what)
{
    fprintf(stderr, "WRONG: %s (%s)\n", what, pintensor_last_error());
    _exit(3);
}

static void look(const struct place *p)
{
    const unsigned char *bytes = p->block.data;
    for (size_t i = 0; i < p->block.bytes; i += 509) {
        if (bytes[i] != p->fill) {
            wrong("a block has lost its contents");
        }
    }
}

static void pin(struct place *p, size_t bytes, unsigned char fill)
{
    if (p->block.data != NULL) {
        look(p);
        if (pintensor_free_block(manager, &p->block) != 0) {
            wrong("a block that was alive cannot be freed");
        }
        p->block = (pintensor_block){0};
    }
    int error = bytes > 0 ? pintensor_alloc(manager, bytes, &p->block) : 0;
    if (error != 0) {
        p->block = (pintensor_block){0};
        refused++;
        if (error >= 0 || pintensor_last_error()[0] == '\0') {
            wrong("refused without a word");
        }
    } else if (bytes > 0) {
        done++;
        memset(p->block.data, p->fill = fill, bytes);
        if (!pintensor_is_managed(p->block.data, bytes)) {
            wrong("a live block is not known");
        }
    }
}

static void *of_thread(void *first)
{
    struct place *p = first;
    for (unsigned i = 0; i < 40; i++) {
        pin(&p[i % 8], 3000 + i % 5 * 40000, (unsigned char)(i + 1));
    }
    return NULL;
}

static void child_pins(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct place own = {0};
        manager = pintensor_manager_create();
        pin(&own, 100000, 7);
        pin(&own, 0, 0);
        _exit(0);
    }
    int status = 0;
    if (child > 0 && (waitpid(child, &status, 0) != child || status != 0)) {
        wrong("a forked child did not end well");
    }
}

static void scenario(void)
{
    static const size_t sizes[] = {100, 4096, 20000, 1 << 20, 700, 300000, 5 << 20, 64, 17 << 20, 13000};
    manager = pintensor_manager_create();
    for (unsigned i = 0; i < 60; i++) {
        pin(&places[i % 24], sizes[i % 10] + i, (unsigned char)(i + 1));
    }
    pthread_t thread;
    bool runs = pthread_create(&thread, NULL, of_thread, &places[32]) == 0;
    for (unsigned i = 0; i < 30; i++) {
        pin(&places[24 + i % 8], sizes[9 - i % 10], (unsigned char)(i + 3));
    }
    if (runs) {
        pthread_join(thread, NULL);
    }
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)pintensor_report(null);
    close(null);
    child_pins();
    for (unsigned i = 0; i < 24; i += 2) {
        pin(&places[i], 0, 0);
    }
    (void)pintensor_trim();
    usleep(30000); /* PINTENSOR_IDLE=0: the background thread has its turn */
    for (unsigned i = 0; i < 24; i++) {
        pin(&places[i], sizes[i % 10] * 2, (unsigned char)(i + 9));
    }
    pintensor_stats stats;
    pintensor_get_stats(&stats, sizeof stats);
    for (unsigned i = 0; i < PLACES; i++) {
        pin(&places[i], 0, 0);
    }
    (void)pintensor_trim();
}

static size_t locked_by_kernel(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *line = strstr(text, "VmLck:");
    return line != NULL ? strtoul(line + 6, NULL, 10) * 1024 : 0;
}

static int run_scenario(const char *libcuda)
{
    if (libcuda != NULL) {
        void *library = dlopen(libcuda, RTLD_NOW);
        void (*begin)(int) = library != NULL ? (void (*)(int))dlsym(library, "fake_start") : NULL;
        if (begin == NULL) {
            wrong("no fake driver");
        }
        begin(0);
    }
    syscall(MARK);
    scenario();
    syscall(MARK);
    /* Everything works again. What could not be unlocked before can be now. */
    struct place last = {0};
    bool off = manager == 0;
    pin(&last, 3 << 20, 5);
    if (last.block.data == NULL && !off && !limited) {
        wrong("nothing works any more");
    }
    pin(&last, 0, 0);
    pintensor_stats stats;
    size_t locked;
    unsigned tries = 0;
    do { /* the background thread may be at it */
        (void)pintensor_trim();
        usleep(10000);
        pintensor_get_stats(&stats, sizeof stats);
        locked = locked_by_kernel();
    } while ((locked > stats.locked_bytes || stats.locked_bytes > LEFT) && ++tries < 200);
    if (stats.live_blocks != 0 || locked > stats.locked_bytes || stats.locked_bytes > LEFT) {
        fprintf(stderr, "live %llu, counted as locked %llu, locked %zu\n", (unsigned long long)stats.live_blocks,
                (unsigned long long)stats.locked_bytes, locked);
        wrong("what is locked is not what is counted, or too much");
    }
    return done > 0 || refused > 0 ? 0 : 4;
}

/* From here on the limit counts, also for root. */
static void limit_memlock(size_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    struct rlimit limit = {bytes, bytes};
    limited = true;
    if (syscall(SYS_capget, &header, caps) != 0) {
        wrong("no capabilities to look at");
    }
    caps[0].effective &= ~(1u << CAP_IPC_LOCK);
    caps[0].permitted &= ~(1u << CAP_IPC_LOCK);
    if (syscall(SYS_capset, &header, caps) != 0 || setrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        wrong("no limit can be set");
    }
}

/* ---- the supervisor ---- */

static int install(void)
{
    struct sock_filter code[KINDS + 8];
    unsigned n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i <= KINDS; i++) {
        unsigned number = i < KINDS ? (unsigned)kinds[i].number : (unsigned)MARK;
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, (unsigned char)(KINDS - i + 1), 0);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {(unsigned short)n, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -1;
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static bool pass(int socket, int fd)
{
    char byte = 0, space[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    return sendmsg(socket, &message, 0) == 1;
}

static int receive(int socket)
{
    int fd = -1;
    char byte, space[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL) {
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    }
    return fd;
}

struct plan {
    int kind; /* -1: nothing fails */
    unsigned first;
    bool on;
};

/* Answers the child's calls until it is gone. Returns false if it hung. */
static bool answer(int listener, pid_t child, const struct plan *plan, unsigned uses[KINDS])
{
    bool armed = false;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        struct pollfd wait = {.fd = listener, .events = POLLIN};
        int ready = poll(&wait, 1, 100);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec > 60) {
            return false;
        }
        siginfo_t ended = {0};
        if (ready <= 0 || (wait.revents & POLLIN) == 0) {
            if ((wait.revents & POLLHUP) != 0 ||
                (waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == child)) {
                return true;
            }
            continue;
        }
        struct seccomp_notif asked;
        memset(&asked, 0, sizeof asked);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
            continue; /* a signal came in between, or the thread is gone */
        }
        struct seccomp_notif_resp answer = {.id = asked.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        armed ^= asked.data.nr == MARK;
        for (int i = 0; i < KINDS && armed; i++) {
            if (asked.data.nr == kinds[i].number) {
                uses[i]++;
                if (i == plan->kind && (plan->on ? uses[i] >= plan->first : uses[i] == plan->first)) {
                    answer.flags = 0;
                    answer.error = -kinds[i].error;
                }
            }
        }
        (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

/* Returns the child's status as waitpid() gives it, -1 if it hung, -2 if there is no such filter here. */
static int run(const char *libcuda, const struct plan *plan, unsigned uses[KINDS])
{
    int sockets[2], status = -1;
    memset(uses, 0, KINDS * sizeof uses[0]);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        return -2;
    }
    pid_t child = fork();
    if (child == 0) {
        close(sockets[0]);
        int listener = install();
        if (listener < 0 || !pass(sockets[1], listener)) {
            _exit(77);
        }
        /* A fresh program, for which the filter was always there: else it would be the program's own sandbox to the
         * library, in which that does less. */
        syscall(SYS_close, listener);
        execl("/proc/self/exe", "fail_points", "scenario", libcuda, (char *)NULL);
        _exit(77);
    }
    close(sockets[1]);
    int listener = receive(sockets[0]);
    close(sockets[0]);
    bool ended = listener < 0 || answer(listener, child, plan, uses);
    if (!ended) {
        kill(child, SIGKILL);
    }
    close(listener);
    waitpid(child, &status, 0);
    return !ended ? -1 : listener < 0 ? -2 : status;
}

/* Every use, or the first ones and some of the rest. */
static unsigned next(unsigned k, unsigned uses, bool each)
{
    return each || k < 4 ? k + 1 : k + 1 + uses / 6;
}

int main(int argc, char **argv)
{
    int status;
    setenv("PINTENSOR_IDLE", "0", 1);
    setenv("PINTENSOR_REPORT", "/dev/null", 1);
    const char *libcuda = argc > 2 && strcmp(argv[1], "cuda") == 0 ? argv[2] : NULL;
    if (argc > 1 && strcmp(argv[1], "scenario") == 0) {
        return run_scenario(argc > 2 ? argv[2] : NULL);
    }
    if (argc == 3 && strcmp(argv[1], "limit") == 0) {
        limit_memlock(strtoul(argv[2], NULL, 10));
        status = run_scenario(NULL);
        printf("%u blocks, %u refused\n", done, refused);
        return status;
    }
    bool each = argc > 1 && strcmp(argv[argc - 1], "each") == 0;
    unsigned uses[KINDS], used[KINDS], runs = 0, wrongs = 0, seen = 0;
    status = run(libcuda, &(struct plan){.kind = -1}, used);
    if (status == -2) {
        printf("SKIP: this kernel or sandbox has no seccomp filter that asks (Linux 5.5)\n");
        return 77;
    }
    if (status != 0) {
        printf("WRONG: the scenario does not end well by itself (status 0x%x)\n", (unsigned)status);
        return 1;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        seen += used[kind] > 0;
        for (unsigned k = 1; k <= used[kind]; k = next(k, used[kind], each)) {
            for (int on = 0; on <= 1; on++) {
                struct plan plan = {kind, k, on != 0};
                status = run(libcuda, &plan, uses);
                runs++;
                if (status != 0) {
                    wrongs++;
                    printf("WRONG: %s fails at use %u of %u%s: status 0x%x\n", kinds[kind].name, k, used[kind],
                           on ? " and from then on" : "", (unsigned)status);
                    fflush(stdout);
                }
            }
        }
    }
    printf("%u kinds of call are made, %u runs, %u wrong\n", seen, runs, wrongs);
    return wrongs > 0;
}
