#include "cli/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the program has to find as it would without us. */
struct before {
    sigset_t mask;
    struct sigaction child;
};

static _Noreturn void start(char **argv, const struct before *before, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* who kills this command means the program */
    if (getppid() != parent) {
        _exit(125);
    }
    (void)sigaction(SIGCHLD, &before->child, NULL);
    (void)sigprocmask(SIG_SETMASK, &before->mask, NULL);
    execvp(argv[0], argv);
    int error = errno;
    fprintf(stderr, "pintensor: cannot run %s: %s\n", argv[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126);
}

/* A reader waits until every writer of its pipe has closed it, and a lock is held by whoever has the file. */
static void let_go_of_files(void)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing >= 0) {
        (void)dup2(nothing, STDIN_FILENO);
        (void)dup2(nothing, STDOUT_FILENO);
    }
    DIR *open_ones =
        opendir("/proc/self/fd"); /* close_range() is newer than the kernels and the libcs that we run on */
    for (struct dirent *entry; open_ones != NULL && (entry = readdir(open_ones)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (fd > STDERR_FILENO && fd != dirfd(open_ones)) {
            (void)close(fd);
        }
    }
    if (open_ones != NULL) {
        closedir(open_ones);
    }
}

/* The parent of a process; 0 if it is gone. */
static pid_t parent_of(pid_t pid)
{
    char path[64];
    int parent = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f != NULL) {
        char line[512] = "";
        char *name_end = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
        if (name_end == NULL || sscanf(name_end, ") %*c %d", &parent) != 1) {
            parent = 0;
        }
        fclose(f);
    }
    return parent;
}

/* Whether a process of the program sent it: to the whole group, most likely, which the program is in too. */
static bool comes_from(pid_t program, pid_t sender)
{
    for (int most = 64; sender > 1 && most > 0; most--) {
        if (sender == program) {
            return true;
        }
        sender = parent_of(sender);
    }
    return false;
}

/* What the kernel sends because of the terminal it sends to the group, so the program has it. What others send is for
 * the program, unless it comes from there. A timer outlives exec, and is this process's alone. */
static bool is_for(pid_t program, const siginfo_t *info)
{
    switch (info->si_code) {
    case SI_KERNEL: return info->si_signo == SIGALRM || info->si_signo == SIGVTALRM || info->si_signo == SIGPROF;
    case SI_USER:
    case SI_TKILL:
    case SI_QUEUE: return !comes_from(program, info->si_pid);
    default: return false;
    }
}

static void pass_on(pid_t program, const siginfo_t *info)
{
    if (info->si_code == SI_QUEUE) {
        (void)sigqueue(program, info->si_signo, info->si_value);
    } else {
        (void)kill(program, info->si_signo);
    }
}

static bool is_stop(int signal)
{
    return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* Stops like the program, so that the shell sees it; comes back when somebody lets us go on. */
static void stop_too(int signal)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    (void)kill(getpid(), signal);
    (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
    (void)sigprocmask(SIG_BLOCK, &one, NULL);
}

/* All signals of the set are blocked, and come here one after the other. */
static int watch(pid_t program, const sigset_t *signals)
{
    int asked = 0; /* the signal by which we were told to stop too: who stops the program alone does not mean us */
    bool stopped = false;
    for (;;) {
        siginfo_t info;
        int status;
        if (sigwaitinfo(signals, &info) < 0) {
            continue; /* interrupted: stopped, and let go on */
        }
        if (info.si_signo != SIGCHLD) {
            asked = is_stop(info.si_signo) ? info.si_signo : info.si_signo == SIGCONT ? 0 : asked;
            if (is_for(program, &info)) {
                pass_on(program, &info);
            }
        }
        pid_t got;
        /* All children: the first process of a container is given others' orphans. */
        while ((got = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
            if (got != program) {
                continue;
            }
            if (WIFEXITED(status) || WIFSIGNALED(status)) {
                return status;
            }
            stopped = WIFSTOPPED(status);
        }
        if (got < 0 && errno == ECHILD) {
            return 125 << 8; /* somebody else reaped it, which cannot be */
        }
        if (stopped && asked != 0) {
            stop_too(asked);
            asked = 0;
            stopped = false;
        }
    }
}

int pt_program_run(char **argv, struct pt_program *program)
{
    struct before before;
    sigset_t signals;
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGXCPU, SIGXFSZ, SIGPIPE};
    sigfillset(&signals);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&signals, faults[i]);
    }
    (void)sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &before.child);
    (void)sigprocmask(SIG_BLOCK, &signals, &before.mask);
    pid_t parent = getpid();
    program->pid = fork();
    if (program->pid < 0) {
        return -errno;
    }
    if (program->pid == 0) {
        start(argv, &before, parent);
    }
    let_go_of_files();
    (void)signal(SIGPIPE, SIG_IGN);
    program->status = watch(program->pid, &signals);
    return 0;
}

_Noreturn void pt_program_end_as(const struct pt_program *program)
{
    int status = program->status;
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        sigset_t one;
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the program's core is the one that tells something */
        (void)prctl(PR_SET_DUMPABLE, 0);
        (void)signal(number, SIG_DFL);
        sigemptyset(&one);
        sigaddset(&one, number);
        (void)kill(getpid(), number);
        (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
        _exit(128 + number);
    }
    exit(WEXITSTATUS(status));
}
