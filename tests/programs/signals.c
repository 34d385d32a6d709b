/* Pins one block and ends by a signal, or does not: signals HOW [SIGNAL]. The library is found as a preloaded one is,
 * by name. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int argument;

static void *pin(size_t bytes, bool free_it)
{
    static pintensor_manager (*create)(void);
    static int (*alloc)(pintensor_manager, size_t, pintensor_block *);
    static int (*give_back)(pintensor_manager, void *);
    static pintensor_manager manager;
    pintensor_block b = {0};
    if (create == NULL) {
        create = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
        alloc = (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
        give_back = (int (*)(pintensor_manager, void *))dlsym(RTLD_DEFAULT, "pintensor_free");
        manager = create != NULL ? create() : 0;
    }
    if (create == NULL) {
        return NULL; /* stock */
    }
    if (alloc(manager, bytes, &b) != 0) {
        fputs("nothing is pinned\n", stderr);
    } else if (free_it) {
        give_back(manager, b.data);
    }
    return b.data;
}

static int wait_for(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int by_kill(void)
{
    kill(getpid(), argument);
    while (argument != 0) {
        pause();
    }
    return 1;
}

static int by_raise(void)
{
    raise(argument);
    return 1;
}

static volatile int zero;

static int by_fault(void)
{
    switch (argument) {
    case SIGSEGV: *(volatile char *)16 = 1; break;
    case SIGBUS: {
        volatile char *past = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd_create("empty", 0), 0);
        return *past;
    }
    case SIGFPE: return 1000 / zero;
    case SIGILL: __asm__ volatile("ud2"); break;
    }
    return 1;
}

/* The heap's own check ends in libc's abort, not in the door. */
static int by_heap(void)
{
    char *p = malloc(100);
    char *volatile again = p;
    free(p);
    free(again);
    return 1;
}

static void *wait_in_thread(void *unused)
{
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    for (;;) {
        pause();
    }
    return unused;
}

static int in_thread_of(size_t stack)
{
    sigset_t all;
    pthread_t t;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (stack != 0) {
        pthread_attr_setstacksize(&attributes, stack);
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_create(&t, &attributes, wait_in_thread, NULL);
    kill(getpid(), argument);
    pthread_join(t, NULL);
    return 1;
}

static int in_thread(void)
{
    return in_thread_of(0);
}

static int in_small_thread(void)
{
    return in_thread_of(16384);
}

static void *spin(void *unused)
{
    sigset_t none;
    sigemptyset(&none);
    while (argument != 0) {
        pthread_sigmask(SIG_SETMASK, &none, NULL); /* no point where a thread that was cancelled ends */
    }
    return unused;
}

static int in_cancelled_thread(void)
{
    sigset_t all;
    pthread_t t;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_create(&t, NULL, spin, NULL);
    pthread_cancel(t);
    kill(getpid(), argument);
    pthread_join(t, NULL);
    return 1;
}

static __attribute__((noinline)) int fall(int depth)
{
    volatile char many[512];
    many[depth % 512] = (char)depth;
    return depth < 0 ? 0 : fall(depth + 1) + many[(depth + 1) % 512];
}

static int by_overrun_alone(void)
{
    return fall(0);
}

static int by_overrun(void)
{
    static char other[8192];
    sigaltstack(&(stack_t){.ss_sp = other, .ss_size = sizeof other}, NULL);
    return fall(0);
}

static void *allocate(void *unused)
{
    for (size_t bytes = 100;; bytes = bytes * 5 % 300007 + 1) {
        pin(bytes, true);
    }
    return unused;
}

static int while_allocating(void)
{
    pthread_t t;
    pthread_create(&t, NULL, allocate, NULL);
    if (fork() == 0) {
        usleep(20000);
        kill(getppid(), argument);
        _exit(0);
    }
    allocate(NULL);
    return 1;
}

static int several_at_once(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&t[i], NULL, wait_in_thread, NULL);
    }
    if (fork() == 0) {
        for (int i = 0; i < 100; i++) {
            kill(getppid(), argument);
        }
        _exit(0);
    }
    wait_in_thread(NULL);
    return 1;
}

static int suicide(void *unused)
{
    (void)unused;
    raise(argument);
    _exit(9);
}

