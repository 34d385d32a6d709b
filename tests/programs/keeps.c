/* Pins as it is told, and ends or waits: keeps HOW. For tests of the table that outlives its process. */
#define _GNU_SOURCE
#include "pintensor.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pintensor_manager manager;
static int (*alloc)(pintensor_manager, size_t, pintensor_block *);
static int (*give)(pintensor_manager, const pintensor_block *);

static inline __attribute__((always_inline)) pintensor_block pin(size_t bytes)
{
    pintensor_block b = {0};
    if (alloc(manager, bytes, &b) != 0) {
        exit(9);
    }
    return b;
}

/* Not inlined: places in the report. */
__attribute__((noinline)) void at_the_peak(void);
__attribute__((noinline)) void until_the_end(void);
void at_the_peak(void)
{
    pintensor_block b = pin((size_t)20 << 20);
    give(manager, &b);
}
void until_the_end(void)
{
    pin(3000);
    pin((size_t)2 << 20);
}

/* What a child does must not be seen in its parent's table: the parent tells whether it is. */
static void children(void)
{
    char command[512];
    const char *dir = getenv("PINTENSOR_DIR");
    snprintf(command, sizeof command, "cksum %s/*-%d-*.table >%s/before", dir, (int)getpid(), dir);
    (void)!system(command);
    for (int how = 0; how < 3; how++) {
        pid_t child = how == 0 ? fork() : how == 1 ? _Fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            if (how == 0) {
                pintensor_block b = pin(100000);
                give(manager, &b);
                pin(50000);
                exit(0);
            }
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    snprintf(command, sizeof command, "cksum %s/*-%d-*.table | cmp - %s/before", dir, (int)getpid(), dir);
    printf("%d\n", system(command));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    *(void **)&alloc = dlsym(RTLD_DEFAULT, "pintensor_alloc");
    *(void **)&give = dlsym(RTLD_DEFAULT, "pintensor_free_block");
    pintensor_manager (*create)(void) = (pintensor_manager(*)(void))dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    manager = create();
    until_the_end();
    at_the_peak();
    if (strcmp(argv[1], "killed") == 0) {
        raise(SIGKILL);
    } else if (strcmp(argv[1], "waits") == 0) {
        puts("there");
        fflush(stdout);
        (void)getchar();
    } else if (strcmp(argv[1], "children") == 0) {
        children();
    } else if (strcmp(argv[1], "many") == 0) {
        for (int i = 0; i < 200000; i++) {
            pin(40);
        }
    } else if (strcmp(argv[1], "closes") == 0) { /* and more is written after that */
        for (int fd = 3; fd < 1024; fd++) {
            close(fd);
        }
        for (int i = 0; i < 20000; i++) {
            pin(40);
        }
    }
    return 0;
}
