/* Forks from the middle of jemalloc, by any way, and threads whose end has begun: memory comes from the locked region,
 * or there is none, and nobody waits for ever. */
#include "base/sandbox.h"
#include "blocks.h"
#include "kernel.h"
#include "memory/arena.h"
#include "memory/segments.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>

static bool serves(void)
{
    pintensor_block b;
    pintensor_manager m = pintensor_manager_create();
    if (m == 0 || pintensor_alloc(m, 100, &b) != 0) {
        return false;
    }
    memset(b.data, 1, 100);
    bool locked = pintensor_is_managed(b.data, 100);
    return pintensor_free_block(m, &b) == 0 && locked;
}

static void begin(void)
{
    manager = pintensor_manager_create();
    release(alloc(100));
}

static void a_child_serves(void)
{
    ck_assert(serves());
}

static void a_child_does_without(void)
{
    catch_stderr();
    ck_assert(!serves());
    ck_assert_ptr_nonnull(strstr(suite_stderr(), "forked in the middle of an allocation"));
    ck_assert(!serves());
    ck_assert_uint_eq(lines_of(suite_stderr()), 1); /* it is said once */
    pt_arena_let_forks_in();                        /* as who made this child here does when he returns */
    ck_assert(!serves());
}

static void a_grandchild_does_without(void)
{
    ck_assert(!serves());
    ck_assert(child_does(a_child_does_without));
}

START_TEST(a_fork_from_the_inside)
{
    begin();
    ck_assert_int_eq(pt_arena_shut_out_forks(), 0); /* as a signal handler that interrupts jemalloc finds it */
    ck_assert(child_does(a_child_does_without));
    ck_assert(child_does(a_grandchild_does_without));
    ck_assert(child_past_libc_does(a_child_does_without));
    pt_arena_let_forks_in();
    ck_assert(serves());
    ck_assert(child_does(a_child_serves));
    ck_assert(child_past_libc_does(a_child_serves));
}
END_TEST

START_TEST(a_fork_before_the_first_block)
{
    ck_assert_int_eq(pt_arena_shut_out_forks(), 0);
    pt_arena_let_forks_in();
    ck_assert(child_does(a_child_serves));
    ck_assert(child_past_libc_does(a_child_serves));
    ck_assert(serves());
}
END_TEST

static void a_child_past_libc_serves_too(void)
{
    ck_assert(serves());
    ck_assert(child_past_libc_does(a_child_serves));
    ck_assert(child_does(a_child_serves));
}

START_TEST(a_fork_past_libc_and_another_one)
{
    begin();
    ck_assert(child_past_libc_does(a_child_past_libc_serves_too));
    ck_assert(serves());
}
END_TEST

/* ---- threads that end ---- */

static pthread_key_t key;
static unsigned rounds, served;

static void in_the_end(void *more)
{
    rounds++;
    served += serves();
    if (more != NULL) {
        pthread_setspecific(key, more);
    }
}

static void *ends(void *unused)
{
    pthread_setspecific(key, &key);
    return unused;
}

static void end_a_thread(void)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ends, NULL), 0);
    pthread_join(thread, NULL);
}

/* The rounds in which libc calls what destroys a thread's data are more than jemalloc knows the thread for. */
START_TEST(a_thread_that_ends_is_served)
{
    ck_assert_int_eq(pthread_key_create(&key, in_the_end), 0);
    begin();
    end_a_thread();
    ck_assert_uint_ge(rounds, 2);
    ck_assert_uint_eq(served, rounds);
}
END_TEST

static void forbid_something(void)
{
    pt_sandbox_init();
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, all};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static unsigned unlocked;

static void takes_small_ones(void *unused)
{
    size_t usable;
    (void)unused;
    for (size_t size = 64; size <= 8 * KIB; size *= 2) {
        char *p = pt_arena_small(size, 64, &usable);
        const struct pt_range *r = pt_segments_range();
        unlocked += p != NULL && (size_t)(p - r->base) >= r->small;
        REQUIRE((p == NULL) == (usable == 0));
    }
    rounds++;
    if (rounds % 4 != 0) {
        pthread_setspecific(key, &key);
    }
}

/* No thread may be made there: what is not ours is no block. */
START_TEST(a_thread_that_ends_in_a_sandbox_gets_nothing_that_is_not_locked)
{
    ck_assert_int_eq(pthread_key_create(&key, takes_small_ones), 0);
    begin();
    if (_i == 1) {
        forbid_something();
    }
    end_a_thread();
    ck_assert_uint_ge(rounds, 2);
    ck_assert_uint_eq(unlocked, 0);
    ck_assert(serves());
}
END_TEST

/* ---- the first call, on a small stack ---- */

static void *is_first(void *unused)
{
    REQUIRE(serves());
    return unused;
}

START_TEST(the_first_block_on_a_small_stack)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    ck_assert_int_eq(pthread_attr_setstacksize(&small, 128 * KIB), 0);
    ck_assert_int_eq(pthread_create(&thread, &small, is_first, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert(serves());
}
END_TEST

START_TEST(the_first_thread_s_stack_is_limited)
{
    struct rlimit stack;
    ck_assert_int_eq(getrlimit(RLIMIT_STACK, &stack), 0);
    if (_i == 0) {
        stack.rlim_cur = 32 * KIB;
        ck_assert_int_eq(setrlimit(RLIMIT_STACK, &stack), 0);
    } else {
        kernel_refuse(SYS_getrlimit, EPERM, 0, 1000);
    }
    bool fine = serves();
    kernel_refuse(0, 0, 0, 0);
    ck_assert(fine);
}
END_TEST

int main(void)
{
    need_lockable(4 * MIB);
    TCase *tests = tcase_create("gate");
    tcase_add_test(tests, a_fork_from_the_inside);
    tcase_add_test(tests, a_fork_before_the_first_block);
    tcase_add_test(tests, a_fork_past_libc_and_another_one);
    tcase_add_test(tests, a_thread_that_ends_is_served);
    tcase_add_loop_test(tests, a_thread_that_ends_in_a_sandbox_gets_nothing_that_is_not_locked, 0, 2);
    tcase_add_test(tests, the_first_block_on_a_small_stack);
    tcase_add_loop_test(tests, the_first_thread_s_stack_is_limited, 0, 2);
    return suite_run("gate", tests);
}
