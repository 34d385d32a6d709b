/* Loads the C library while eight threads run, some of them on stacks of 16 KiB, and uses it from all of them, from
 * threads that begin later, from a child, and from a signal handler of a thread that never did: loads_late LIBRARY. The
 * first line says whether it could be loaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pintensor.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 200, SMALL_STACK = 16384 };
static const size_t sizes[] = {100, 5000, 100000, 3 << 20};

static pintensor_manager (*create)(void);
static int (*alloc)(pintensor_manager, size_t, pintensor_block *);
static int (*give)(pintensor_manager, const pintensor_block *);
static int (*managed)(const void *, size_t);
static const char *(*last_error)(void);
static int (*report)(int);
static pintensor_manager manager;
static pthread_barrier_t loaded;
static _Atomic int failures;

static void check(bool holds, int line, const char *what)
{
    if (!holds) {
        failures++;
        fprintf(stderr, "line %d: %s\n", line, what);
    }
}
#define CHECK(holds) check(holds, __LINE__, #holds)

static void use(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        pintensor_block b;
        size_t bytes = sizes[round % 4];
        CHECK(alloc(manager, bytes, &b) == 0);
        CHECK(managed(b.data, bytes));
        memset(b.data, round, bytes);
        CHECK(give(manager, &b) == 0);
    }
    CHECK(alloc(0, 1, &(pintensor_block){0}) < 0);
    CHECK(strstr(last_error(), "manager is 0") != NULL);
}

static void *uses(void *unused)
{
    CHECK(last_error()[0] == '\0'); /* another thread's is no business of this one */
    use();
    return unused;
}

static void *waits_and_uses(void *unused)
{
    pthread_barrier_wait(&loaded);
    return uses(unused);
}

static pthread_t start(bool small_stack, void *(*run)(void *))
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (small_stack) {
        pthread_attr_setstacksize(&attributes, SMALL_STACK);
    }
    if (pthread_create(&thread, &attributes, run, NULL) != 0) {
        exit(99);
    }
    return thread;
}

static size_t mappings(void)
{
    size_t lines = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    for (int c; (c = getc(f)) != EOF;) {
        lines += c == '\n';
    }
    fclose(f);
    return lines;
}

/* ---- a signal handler, in a thread that has not called the library, and is inside malloc ---- */

static sem_t handled;
static int nowhere;

static void handler(int unused)
{
    (void)unused;
    CHECK(report(nowhere) == 0 && last_error()[0] == '\0');
    sem_post(&handled);
}

static void *allocates(void *end)
{
    while (!*(volatile bool *)end) {
        free(malloc(1000 + (size_t)rand() % 100000));
    }
    return NULL;
}

static void interrupt(void)
{
    static volatile bool end;
    pthread_t thread;
    sem_init(&handled, 0, 0);
    nowhere = open("/dev/null", O_WRONLY);
    signal(SIGUSR1, handler);
    if (pthread_create(&thread, NULL, allocates, (void *)&end) != 0) {
        exit(99);
    }
    for (int i = 0; i < 200; i++) {
        pthread_kill(thread, SIGUSR1);
        while (sem_wait(&handled) != 0) {
        }
    }
    end = true;
    pthread_join(thread, NULL);
}

static void in_a_child(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        manager = create();
        use();
        pthread_join(start(false, uses), NULL);
        _exit(failures != 0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static bool find(void *library)
{
    *(void **)&create = dlsym(library, "pintensor_manager_create");
    *(void **)&alloc = dlsym(library, "pintensor_alloc");
    *(void **)&give = dlsym(library, "pintensor_free_block");
    *(void **)&managed = dlsym(library, "pintensor_is_managed");
    *(void **)&last_error = dlsym(library, "pintensor_last_error");
    *(void **)&report = dlsym(library, "pintensor_report");
    return create && alloc && give && managed && last_error && report;
}

int main(int argc, char **argv)
{
    (void)argc;
    pthread_t threads[THREADS];
    pthread_barrier_init(&loaded, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = start(i % 2, waits_and_uses);
    }
    void *library = dlopen(argv[1], RTLD_NOW);
    puts(library != NULL ? "loaded" : dlerror());
    if (library == NULL) {
        return 0;
    }
    if (!find(library)) {
        return 98;
    }
    manager = create();
    use();
    interrupt();
    pthread_barrier_wait(&loaded);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    in_a_child();

    /* It stays loaded, with all that it knows. */
    pintensor_block kept;
    CHECK(alloc(manager, 70000, &kept) == 0);
    CHECK(dlclose(library) == 0);
    library = dlopen(argv[1], RTLD_NOW);
    CHECK(library != NULL && find(library) && managed(kept.data, kept.bytes));

    /* Threads that end leave nothing behind. */
    pthread_join(start(false, uses), NULL);
    size_t before = mappings();
    for (int i = 0; i < ROUNDS; i++) {
        pthread_join(start(i % 2, uses), NULL);
    }
    CHECK(mappings() < before + 20);
    printf("%d failures\n", failures);
    return failures != 0;
}
