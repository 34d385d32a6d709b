/* Programs that leave where nobody listens, or where somebody else's words go: leaves HOW [ARGUMENT]. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pintensor.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static pintensor_manager manager;
static const char *argument;
static volatile bool stop;

static bool pin(size_t bytes, pintensor_block *b)
{
    if (manager == 0) {
        manager = pintensor_manager_create();
    }
    return pintensor_alloc(manager, bytes, b) == 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Fills the pipe behind a file descriptor. */
static void fill(int fd)
{
    char many[4096] = {0};
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, many, sizeof many) > 0) {
    }
    while (write(fd, many, 1) > 0) {
    }
    fcntl(fd, F_SETFL, flags);
}

/* stderr is a pipe that nobody reads. */
static int full_pipe(void)
{
    pintensor_block b;
    int status;
    int ends[2];
    if (pipe(ends) != 0) {
        return 90;
    }
    fill(ends[1]);
    double start = now();
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        execl("/proc/self/exe", "leaves", argument, NULL); /* it finds the pipe when it is loaded */
        _exit(91);
    }
    waitpid(child, &status, 0);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0 ? 92 : now() - start > 2.3 ? 93 : pin(1, &b) ? 0 : 94;
}

static int warns(void)
{
    char foreign[8];
    pintensor_block b;
    if (!pin(5000, &b)) {
        return 1;
    }
    for (unsigned i = 0; i < 3; i++) {
        pintensor_free(manager, foreign + i);
    }
    return 0;
}

static int file_limit(void)
{
    pintensor_block b;
    struct rlimit none = {0, 0};
    return !pin(5000, &b) || setrlimit(RLIMIT_FSIZE, &none) != 0;
}

static int stopping_terminal(void)
{
    pintensor_block b;
    int master = posix_openpt(O_RDWR | O_NOCTTY), status, slave;
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        return 77;
    }
    pid_t leader = fork();
    if (leader == 0) {
        struct termios t;
        setsid();
        slave = open(ptsname(master), O_RDWR); /* becomes the session's terminal */
        tcgetattr(slave, &t);
        t.c_lflag |= TOSTOP;
        tcsetattr(slave, TCSANOW, &t);
        dup2(slave, 2);
        pid_t background = fork();
        if (background == 0) {
            setpgid(0, 0);
            execl("/proc/self/exe", "leaves", "pins", NULL);
            _exit(91);
        }
        setpgid(background, background);
        waitpid(background, &status, WUNTRACED);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : WIFSTOPPED(status) ? 92 : 93);
    }
    waitpid(leader, &status, 0);
    return pin(1, &b) && WIFEXITED(status) ? WEXITSTATUS(status) : 94;
}

static int pins(void)
{
    pintensor_block b;
    return !pin(5000, &b);
}

static int changes_directory(void)
{
    return pins() || chdir("/") != 0;
}

/* fd 2 becomes the user's own file, before and after the first block. */
static int own_file(bool late)
{
    pintensor_block b;
    char foreign[8];
    if (late && !pin(5000, &b)) {
        return 1;
    }
    close(2);
    int fd = open(argument, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd != 2 || !pin(5000, &b)) {
        return 2;
    }
    pintensor_free(manager, foreign); /* a warning */
    return write(fd, "data\n", 5) != 5;
}

static int own_file_early(void)
{
    return own_file(false);
}

static int own_file_late(void)
{
    return own_file(true);
}

