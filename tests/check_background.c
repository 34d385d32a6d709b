/* The thread that looks after what waits: it works when woken, ticks now and then, and goes when nothing is left. */
#include "pool/background.h"
#include "suite.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic unsigned works, ticks;
static _Atomic bool busy = true; /* something is left to look after */

static bool tick(void)
{
    ticks++;
    return busy;
}

static void work(void)
{
    works++;
}

START_TEST(it_works_when_woken)
{
    pt_background_init(tick, work, 1000);
    for (unsigned i = 1; i <= 100; i++) {
        ck_assert(pt_background_wake());
        EVENTUALLY(works >= i);
    }
}
END_TEST

START_TEST(it_ticks_until_nothing_is_left)
{
    pt_background_init(tick, work, 0); /* 50 ms */
    pt_background_watch();
    EVENTUALLY(ticks >= 3);
    busy = false;
    if (mappings_are_ours()) { /* else there is a thread of the sanitizer's own */
        EVENTUALLY(threads_now() == 1);
    }
    unsigned before = ticks;
    busy = true;
    pt_background_watch();
    EVENTUALLY(ticks >= before + 3);
}
END_TEST

START_TEST(woken_again_and_again_it_ticks_too)
{
    pt_background_init(tick, work, 1); /* 250 ms */
    for (int i = 0; i < 500 && ticks < 2; i++) {
        ck_assert(pt_background_wake());
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    ck_assert_uint_ge(ticks, 2);
    ck_assert_uint_ge(works, 5);
}
END_TEST

START_TEST(nobody_works_once_it_is_stopped)
{
    pt_background_init(tick, work, 1000);
    ck_assert(pt_background_wake());
    EVENTUALLY(works >= 1);
    pt_background_stop();
    (void)pt_background_wake();
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    ck_assert_uint_eq(works, 1);
}
END_TEST

/* The thread of before may be there still, and answer what was meant for the new one. */
START_TEST(resumed_it_misses_nothing)
{
    pt_background_init(tick, work, 1000);
    for (unsigned i = 1; i <= 300; i++) {
        ck_assert(pt_background_wake());
        EVENTUALLY(works >= i);
        pt_background_stop();
        pt_background_resume();
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("background");
    tcase_add_test(tests, it_works_when_woken);
    tcase_add_test(tests, it_ticks_until_nothing_is_left);
    tcase_add_test(tests, woken_again_and_again_it_ticks_too);
    tcase_add_test(tests, nobody_works_once_it_is_stopped);
    tcase_add_test(tests, resumed_it_misses_nothing);
    return suite_run("background", tests);
}
