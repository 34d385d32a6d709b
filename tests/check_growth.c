#include "ledger/growth.h"
#include "suite.h"

#define MS ((uint64_t)1000000)

/* A run of a program as one site sees it: a clock, and allocations of other sites in between. */
static struct pt_site site;
static uint64_t now, order;

static void start(void)
{
    site = (struct pt_site){0};
    now = 5000 * MS; /* the clock does not begin at zero */
    order = 0;
}

static void wait_ms(uint64_t ms)
{
    now += ms * MS;
}

static void others(unsigned n)
{
    order += n;
}

static void allocate(uint64_t bytes)
{
    site.live_bytes += bytes;
    pt_growth_note(&site, now, now, ++order);
}

static void release(uint64_t bytes)
{
    site.live_bytes -= bytes;
}

static bool growing(void)
{
    return pt_growth_judge(&site, 5000 * MS, now);
}

/* Locking 256 MiB takes longer than a pause between visits may: it is none. */
START_TEST(large_buffers_made_in_a_row_are_one_visit)
{
    for (unsigned i = 0; i < 6; i++) {
        uint64_t asked = now;
        now += 100 * MS;
        site.live_bytes += 256u << 20;
        pt_growth_note(&site, asked, now, ++order);
    }
    ck_assert_uint_eq(site.visits, 1);
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
        ck_assert_uint_eq(pt_growth_step(&site), MIB);
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
        release(8 * MIB);
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

START_TEST(a_burst_near_the_end_does_not)
{
    start();
    wait_ms(60000);
    for (unsigned i = 0; i < 10; i++) { /* buffers of a phase that begins late: evaluation, a checkpoint */
        allocate(MIB);
        others(2);
        wait_ms(100);
    }
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
        release(4 * MIB);
    }
    ck_assert(!growing());
    ck_assert_uint_eq(site.high_bytes, 4 * MIB);
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

START_TEST(what_was_given_back_does_not)
{
    start();
    for (unsigned i = 0; i < 10; i++) {
        wait_ms(1000);
        others(1);
        allocate(MIB);
    }
    release(6 * MIB);
    ck_assert(!growing());
}
END_TEST

START_TEST(an_untouched_site_does_not)
{
    start();
    wait_ms(1000);
    ck_assert(!growing());
    ck_assert_uint_eq(pt_growth_step(&site), 0);
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
    tcase_add_test(tests, a_burst_near_the_end_does_not);
    tcase_add_test(tests, steady_reuse_does_not);
    tcase_add_test(tests, three_heights_may_be_warm_up);
    tcase_add_test(tests, growth_that_stopped_does_not);
    tcase_add_test(tests, what_was_given_back_does_not);
    tcase_add_test(tests, an_untouched_site_does_not);
    return suite_run("growth", tests);
}
