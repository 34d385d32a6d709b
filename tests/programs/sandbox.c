/* A program that forbids itself all but what a loop of allocations needs, and is killed for anything else: sandbox HOW.
 * What is freed waits, and the program ends. HOW: "late": once it has pinned, so that a thread is there that gives what
 * waits back; "early": before; "closes": late, and it has closed what it does not know, and has a file of its own under
 * every number, whose name is printed first; "thread": early, and the first block is made by a thread that is not the
 * first; "refused": late, and more is asked for than may be locked; "forks", "forks early": it may fork besides, and a
 * child that it makes then pins; early: the program itself never does. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pintensor.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES ((size_t)64 << 20)

static const int allowed[] = {
    /* memory and threads */
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_mlock, SYS_mlock2, SYS_munlock, SYS_futex, SYS_gettid,
    SYS_getpid, SYS_exit, SYS_exit_group, SYS_sched_yield, SYS_rseq, SYS_set_robust_list, SYS_membarrier, SYS_getrandom,
    /* open files */
    SYS_read, SYS_write, SYS_pread64, SYS_lseek, SYS_fstat, SYS_newfstatat, SYS_poll, SYS_close,
    /* time and signals */
    SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn,
    SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_restart_syscall};

static const int of_forks[] = {SYS_clone, SYS_wait4};
static bool may_fork;

static int allow_only_these(void)
{
    enum { COUNT = sizeof allowed / sizeof allowed[0], FORKS = sizeof of_forks / sizeof of_forks[0] };
    struct sock_filter code[2 * (COUNT + FORKS) + 2];
    unsigned n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; may_fork && i < FORKS; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)of_forks[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {(unsigned short)n, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0; /* every thread */
}

static uint64_t waiting(void)
{
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    return s.cached_bytes;
}

/* Every number that was open is the user's now. */
static void close_all(void)
{
    char name[] = "/tmp/pintensor-sandbox-XXXXXX";
    int own = mkstemp(name);
    puts(name);
    fflush(stdout);
    for (int fd = 3; fd < 1024; fd++) {
        if (fd != own && fcntl(fd, F_GETFD) >= 0) {
            dup2(own, fd);
        }
    }
}

static bool come_and_go(pintensor_manager manager, unsigned times)
{
    pintensor_block b;
    bool fine = true;
    for (unsigned i = 0; i < times && fine; i++) {
        fine = pintensor_alloc(manager, BYTES, &b) == 0 && pintensor_free(manager, b.data) == 0;
    }
    return fine;
}

static pthread_barrier_t sandboxed;

static void *first_block(void *fine)
{
    pintensor_block b;
    pthread_barrier_wait(&sandboxed);
    *(bool *)fine = pintensor_alloc(pintensor_manager_create(), 100, &b) == 0;
    return NULL;
}

static int by_a_thread(void)
{
    pthread_t t;
    bool fine = false;
    pthread_barrier_init(&sandboxed, NULL, 2);
    if (pthread_create(&t, NULL, first_block, &fine) != 0 || allow_only_these() != 0) {
        return 97;
    }
    pthread_barrier_wait(&sandboxed);
    pthread_join(t, NULL);
    return fine ? 3 : 96;
}

static int refused(void)
{
    pintensor_manager manager = pintensor_manager_create();
    pintensor_block b;
    if (pintensor_alloc(manager, 65536, &b) != 0 || allow_only_these() != 0) {
        return 97;
    }
    if (pintensor_alloc(manager, (size_t)1 << 30, &b) == 0) {
        return 96;
    }
    puts(pintensor_last_error());
    return 3;
}

static int a_child_pins(bool so_does_the_parent)
{
    int status = 0;
    pintensor_block b;
    may_fork = true;
    if ((so_does_the_parent && !come_and_go(pintensor_manager_create(), 1)) || allow_only_these() != 0) {
        return 97;
    }
    pid_t child = fork();
    if (child == 0) {
        pintensor_manager manager = pintensor_manager_create();
        exit(pintensor_alloc(manager, 100, &b) == 0 && come_and_go(manager, 100) ? 3 : 96);
    }
    return waitpid(child, &status, 0) != child || !WIFEXITED(status) ? 95 : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    const char *how = argv[argc - 1];
    if (strncmp(how, "forks", 5) == 0) {
        return a_child_pins(strcmp(how, "forks") == 0);
    }
    bool early = strcmp(argv[argc - 1], "early") == 0;
    if (strcmp(argv[argc - 1], "thread") == 0) {
        return by_a_thread();
    }
    if (strcmp(argv[argc - 1], "refused") == 0) {
        return refused();
    }
    pintensor_manager manager = early ? 0 : pintensor_manager_create();
    if (!early && !come_and_go(manager, 1)) {
        return 98;
    }
    if (strcmp(argv[argc - 1], "closes") == 0) {
        close_all();
    }
    if (allow_only_these() != 0) {
        return 97;
    }
    manager = early ? pintensor_manager_create() : manager;
    if (!come_and_go(manager, early ? 1001 : 1000)) {
        return 96;
    }
    for (unsigned i = 0; i < 1000 && waiting() > 0 && !early; i++) {
        usleep(10000);
    }
    return waiting() > 0 && !early ? 94 : 3;
}
