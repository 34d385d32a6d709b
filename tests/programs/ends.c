/* Pins one block and ends as it is told: ends HOW. The library is found as a preloaded one is, by name. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *pin(size_t bytes)
{
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    int (*alloc)(pintensor_manager, size_t, pintensor_block *) =
        (int (*)(pintensor_manager, size_t, pintensor_block *))dlsym(RTLD_DEFAULT, "pintensor_alloc");
    pintensor_block b = {0};
    if (create == NULL || alloc(create(), bytes, &b) != 0) {
        fputs("nothing is pinned\n", stderr);
    }
    return b.data;
}

static void *exit_in_a_thread(void *unused)
{
    (void)unused;
    exit(3);
}

static void exit_in_a_handler(int signal)
{
    (void)signal;
    _exit(3);
}

static void wait_for(pid_t child)
{
    int status;
    waitpid(child, &status, 0);
    printf("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static int leave_with_4(void *unused)
{
    (void)unused;
    _exit(4);
}

static void nothing(void)
{
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    char *block = strcmp(how, "never") == 0 ? NULL : pin((size_t)1 << 20);
    printf("not flushed"); /* whoever ends the process early must not lose it where libc would not */
#define HOW(name) else if (strcmp(how, name) == 0)
    if (strcmp(how, "return") == 0 || strcmp(how, "never") == 0) {
        return 0;
    }
    HOW("return 3")
    {
        return 3;
    }
    HOW("exit")
    {
        exit(3);
    }
    HOW("_exit")
    {
        _exit(3);
    }
    HOW("_Exit")
    {
        _Exit(3);
    }
    HOW("quick_exit")
    {
        at_quick_exit(nothing);
        quick_exit(3);
    }
    HOW("abort")
    {
        abort();
    }
    HOW("assert")
    {
        assert(block == NULL);
    }
    HOW("thread")
    {
        pthread_t t;
        pthread_create(&t, NULL, exit_in_a_thread, NULL);
        pthread_join(t, NULL);
    }
    HOW("signal handler")
    {
        signal(SIGUSR1, exit_in_a_handler);
        raise(SIGUSR1);
    }
    HOW("kill")
    {
        raise(SIGKILL);
    }
    HOW("exec")
    {
        execl("/bin/true", "true", NULL);
    }
    HOW("children")
    {
        fflush(stdout);
        pid_t child;
        for (int i = 0; i < 4; i++) {
            if ((child = fork()) == 0) {
                i == 0 ? exit(i) : i == 1 ? _exit(i) : i == 2 ? quick_exit(i) : abort();
            }
            wait_for(child);
        }
        if ((child = vfork()) == 0) {
            _exit(4);
        }
        wait_for(child);
        if ((child = vfork()) == 0) {
            execl("/bin/false", "false", NULL);
        }
        wait_for(child);
        fflush(stdout);
        block[0] = 1;         /* still there, still ours to write */
        pin((size_t)2 << 20); /* and the report is still to come */
        _exit(3);
    }
    HOW("a child with its parent's pid") /* that of 1, for the first of a namespace */
    {
        static char stack[65536] __attribute__((aligned(16)));
        pid_t child = clone(leave_with_4, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_NEWPID | SIGCHLD, NULL);
        if (child < 0) {
            return 98;
        }
        wait_for(child);
        pin((size_t)2 << 20);
        _exit(3);
    }
    HOW("a child that pins")
    {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            pin((size_t)2 << 20);
            return 5;
        }
        wait_for(child);
        return 0;
    }
    return 99;
}