static int children(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    pid_t child = fork();
    if (child == 0) {
        suicide(NULL);
    }
    printf("forked %d\n", wait_for(child));
    child = clone(suicide, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    printf("vforked %d\n", wait_for(child));
    fflush(stdout);
    if ((child = fork()) == 0) {
        pin(1 << 16, false);
        suicide(NULL);
    }
    printf("pinning %d\n", wait_for(child));
    printf("system %d\n", system("kill -TERM $$"));
    return 0;
}

/* 4: it may be sent no more signals. */
static int goes_on(void)
{
    sigset_t blocked;
    for (int i = 0; i < 3; i++) {
        raise(argument);
    }
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    return sigisemptyset(&blocked) ? 3 : 4;
}

static int first_of_a_namespace(void)
{
    if (unshare(CLONE_NEWPID) != 0) {
        return 77;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(goes_on());
    }
    return wait_for(child);
}

static void leave_with_7(int sig)
{
    (void)sig;
    _exit(7);
}

static int own_handler_later(void)
{
    signal(argument, leave_with_7);
    raise(argument);
    return 1;
}

static void once_more(int sig)
{
    signal(sig, SIG_DFL);
    raise(sig);
}

/* As programs do that clean up, and then end as if they had not. */
static int back_to_default(void)
{
    signal(argument, once_more);
    raise(argument);
    return 1;
}

static int waits_for_it(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, argument);
    sigprocmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), argument);
    return sigwaitinfo(&one, NULL) == argument ? 0 : 1;
}

static int asks(void)
{
    for (int sig = 1; sig < 32; sig++) {
        struct sigaction told = {0}, own = {.sa_handler = leave_with_7};
        sighandler_t by_signal = sig == SIGKILL || sig == SIGSTOP ? SIG_DFL : signal(sig, SIG_DFL);
        if (sigaction(sig, NULL, &told) != 0 || told.sa_handler != SIG_DFL || by_signal != SIG_DFL) {
            printf("%d: not the default\n", sig);
        }
        if (sig == SIGKILL || sig == SIGSTOP) {
            continue;
        }
        if (sigaction(sig, &own, &told) != 0 || told.sa_handler != SIG_DFL || (told.sa_flags & SA_SIGINFO) != 0 ||
            sigaction(sig, &told, &own) != 0 || own.sa_handler != leave_with_7) {
            printf("%d: not the program's own\n", sig);
        }
    }
    return 0;
}

/* What the kernel says is caught and ignored. */
static int tells(void)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "SigCgt", 6) == 0 || strncmp(line, "SigIgn", 6) == 0) {
            fputs(line, stdout);
        }
    }
    return 0;
}

static int executes(void)
{
    return execl("/proc/self/exe", "signals", "tells", NULL);
}

/* Until the file, named by stdin, has that many lines with "; peak ". */
static int reads_reports(void)
{
    char name[512], line[1024];
    if (fgets(name, sizeof name, stdin) == NULL) {
        return 1;
    }
    name[strcspn(name, "\n")] = '\0';
    for (int tries = 0, found = 0; tries < 1000; tries++, found = 0) {
        FILE *f = fopen(name, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            found += strstr(line, "; peak ") != NULL;
        }
        if (f != NULL) {
            fclose(f);
        }
        if (found >= argument) {
            return 0;
        }
        usleep(10000);
    }
    return 1;
}

static const struct {
    const char *name;
    int (*run)(void);
} hows[] = {
    {"kill", by_kill},
    {"raise", by_raise},
    {"fault", by_fault},
    {"heap", by_heap},
    {"thread", in_thread},
    {"small thread", in_small_thread},
    {"overrun", by_overrun},
    {"overrun alone", by_overrun_alone},
    {"cancelled", in_cancelled_thread},
    {"allocating", while_allocating},
    {"several", several_at_once},
    {"children", children},
    {"first", first_of_a_namespace},
    {"own", own_handler_later},
    {"default again", back_to_default},
    {"waits", waits_for_it},
    {"asks", asks},
    {"tells", tells},
    {"executes", executes},
    {"goes on", goes_on},
    {"reads", reads_reports},
};

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    argument = argc > 2 ? atoi(argv[2]) : SIGTERM;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(how, "own before") == 0) {
        signal(argument, leave_with_7);
        how = "raise";
    }
    if (strcmp(how, "tells") != 0) {
        pin((size_t)1 << 20, false);
    }
    for (unsigned i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        if (strcmp(how, hows[i].name) == 0) {
            return hows[i].run();
        }
    }
    return 99;
}
