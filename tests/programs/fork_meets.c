/* A process forks at a bad moment, and the child pins: fork_meets MOMENT. The child has a block, or is refused one; it
 * never waits for what nobody does. "first block": another thread makes the first block, and is in the middle of it.
 * "handler": a signal handler forks, wherever the thread below it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pintensor.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static pintensor_manager manager;
static int reached[2];

static bool pin_and_free(size_t bytes)
{
    pintensor_block b;
    manager = manager != 0 ? manager : pintensor_manager_create();
    return manager != 0 && pintensor_alloc(manager, bytes, &b) == 0 && memset(b.data, 1, bytes) != NULL &&
           pintensor_free(manager, b.data) == 0;
}

/* jemalloc asks for it while it is set up, by the thread that makes the first block or by one that this makes for it.
 */
__attribute__((visibility("default"))) int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    if (reached[1] != 0 && gettid() != getpid()) {
        (void)!write(reached[1], "", 1);
        usleep(300000);
    }
    return ((int (*)(pid_t, size_t, cpu_set_t *))dlsym(RTLD_NEXT, "sched_getaffinity"))(pid, size, set);
}

static void *first_block(void *unused)
{
    return pin_and_free(1000) ? unused : NULL;
}

static bool child_ends_well(bool must_pin)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        _exit((!pin_and_free(1000) || !pin_and_free(1 << 20)) && must_pin);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

static int forks_amid_the_first_block(void)
{
    pthread_t thread;
    char byte;
    void *went_well = NULL;
    if (pipe(reached) != 0 || pthread_create(&thread, NULL, first_block, &byte) != 0 ||
        read(reached[0], &byte, 1) != 1) {
        return 90;
    }
    bool fine = child_ends_well(true);
    pthread_join(thread, &went_well);
    return fine && went_well != NULL && pin_and_free(1000) ? 0 : 1;
}

static volatile int forked, bad;

static void fork_here(int signal)
{
    (void)signal;
    bad += !child_ends_well(false);
    forked++;
}

/* Sizes that jemalloc serves, more than one of each at once. */
static bool come_and_go(size_t bytes)
{
    pintensor_block b[4];
    bool fine = true;
    for (unsigned i = 0; i < 4; i++) {
        fine = pintensor_alloc(manager, bytes, &b[i]) == 0 && fine;
    }
    for (unsigned i = 0; i < 4; i++) {
        fine = pintensor_free_block(manager, &b[i]) == 0 && fine;
    }
    return fine;
}

static int forks_in_a_handler(void)
{
    enum { FORKS = 100 };
    if (!pin_and_free(1)) {
        return 90;
    }
    signal(SIGALRM, fork_here);
    for (int i = 0; i < FORKS; i++) {
        struct itimerval soon = {.it_value = {.tv_usec = 100 + i * 37 % 300}};
        setitimer(ITIMER_REAL, &soon, NULL);
        for (unsigned k = 0; forked == i; k++) {
            if (!come_and_go(64u << k % 8)) {
                return 91;
            }
        }
    }
    return bad;
}

int main(int argc, char **argv)
{
    const char *moment = argc > 1 ? argv[1] : "";
    return strcmp(moment, "first block") == 0 ? forks_amid_the_first_block()
           : strcmp(moment, "handler") == 0   ? forks_in_a_handler()
                                              : 99;
}
