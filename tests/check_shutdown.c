/* The end of the process, whichever way it goes: one report, the status that was asked for, and what Python's end may
 * turn out to have been. */
#include "blocks.h"
#include "life/held.h"
#include "life/shutdown.h"
#include "pool/lock.h"

#include <pthread.h>

static char report_file[] = "/tmp/pintensor-check-XXXXXX";

static void begin(void)
{
    int fd = mkstemp(report_file);
    ck_assert_int_ge(fd, 0);
    close(fd);
    setenv("PINTENSOR_REPORT", report_file, 1);
    setenv("PINTENSOR_VERBOSE", "on", 1);
}

static void start(void)
{
    manager = pintensor_manager_create();
    ck_assert_uint_ne(manager, 0);
}

static void clean_up(void)
{
    unlink(report_file);
}

static const char *report(void)
{
    static char text[65536];
    int fd = open(report_file, O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    return text;
}

static unsigned reports(void)
{
    unsigned n = 0;
    for (const char *at = report(); (at = strstr(at, "pintensor: ")) != NULL; at++) {
        n++;
    }
    return n;
}

static void lose_one(void)
{
    struct pt_block b = alloc_tensor(MIB);
    pt_block_drop(&b);
}

/* ---- statuses ---- */

static const struct {
    const char *fail_on;
    int status, after;
    bool loses;
} endings[] = {{"growing,reclaimed", 0, 42, true},
               {"growing,reclaimed", 3, 3, true},
               {"growing", 0, 0, true},
               {"growing,reclaimed", 0, 0, false},
               {"held", 0, 42, false}};

static void prepare(int i)
{
    begin();
    setenv("PINTENSOR_EXITCODE", "42", 1);
    setenv("PINTENSOR_FAIL_ON", endings[i].fail_on, 1);
}

static void use(int i)
{
    start();
    if (endings[i].loses) {
        lose_one();
    } else {
        (void)alloc(MIB);
    }
}

START_TEST(without_destructors)
{
    prepare(_i);
    use(_i);
    ck_assert_int_eq(pt_shutdown_now(endings[_i].status), endings[_i].after);
    ck_assert_uint_eq(reports(), 1);
    ck_assert_int_eq(pt_shutdown_now(7), 7); /* it is over */
    ck_assert_uint_eq(reports(), 1);
}
END_TEST

START_TEST(by_exit)
{
    int status;
    prepare(_i);
    pid_t child = suite_fork();
    if (child == 0) {
        use(_i);
        exit(endings[_i].status);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), endings[_i].after);
    ck_assert_uint_eq(reports(), 1);
}
END_TEST

static void ends_as_it_likes(void)
{
    ck_assert_int_eq(pt_shutdown_now(5), 5);
    pt_shutdown_by_signal();
    pt_held_finish();
    pt_held_begin();
    pt_held_python_ends();
    ck_assert(!pt_held_finished());
}

START_TEST(who_has_pinned_nothing_reports_nothing)
{
    begin();
    ends_as_it_likes();
    start();
    lose_one();
    ck_assert(child_does(ends_as_it_likes));
    ck_assert_uint_eq(reports(), 0);
}
END_TEST

START_TEST(a_place_that_takes_nothing)
{
    setenv("PINTENSOR_REPORT", _i == 0 ? "/dev/full" : "/proc/nowhere/at/all", 1);
    catch_stderr();
    start();
    lose_one();
    (void)pt_shutdown_now(0);
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "cannot write the report to"));
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "RECLAIMED"));
}
END_TEST

START_TEST(all_is_well)
{
    unsetenv("PINTENSOR_REPORT");
    catch_stderr();
    start();
    release(alloc(MIB));
    ck_assert_int_eq(pt_shutdown_now(0), 0);
    ck_assert_str_eq(suite_stderr(), "");
}
END_TEST

/* ---- two at once ---- */

static pthread_barrier_t turn;
static int ends[2];

static void *reports_to_a_full_pipe(void *unused)
{
    pthread_barrier_wait(&turn);
    (void)pt_shutdown_now(0);
    return unused;
}

/* Nobody reads stderr: the thread that reports is held up, and who ends by a signal waits for it, but not for ever. */
START_TEST(another_thread_is_at_it)
{
    static char text[4096];
    pthread_t thread;
    unsetenv("PINTENSOR_REPORT");
    ck_assert_int_eq(pipe(ends), 0);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], text, sizeof text) > 0) {
    }
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
    pt_log_remember();
    start();
    lose_one();
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, reports_to_a_full_pipe, NULL);
    pthread_barrier_wait(&turn);
    EVENTUALLY(pt_held_begun());
    pt_shutdown_by_signal();
    pthread_join(thread, NULL);
    ck_assert_int_eq(pt_shutdown_now(4), 4);
}
END_TEST

