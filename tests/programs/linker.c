/* Pins and ends while other threads are inside the dynamic linker: linker WAY [ARGUMENT…]. Nothing here is to wait for
 * ever. load PLUGIN WHAT       the plugin's constructor waits for a thread that does WHAT driver PLUGIN DRIVER   the
 * same with a CUDA driver in use; then pins once more, and tells what is registered walk WHAT              likewise
 * while the list of objects is walked fork PLUGIN WHAT       the same in a child that was forked meanwhile, while the
 * constructor waits for main() fork-walk WHAT         the same while the list is walked end HOW                ends: exit, _exit, quick_exit, abort, assert WHAT: pin, mlock, _exit,
 * quick_exit, exit, abort, assert. The plugin is this file with -DPLUGIN. */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern void work(void);

#ifdef PLUGIN

static void *run(void *unused)
{
    work();
    return unused;
}

__attribute__((constructor)) static void loaded(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, run, NULL);
    pthread_join(thread, NULL);
}

#else

void __assert_fail(const char *, const char *, unsigned, const char *);

static const char *what;
static pid_t waited_for;
static int inside[2], done[2];

/* Found before anything is loaded: this is the program's own business, not to be waited for. */
static unsigned long (*create)(void);
static int (*alloc)(unsigned long, size_t, void *);

static int pin(void)
{
    struct {
        void *data;
        size_t bytes;
        unsigned long id;
    } block;
    int error = alloc != NULL ? alloc(create(), 100000, &block) : -1;
    if (error == 0) {
        memset(block.data, 1, 100000);
    }
    return error;
}

static void end(const char *how)
{
    void (*ways[])(int) = {exit, _exit, quick_exit};
    const char *const names[] = {"exit", "_exit", "quick_exit"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(how, names[i]) == 0) {
            ways[i](7);
        }
    }
    if (strcmp(how, "abort") == 0) {
        abort();
    } else if (strcmp(how, "assert") == 0) {
        __assert_fail("the truth", "linker.c", 1, "end");
    }
}

static void act(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    if (strcmp(what, "pin") == 0) {
        printf("pinned %d\n", pin());
    } else if (strcmp(what, "mlock") == 0) {
        printf("locked %d\n", mlock(page, 4096));
    } else {
        end(what);
    }
    fflush(stdout);
}

/* What the plugin's constructor waits for: to act, or until main() has done so in a child. */
void work(void)
{
    char byte = 0;
    if (waited_for == 0) {
        act();
        return;
    }
    (void)!write(inside[1], &byte, 1);
    (void)!read(done[0], &byte, 1);
}

static void *work_in_thread(void *unused)
{
    work();
    return unused;
}

static int at_an_object(struct dl_phdr_info *info, size_t size, void *unused)
{
    pthread_t thread;
    (void)info;
    (void)size;
    (void)unused;
    pthread_create(&thread, NULL, work_in_thread, NULL);
    pthread_join(thread, NULL);
    return 1;
}

static void *load(void *plugin)
{
    if (plugin == NULL) {
        dl_iterate_phdr(at_an_object, NULL);
    } else {
        puts(dlopen(plugin, RTLD_NOW) != NULL ? "loaded" : dlerror());
        fflush(stdout);
    }
    return NULL;
}

/* In a child that was forked while another thread was in there. */
static int forked(char *plugin)
{
    pthread_t loader;
    char byte = 0;
    int status;
    waited_for = 1;
    if (pipe(inside) != 0 || pipe(done) != 0) {
        return 99;
    }
    pthread_create(&loader, NULL, load, plugin);
    (void)!read(inside[0], &byte, 1);
    pid_t child = fork();
    if (child == 0) {
        act();
        end("_exit");
    }
    waitpid(child, &status, 0);
    (void)!write(done[1], &byte, 1);
    pthread_join(loader, NULL);
    printf("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}

static int with_driver(char *plugin, const char *driver)
{
    void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return 99;
    }
    ((void (*)(int))dlsym(library, "fake_start"))(0);
    what = "pin";
    load(plugin);
    int error = pin();
    printf("pinned %d, %zu registered\n", error, ((size_t(*)(char))dlsym(library, "fake_count"))('s'));
    return 0;
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    *(void **)&create = dlsym(RTLD_DEFAULT, "pintensor_manager_create");
    *(void **)&alloc = dlsym(RTLD_DEFAULT, "pintensor_alloc");
    what = argv[argc - 1];
    if (strcmp(way, "load") == 0) {
        load(argv[2]);
    } else if (strcmp(way, "driver") == 0) {
        return with_driver(argv[2], argv[3]);
    } else if (strcmp(way, "walk") == 0) {
        load(NULL);
    } else if (strcmp(way, "fork") == 0) {
        return forked(argv[2]);
    } else if (strcmp(way, "fork-walk") == 0) {
        return forked(NULL);
    } else {
        end(what);
    }
    return 0;
}

#endif
