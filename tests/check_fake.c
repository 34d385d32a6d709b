/* The fake driver itself (tests/programs/fake_cuda.c): giving a registration back waits for the device and holds up
 * launches, as the real one does. */
#include "suite.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

static void (*fake_start)(int), (*fake_run)(void *), (*fake_launch)(void *), (*fake_works)(int);
static void *(*fake_stream)(int);
static size_t (*fake_count)(char);
static int (*fake_holds)(const void *, size_t);
static int (*hold)(void *, size_t, unsigned), (*let_go)(void *), (*mode)(int *);
static int (*retain)(void **, int), (*push)(void *), (*new_event)(void **, unsigned), (*record)(void *, void *);
static int (*copy)(void *, const void *, size_t, int, void *);

static char *memory;
static void *stream, *event;

/* Calls of the driver want a context, and not to end anybody's capture. */
static void enter(void)
{
    void *context;
    ck_assert_int_eq(mode(&(int){2}), 0);
    ck_assert_int_eq(retain(&context, 0), 0);
    ck_assert_int_eq(push(context), 0);
}

static void start(void)
{
    static const struct {
        void *place;
        const char *name;
    } functions[] = {{&fake_start, "fake_start"},
                     {&fake_run, "fake_run"},
                     {&fake_launch, "fake_launch"},
                     {&fake_works, "fake_works"},
                     {&fake_stream, "fake_stream"},
                     {&fake_count, "fake_count"},
                     {&fake_holds, "fake_holds"},
                     {&hold, "cuMemHostRegister_v2"},
                     {&let_go, "cuMemHostUnregister"},
                     {&mode, "cuThreadExchangeStreamCaptureMode"},
                     {&retain, "cuDevicePrimaryCtxRetain"},
                     {&push, "cuCtxPushCurrent_v2"},
                     {&new_event, "cuEventCreate"},
                     {&record, "cuEventRecord"},
                     {&copy, "cudaMemcpyAsync"}};
    char path[4096];
    const char *folder = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/tests/libcuda.so.1", folder != NULL ? folder : ".");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        *(void **)functions[i].place = dlsym(library, functions[i].name);
        ck_assert_msg(*(void **)functions[i].place != NULL, "%s", functions[i].name);
    }
    unsetenv("FAKE_CUDA_PATIENCE");
    fake_start(0);
    enter();
    memory = aligned_alloc(4096, MIB);
    ck_assert_int_eq(hold(memory, MIB, 1), 0);
    ck_assert_int_eq(new_event(&event, 2), 0);
    stream = fake_stream(0);
}

static atomic_int done;

static void *give_back(void *streams)
{
    enter();
    REQUIRE(let_go(memory) == 0);
    REQUIRE(fake_count('w') == (size_t)(uintptr_t)streams);
    done++;
    return NULL;
}

static void by_launch(void)
{
    fake_launch(stream);
}

static void by_copy(void)
{
    static char from[100], to[100];
    REQUIRE(copy(to, from, sizeof to, 1, fake_stream(0)) == 0);
}

static void by_the_default_stream(void)
{
    fake_launch(NULL);
}

static void by_event(void)
{
    REQUIRE(record(event, stream) == 0);
}

static void (*const ways[])(void) = {by_launch, by_copy, by_the_default_stream, by_event};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void *give_work(void *way)
{
    enter();
    (*(void (*const *)(void))way)();
    done++;
    return NULL;
}

START_TEST(giving_back_waits_for_the_device_and_holds_up_launches)
{
    start();
    fake_launch(stream);
    pthread_t back, work;
    pthread_create(&back, NULL, give_back, (void *)1);
    EVENTUALLY(fake_count('b') == 1);
    pthread_create(&work, NULL, give_work, (void *)&ways[_i]);
    EVENTUALLY(fake_count('d') == 1);
    usleep(50000);
    ck_assert_int_eq(done, 0);
    ck_assert(fake_holds(memory, MIB) && fake_count('w') == 0); /* which is the other thread's */
    fake_run(stream);
    pthread_join(back, NULL);
    pthread_join(work, NULL);
    ck_assert_uint_eq(fake_count('s'), 0);
    ck_assert_uint_eq(fake_count('l'), 1);
    ck_assert_uint_eq(fake_count('b'), 0);
}
END_TEST

START_TEST(one_that_meets_no_work_waits_for_nothing)
{
    start();
    fake_launch(stream);
    fake_run(stream);
    ck_assert_int_eq(let_go(memory), 0);
    ck_assert(fake_count('l') == 0 && fake_count('w') == 0);
}
END_TEST

START_TEST(every_stream_is_waited_for)
{
    start();
    void *streams[] = {stream, NULL, fake_stream(3)};
    for (int i = 0; i < 3; i++) {
        fake_launch(streams[i]);
    }
    pthread_t back;
    pthread_create(&back, NULL, give_back, (void *)3);
    EVENTUALLY(fake_count('b') == 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(fake_count('b'), 1);
        fake_run(streams[i]);
    }
    pthread_join(back, NULL);
    ck_assert_uint_eq(fake_count('l'), 1);
}
END_TEST

START_TEST(a_deadlock_is_a_broken_rule)
{
    start();
    setenv("FAKE_CUDA_PATIENCE", _i == 0 ? "0" : "50", 1);
    catch_stderr();
    pid_t child = fork();
    if (child == 0) {
        fake_start(0); /* the driver is this process's */
        fake_launch(stream);
        (void)let_go(memory);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 70);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "fake_cuda: a registration was given back while the device was busy"));
}
END_TEST

START_TEST(a_device_that_works_by_itself_is_counted_and_done)
{
    start();
    setenv("FAKE_CUDA_PATIENCE", "0", 1);
    fake_works(1);
    fake_launch(stream);
    ck_assert_int_eq(let_go(memory), 0);
    ck_assert(fake_count('l') == 1 && fake_count('w') == 1);
    ck_assert_int_eq(hold(memory, MIB, 1), 0);
    ck_assert_int_eq(let_go(memory), 0); /* nothing is left */
    ck_assert_uint_eq(fake_count('l'), 1);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("fake");
    tcase_add_loop_test(t, giving_back_waits_for_the_device_and_holds_up_launches, 0, WAYS);
    tcase_add_test(t, one_that_meets_no_work_waits_for_nothing);
    tcase_add_test(t, every_stream_is_waited_for);
    tcase_add_loop_test(t, a_deadlock_is_a_broken_rule, 0, 2);
    tcase_add_test(t, a_device_that_works_by_itself_is_counted_and_done);
    return suite_run("fake", t);
}