/* ---- Python's end ---- */

START_TEST(the_program_goes_on_after_python)
{
    begin();
    start();
    pintensor_block a = alloc(MIB), b = alloc(2 * MIB);
    pt_held_goes_on(); /* nothing has ended */
    pt_held_python_ended();
    ck_assert(!pt_held_begun());
    pt_held_python_ends();
    pt_held_python_ends();
    ck_assert(pt_held_begun() && !pt_held_finished());
    pt_held_goes_on(); /* not before it has ended */
    ck_assert(pt_held_begun());
    pt_held_python_ended();
    release(a); /* it was only not freed yet */
    pintensor_block c = alloc(MIB);
    ck_assert(!pt_held_begun());
    release(c);
    (void)pt_shutdown_now(0);
    ck_assert_ptr_nonnull(strstr(report(), "2.0 MiB held at exit"));
    release(b);
}
END_TEST

START_TEST(what_is_freed_after_python_was_not_held)
{
    begin();
    start();
    pintensor_block a = alloc(MIB), b = alloc(2 * MIB);
    pt_held_python_ends();
    pt_held_python_ended();
    release(b);
    struct pt_block none = {.base = b.data, .number = (uint32_t)b.id, .generation = (uint32_t)(b.id >> 32)};
    pt_block_drop(&none);
    (void)pt_shutdown_now(0);
    ck_assert_ptr_nonnull(strstr(report(), "1.0 MiB held at exit"));
    release(a);
}
END_TEST

/* ---- what is unlocked ---- */

START_TEST(after_the_end_blocks_stay_readable)
{
    if (_i == 1) {
        setenv("PINTENSOR_AT_EXIT", "unlock", 1);
    }
    begin();
    start();
    pintensor_block large = alloc(80 * MIB), small = alloc(100), medium = alloc(MIB);
    memset(large.data, 1, large.bytes);
    memset(small.data, 2, small.bytes);
    (void)pt_shutdown_now(0);
    pt_held_finish();
    ck_assert(pt_held_finished());
    ck_assert_uint_eq(vmlck(), _i == 1 ? 0 : 80 * MIB); /* more than 64 MiB is left to the kernel */
    ck_assert(*(char *)large.data == 1 && *(char *)small.data == 2);
    ck_assert_int_eq(pintensor_free(manager, medium.data), 0); /* it was given back already, which is no misuse */
    ck_assert_ptr_null(strstr(report(), "MISUSED"));
}
END_TEST

static void *keeps_the_lock(void *unused)
{
    pt_lock_enter();
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    pt_lock_leave();
    return unused;
}

START_TEST(a_lock_that_nobody_gives_back)
{
    pthread_t thread;
    begin();
    start();
    (void)alloc(MIB);
    pthread_barrier_init(&turn, NULL, 2);
    pthread_create(&thread, NULL, keeps_the_lock, NULL);
    pthread_barrier_wait(&turn);
    pt_held_begin(); /* counts all the same */
    (void)pt_shutdown_now(0);
    ck_assert_ptr_nonnull(strstr(report(), "1.0 MiB held at exit"));
    pt_held_finish();
    ck_assert(!pt_held_finished());
    ck_assert_uint_eq(vmlck(), MIB);
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    need_lockable(128 * MIB);
    TCase *tests = tcase_create("shutdown");
    tcase_add_checked_fixture(tests, NULL, clean_up);
    tcase_add_loop_test(tests, without_destructors, 0, sizeof endings / sizeof endings[0]);
    tcase_add_loop_test(tests, by_exit, 0, sizeof endings / sizeof endings[0]);
    tcase_add_test(tests, who_has_pinned_nothing_reports_nothing);
    tcase_add_loop_test(tests, a_place_that_takes_nothing, 0, 2);
    tcase_add_test(tests, all_is_well);
    tcase_add_test(tests, another_thread_is_at_it);
    tcase_add_test(tests, the_program_goes_on_after_python);
    tcase_add_test(tests, what_is_freed_after_python_was_not_held);
    tcase_add_loop_test(tests, after_the_end_blocks_stay_readable, 0, 2);
    tcase_add_test(tests, a_lock_that_nobody_gives_back);
    return suite_run("shutdown", tests);
}
