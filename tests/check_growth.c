#include "ledger/growth.h"
#include "suite.h"

#define MS ((uint64_t)1000000)

/* A run of a program as one site sees it: a clock, and allocations of other sites in between. */
static struct pt_site *site;
static uint64_t now, order;

static void start(void)
{
    if (site == NULL) {
        ck_assert_int_eq(pt_segments_init(), 0);
        ck_assert_int_eq(pt_table_init(-1), 0);
        site = pt_table_site(1);
    }
    *site = (struct pt_site){0};
    *pt_table_growth(1) = (struct pt_growth){0};
    now = 5000 * MS; /* the clock does not begin at zero */
    order = 0;
}

static void wait_ms(int64_t ms)
{
    now += (uint64_t)ms * MS;
}

static void others(unsigned n)
{
    order += n;
}

static void allocate(uint64_t bytes)
{
    site->live++;
    site->live_bytes += bytes;
    pt_growth_note(site, pt_table_growth(1), now, now, ++order);
}

static void release(uint64_t blocks, uint64_t bytes)
{
    site->live -= blocks;
    site->live_bytes -= bytes;
}

static bool growing(void)
{
    return pt_growth_judge(site, pt_table_growth(1), now);
}

/* Locking 256 MiB takes longer than a pause between visits may: it is none. */
START_TEST(large_buffers_made_in_a_row_are_one_visit)
{
    start();
    for (unsigned i = 0; i < 6; i++) {
        uint64_t asked = now;
        now += 100 * MS;
        site->live++;
        site->live_bytes += 256u << 20;
        pt_growth_note(site, pt_table_growth(1), asked, now, ++order);
    }
    ck_assert_uint_eq(pt_table_growth(1)->visits, 1);
    ck_assert(!growing());
}
END_TEST

START_TEST(one_leak_a_step_grows)
{
    for (uint64_t step = 200; step <= 2000000; step *= 10) {
        start();
        for (unsigned i = 0; i < 10; i++) {
            wait_ms(step);
            others(3);
            allocate(MIB);
        }
        ck_assert_msg(growing(), "steps of %u ms", (unsigned)step);
        ck_assert_uint_eq(pt_growth_step(site), MIB);
    }
}
END_TEST

START_TEST(a_leak_beside_steady_reuse_grows)
{
    start();
    for (unsigned step = 0; step < 20; step++) {
        wait_ms(500);
        allocate(8 * MIB); /* the step's own buffer */
        others(1);
        allocate(MIB); /* lost */
        release(1, 8 * MIB);
    }
    ck_assert(growing());
}
END_TEST

START_TEST(a_loop_at_the_start_does_not)
{
    start();
    for (unsigned i = 0; i < 1000; i++) {
        allocate(MIB);
    }
    wait_ms(60000);
    ck_assert(!growing());
}
END_TEST

START_TEST(a_slow_loop_at_the_start_does_not)
{
    start();
    for (unsigned layer = 0; layer < 100; layer++) { /* other sites in turn, and pauses: 100 visits */
        allocate(MIB);
        others(2);
        wait_ms(30);
    }
    wait_ms(60000);
    ck_assert(!growing());
}
END_TEST

START_TEST(a_phase_that_begins_late_does_not)
{
    start();
    wait_ms(60000);
    for (unsigned i = 0; i < 10; i++) { /* its buffers */
        allocate(MIB);
        others(2);
        wait_ms(100);
    }
    ck_assert(growing()); /* for all that is known now */
    wait_ms(2000);
    ck_assert(!growing());
}
END_TEST

START_TEST(steady_reuse_does_not)
{
    start();
    for (unsigned step = 0; step < 100; step++) {
        wait_ms(200);
        others(5);
        for (unsigned i = 0; i < 4; i++) {
            allocate(MIB);
        }
        release(4, 4 * MIB);
    }
    ck_assert(!growing());
    ck_assert_uint_eq(pt_table_growth(1)->high, 4);
}
END_TEST

START_TEST(three_heights_may_be_warm_up)
{
    start();
    for (unsigned i = 0; i < 3; i++) {
        wait_ms(1000);
        others(1);
        allocate(MIB);
        ck_assert(!growing());
    }
    wait_ms(1000);
    others(1);
    allocate(MIB);
    ck_assert(growing());
}
END_TEST

