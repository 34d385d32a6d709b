/* Programs that make it hard to leave quietly, one a mode: each once hung, crashed or lost its report under the preload. */
#include <dirent.h>
#include <dlfcn.h>
#include <pintensor.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pintensor_manager manager;
static volatile bool stop;

static void *read_stdin(void *unused)
{
    (void)getchar(); /* holds the stream's lock for as long as nothing comes */
    return unused;
}

static void *churn(void *unused)
{
    pintensor_block b;
    while (!stop && pintensor_alloc(manager, 100000, &b) == 0) {
        pintensor_free_block(manager, &b);
    }
    return unused;
}

static void leave(int signal)
{
    (void)signal;
    exit(3);
}

static int a_thread_reads(void)
{
    pthread_t reader;
    pthread_create(&reader, NULL, read_stdin, NULL);
    usleep(200000);
    return 0;
}

static int exit_in_a_handler(void)
{
    signal(SIGALRM, leave);
    struct itimerval soon = {.it_value = {.tv_usec = 3000 + getpid() % 977}};
    setitimer(ITIMER_REAL, &soon, NULL);
    churn(NULL);
    return 1;
}

/* DeepSpeed's free() in children, forked while other threads are inside the manager. */
static int children(void)
{
    pthread_t threads[3];
    bool (*door)(void *, void *) = (bool (*)(void *, void *))dlsym(RTLD_DEFAULT, "_ZN22deepspeed_pin_tensor_t4freeEPv");
    int bad = door == NULL;
    for (unsigned i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    for (unsigned i = 0; i < 200 && bad == 0; i++) {
        char self[64], foreign[8];
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(5);
            syscall(SYS_exit_group, door(self, foreign));
        }
        waitpid(child, &status, 0);
        bad = status != 0;
    }
    stop = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    return bad;
}

/* As setproctitle() does. */
static int writes_over_its_environment(void)
{
    char *value = getenv("PINTENSOR_REPORT");
    memset(value, 'Z', strlen(value));
    return 0;
}

static int threads(void)
{
    int count = -2; /* . and .. */
    DIR *tasks = opendir("/proc/self/task");
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count;
}

/* After little was freed, and after much. */
static int two_frees(void)
{
    int status = 0;
    for (size_t bytes = (size_t)3 << 20; bytes < (size_t)64 << 20; bytes <<= 4) {
        pintensor_block b;
        if (pintensor_alloc(manager, bytes, &b) != 0 || pintensor_free(manager, b.data) != 0) {
            return 98;
        }
        status = status * 10 + threads();
    }
    return status;
}

static void *works_on(void *unused)
{
    usleep(300000);
    return unused;
}

static void say_end(void)
{
    (void)!write(STDOUT_FILENO, "an exit handler\n", 16);
}

/* What is freed waits, so that a thread of the library's looks after it. */
static int main_leaves(void)
{
    pthread_t worker;
    pintensor_block b;
    if (pintensor_alloc(manager, 8 << 20, &b) != 0 || pintensor_free_block(manager, &b) != 0) {
        return 99;
    }
    atexit(say_end);
    pthread_create(&worker, NULL, works_on, NULL);
    pthread_exit(NULL);
}

static void *forks(void *unused)
{
    if (fork() == 0) {
        main_leaves();
    }
    return unused;
}

/* The child's only thread is not the one that began its parent. */
static int child_leaves(void)
{
    pthread_t thread;
    int status = -1;
    pthread_create(&thread, NULL, forks, NULL);
    pthread_join(thread, NULL);
    wait(&status);
    return WEXITSTATUS(status);
}

static long cpu_us(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
}

/* Much waits, so a thread of ours looks after it: milliseconds of CPU that it takes in a second, up to 255. */
static int much_waits(void)
{
    struct timespec second = {.tv_sec = 1};
    pintensor_block b;
    if (pintensor_alloc(manager, (size_t)64 << 20, &b) != 0 || pintensor_free_block(manager, &b) != 0) {
        return 99;
    }
    long before = cpu_us();
    syscall(SYS_nanosleep, &second, NULL);
    long us = cpu_us() - before;
    printf("%d threads\n", threads());
    return us < 255000 ? (int)(us / 1000) : 255;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"a thread reads", a_thread_reads},
                 {"exit in a handler", exit_in_a_handler},
                 {"children", children},
                 {"writes over its environment", writes_over_its_environment},
                 {"two frees", two_frees},
                 {"main leaves", main_leaves},
                 {"child leaves", child_leaves},
                 {"much waits", much_waits}};
    pintensor_block b;
    manager = pintensor_manager_create();
    if (pintensor_alloc(manager, 100000, &b) != 0) {
        return 99;
    }
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            return modes[i].run();
        }
    }
    return 0;
}