static int both_redirected(void)
{
    int fd = open(argument, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    return pins();
}

/* ---- reports beside allocations ---- */

static int null;

static void *churn(void *unused)
{
    pintensor_block b;
    while (!stop && pintensor_alloc(manager, 100000, &b) == 0) {
        pintensor_free_block(manager, &b);
    }
    return unused;
}

static void report(int signal)
{
    (void)signal;
    pintensor_report(null);
}

static int reports_by_timer(void)
{
    pthread_t threads[3];
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    null = open("/dev/null", O_WRONLY);
    manager = pintensor_manager_create();
    signal(SIGALRM, report);
    for (unsigned i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    setitimer(ITIMER_REAL, &often, NULL);
    double end = now() + 3;
    while (now() < end) {
        pintensor_block b;
        if (pintensor_alloc(manager, 100000, &b) != 0 || pintensor_free_block(manager, &b) != 0) {
            return 1;
        }
    }
    stop = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    return 0;
}

/* Each of the reports tells of the 100 blocks that are held all the time. */
static void *report_often(void *unused)
{
    static const char held[] = "HELD       976.6 KiB in 100 blocks";
    int ends[2];
    char text[65536];
    for (unsigned i = 0; i < 300; i++) {
        if (pipe(ends) != 0) {
            return "no pipe";
        }
        int error = pintensor_report(ends[1]);
        close(ends[1]);
        size_t len = 0;
        ssize_t n;
        while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0) {
            len += (size_t)n;
        }
        close(ends[0]);
        text[len] = '\0';
        if (error != 0 || strstr(text, held) == NULL) {
            fputs(text, stderr);
            return "wrong";
        }
    }
    return unused;
}

static int reports_at_once(void)
{
    pthread_t threads[2];
    int wrong = 0;
    for (unsigned i = 0; i < 100; i++) {
        pintensor_block b;
        wrong |= !pin(10000, &b);
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, report_often, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        wrong |= result != NULL;
    }
    return wrong;
}

/* ---- small stacks ---- */

static void *small_thread(void *result)
{
    char foreign[8];
    pintensor_block b;
    *(int *)result = 1;
    if (pintensor_alloc(manager, 1 << 20, &b) == 0 && pintensor_free_block(manager, &b) == 0) {
        pintensor_free(manager, foreign);
        pintensor_trim();
        *(int *)result = pintensor_report(open("/dev/null", O_WRONLY));
    }
    return NULL;
}

static void *first_block(void *result)
{
    pintensor_block b;
    *(int *)result = !pin(1 << 20, &b);
    return NULL;
}

static int first_block_in_a_small_thread(void)
{
    pthread_attr_t a;
    pthread_t t;
    int result = 2;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 16384);
    pthread_create(&t, &a, first_block, &result);
    pthread_join(t, NULL);
    return result;
}

static int small_threads(void)
{
    pthread_attr_t a;
    int result = 2;
    manager = pintensor_manager_create();
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 16384);
    for (unsigned i = 0; i < 2; i++) {
        pthread_t t;
        pthread_create(&t, &a, small_thread, &result);
        pthread_join(t, NULL);
    }
    return result;
}

static void leave(int signal)
{
    (void)signal;
    _exit(42);
}

static void fail(int signal)
{
    (void)signal;
    abort();
}

static void on_small_stack(void (*handler)(int))
{
    char *p = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p, 4096, PROT_NONE);
    stack_t stack = {.ss_sp = p + 4096, .ss_size = 8192};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    raise(SIGSEGV);
}

static int exit_on_a_small_stack(void)
{
    pintensor_block b;
    if (pin(5000, &b)) {
        on_small_stack(leave);
    }
    return 1;
}

static int abort_on_a_small_stack(void)
{
    pintensor_block b;
    if (pin(5000, &b)) {
        on_small_stack(fail);
    }
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"full pipe", full_pipe},
                 {"warns", warns},
                 {"pins", pins},
                 {"file limit", file_limit},
                 {"stopping terminal", stopping_terminal},
                 {"changes directory", changes_directory},
                 {"own file early", own_file_early},
                 {"own file late", own_file_late},
                 {"both redirected", both_redirected},
                 {"reports by timer", reports_by_timer},
                 {"reports at once", reports_at_once},
                 {"small threads", small_threads},
                 {"first block in a small thread", first_block_in_a_small_thread},
                 {"exit on a small stack", exit_on_a_small_stack},
                 {"abort on a small stack", abort_on_a_small_stack}};
    argument = argc > 2 ? argv[2] : "";
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            return modes[i].run();
        }
    }
    return 99;
}