START_TEST(growth_that_stopped_does_not)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        wait_ms(1000);
        others(1);
        allocate(MIB);
    }
    ck_assert(growing());
    wait_ms(3000);
    ck_assert(growing()); /* a pause like that is nothing new */
    wait_ms(60000);
    ck_assert(!growing());
}
END_TEST

/* Whatever the time: what is still visited, and rises no more, is full. */
START_TEST(a_cache_that_is_full_does_not)
{
    start();
    for (unsigned i = 0; i < 50; i++) {
        wait_ms(1000);
        others(1);
        allocate(MIB);
        if (i >= 40) {
            release(1, MIB);
        }
    }
    ck_assert(!growing());
}
END_TEST

START_TEST(steps_of_a_moment_are_visits)
{
    start();
    for (unsigned i = 0; i < 100; i++) { /* nobody else allocates */
        allocate(MIB);
        wait_ms(4);
    }
    ck_assert_uint_ge(pt_table_growth(1)->visits, 10);
    ck_assert(growing());
}
END_TEST

START_TEST(a_run_of_a_tenth_of_a_second_is_long_enough)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        allocate(MIB);
        others(1);
        wait_ms(10);
    }
    ck_assert(growing());
}
END_TEST

/* Windows are joined when all are full: what is known of many visits takes no more room, and says the same. */
START_TEST(any_number_of_visits_is_judged_alike)
{
    for (unsigned visits = 4; visits <= 100000; visits *= 3) {
        start();
        for (unsigned i = 0; i < visits; i++) {
            allocate(MIB);
            others(1);
            wait_ms(10);
        }
        ck_assert_uint_eq(pt_table_growth(1)->visits, visits);
        ck_assert_uint_le(pt_table_growth(1)->windows, PT_GROWTH_WINDOWS);
        ck_assert_uint_eq(site->rises, visits);
        ck_assert_msg(growing(), "%u visits", visits);
        release(visits, visits * MIB);
        ck_assert_msg(!growing(), "%u visits", visits);
    }
}
END_TEST

START_TEST(what_was_given_back_does_not)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        wait_ms(1000);
        others(1);
        allocate(MIB);
    }
    release(6, 6 * MIB);
    ck_assert(!growing());
}
END_TEST

/* A thread may tell of its visits after others did of later ones: whatever that looks like, it is no fault. */
START_TEST(a_clock_that_runs_backwards_does_no_harm)
{
    start();
    wait_ms(1000);
    allocate(MIB);
    uint64_t first = now;
    wait_ms(-500);
    for (unsigned i = 0; i < PT_GROWTH_WINDOWS - 2; i++) {
        others(1);
        allocate(MIB);
    }
    now = first;
    others(1);
    allocate(MIB);
    (void)growing();
}
END_TEST

START_TEST(an_untouched_site_does_not)
{
    start();
    wait_ms(1000);
    ck_assert(!growing());
    ck_assert_uint_eq(pt_growth_step(site), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("growth");
    tcase_add_test(tests, large_buffers_made_in_a_row_are_one_visit);
    tcase_add_test(tests, one_leak_a_step_grows);
    tcase_add_test(tests, a_leak_beside_steady_reuse_grows);
    tcase_add_test(tests, a_loop_at_the_start_does_not);
    tcase_add_test(tests, a_slow_loop_at_the_start_does_not);
    tcase_add_test(tests, a_phase_that_begins_late_does_not);
    tcase_add_test(tests, steady_reuse_does_not);
    tcase_add_test(tests, three_heights_may_be_warm_up);
    tcase_add_test(tests, growth_that_stopped_does_not);
    tcase_add_test(tests, a_cache_that_is_full_does_not);
    tcase_add_test(tests, steps_of_a_moment_are_visits);
    tcase_add_test(tests, a_run_of_a_tenth_of_a_second_is_long_enough);
    tcase_add_test(tests, any_number_of_visits_is_judged_alike);
    tcase_add_test(tests, what_was_given_back_does_not);
    tcase_add_test(tests, a_clock_that_runs_backwards_does_no_harm);
    tcase_add_test(tests, an_untouched_site_does_not);
    return suite_run("growth", tests);
}
