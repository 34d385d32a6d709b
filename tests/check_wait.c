/* Waiting takes as long as it says, whatever the program makes of libc's clock, and however many signals come. */
#include "base/thread.h"
#include "base/wait.h"
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#define MS INT64_C(1000000)

static bool frozen;

/* Comes before libc's: the monotonic clock stands still once it is told to, long before what the kernel's says. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    if (frozen && clock == CLOCK_MONOTONIC) {
        *t = (struct timespec){.tv_sec = 1};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, t);
}

static int64_t kernel_now(void)
{
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 * MS + t.tv_nsec;
}

/* Milliseconds since then. */
static int64_t since(int64_t begin)
{
    return (kernel_now() - begin) / MS;
}

static int64_t cpu_ms(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

static void nothing(int signal)
{
    (void)signal;
}

/* A signal each millisecond, whose handler has calls begun anew or not. */
static void signals(bool restart)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = restart ? SA_RESTART : 0};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval each = {.it_interval = {.tv_usec = 1000}, .it_value = {.tv_usec = 1000}};
    setitimer(ITIMER_REAL, &each, NULL);
}

START_TEST(patience_ends)
{
    frozen = _i == 1;
    int64_t begin = kernel_now();
    struct pt_patience p = pt_patience_for(100 * MS), until = pt_patience_until(pt_thread_now() + 100 * MS);
    ck_assert_int_gt(pt_patience_left(&until), 50 * MS);
    while (pt_patience_pause(&p, 10 * MS)) {
    }
    ck_assert_int_ge(since(begin), 99);
    ck_assert_int_eq(pt_patience_left(&p), 0);
    for (int i = 0; i < 10 && frozen; i++) {
        pt_patience_slept(&until, 10 * MS);
    }
    ck_assert_int_eq(pt_patience_left(&until), 0);
    ck_assert(!pt_patience_pause(&until, 1));
    frozen = false; /* Check asks it too */
}
END_TEST

START_TEST(a_pause_keeps_errno)
{
    signals(false);
    errno = ERANGE;
    for (int i = 0; i < 5; i++) {
        pt_wait_pause(5 * MS);
    }
    ck_assert_int_eq(errno, ERANGE);
}
END_TEST

START_TEST(nobody_rings)
{
    struct pt_bell bell = {0};
    frozen = (_i & 1) != 0;
    if (_i >= 2) {
        signals(_i >= 4);
    }
    int64_t begin = kernel_now(), cpu = cpu_ms();
    errno = ERANGE;
    ck_assert(!pt_bell_wait(&bell, pt_bell_rings(&bell), 300 * MS));
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_int_ge(since(begin), frozen && _i >= 2 ? 50 : 299); /* what a signal leaves is not known then */
    ck_assert_int_lt(cpu_ms() - cpu, 150);                        /* asleep, not looking again and again */
    frozen = false;
}
END_TEST

START_TEST(a_ring_before_the_wait_is_not_missed)
{
    struct pt_bell bell = {UINT32_MAX};
    uint32_t rings = pt_bell_rings(&bell);
    pt_bell_ring(&bell);
    pt_bell_await(&bell, rings);
    ck_assert(pt_bell_wait(&bell, rings, 0));
    ck_assert(!pt_bell_wait(&bell, pt_bell_rings(&bell), 0));
}
END_TEST

static struct pt_bell ping, pong;
#define TURNS 20000

static void *answers(void *unused)
{
    for (uint32_t i = 0; i < TURNS; i++) {
        pt_bell_await(&ping, i);
        pt_bell_ring(&pong);
    }
    return unused;
}

START_TEST(two_threads_wake_each_other)
{
    pthread_t other;
    frozen = true;
    pthread_create(&other, NULL, answers, NULL);
    for (uint32_t i = 0; i < TURNS; i++) {
        pt_bell_ring(&ping);
        if (i % 2 == 0) {
            pt_bell_await(&pong, i);
        } else {
            REQUIRE(pt_bell_wait(&pong, i, 60000 * MS));
        }
    }
    pthread_join(other, NULL);
    ck_assert_uint_eq(pt_bell_rings(&pong), TURNS);
    frozen = false;
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("wait");
    tcase_add_loop_test(tests, patience_ends, 0, 2);
    tcase_add_test(tests, a_pause_keeps_errno);
    tcase_add_loop_test(tests, nobody_rings, 0, 6);
    tcase_add_test(tests, a_ring_before_the_wait_is_not_missed);
    tcase_add_test(tests, two_threads_wake_each_other);
    return suite_run("wait", tests);
}
