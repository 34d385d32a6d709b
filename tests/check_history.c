/* How the counters went over a run: what each moment tells, however long the run becomes. */
#include "ledger/history.h"
#include "suite.h"

static struct pt_table *t;

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(0), 0);
    t = pt_table();
}

/* From so many moments of the first length after the start on, so many bytes are alive, and half as many wait. */
static void change(uint64_t at, uint64_t bytes)
{
    pt_history_note(t->born_ns + at * PT_MOMENT_NS + 1);
    t->counters.live_bytes = bytes;
    t->counters.live_locked = bytes + 1;
    t->counters.cached_locked = bytes / 2;
    t->counters.stock_bytes = bytes + 2;
    t->counters.pow2_bytes = bytes + 3;
}

static struct pt_history until(uint64_t at)
{
    struct pt_history h;
    pt_history_copy(t, t->born_ns + at * PT_MOMENT_NS + 1, &h);
    return h;
}

START_TEST(each_moment_has_the_most_of_its_time)
{
    start();
    change(2, 100);
    change(2, 60);
    change(5, 10);
    struct pt_history h = until(6);
    const uint64_t asked[] = {0, 0, 100, 60, 60, 60, 10};
    ck_assert_uint_eq(h.used, sizeof asked / sizeof *asked);
    ck_assert_uint_eq(h.width_ns, PT_MOMENT_NS);
    for (unsigned i = 0; i < h.used; i++) {
        ck_assert_msg(h.moment[i].asked == asked[i], "%u: %zu", i, (size_t)h.moment[i].asked);
    }
    const struct pt_moment *m = &h.moment[2];
    ck_assert(m->locked == 151 && m->waiting == 50 && m->stock == 102 && m->pow2 == 103);
}
END_TEST

/* Whenever it has outgrown the moments, two become one: none is lost, and none comes twice. */
START_TEST(a_longer_run_has_longer_moments)
{
    enum { RUN = 5 * PT_MOMENTS };
    start();
    for (uint64_t at = 1; at <= RUN; at++) {
        change(at, at);
    }
    struct pt_history h = until(RUN);
    ck_assert_uint_eq(h.width_ns, 8 * PT_MOMENT_NS);
    ck_assert_uint_eq(h.used, RUN / 8 + 1);
    for (unsigned i = 0; i < h.used; i++) {
        uint64_t most = 8 * i + 7; /* of 8 moments the last change */
        ck_assert_uint_eq(h.moment[i].asked, most < RUN ? most : RUN);
    }
}
END_TEST

/* Where hours went by without a change. */
START_TEST(what_does_not_change_goes_on)
{
    start();
    change(1, 7);
    change(1000000, 0);
    struct pt_history h = until(3000000);
    uint64_t width = h.width_ns / PT_MOMENT_NS;
    ck_assert(h.used <= PT_MOMENTS && h.used > PT_MOMENTS / 2);
    for (unsigned i = 0; i < h.used; i++) {
        ck_assert_uint_eq(h.moment[i].asked, i <= 1000000 / width ? 7 : 0);
    }
    ck_assert_uint_le(t->history.used, PT_MOMENTS); /* a copy was gone on with, not the table's own */
    ck_assert_uint_lt(t->history.width_ns * t->history.used, h.width_ns * h.used);
}
END_TEST

/* What is held at the exit is given back then, which is nothing that the program did. */
START_TEST(it_ends_where_the_exit_began)
{
    start();
    change(1, 7);
    t->exit_ns = t->born_ns + 4 * PT_MOMENT_NS + 1;
    change(4, 0);
    change(9, 0);
    struct pt_history h;
    pt_history_copy(t, t->exit_ns, &h);
    ck_assert(h.used == 5 && h.moment[3].asked == 7 && h.moment[4].asked == 7);
}
END_TEST

/* A clock that was read before somebody else's. */
START_TEST(an_earlier_time_changes_no_moment_before)
{
    start();
    change(5, 10);
    change(3, 20);
    struct pt_history h = until(5);
    ck_assert_uint_eq(h.used, 6);
    ck_assert(h.moment[4].asked == 0 && h.moment[5].asked == 20);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("history");
    tcase_add_test(tests, each_moment_has_the_most_of_its_time);
    tcase_add_test(tests, a_longer_run_has_longer_moments);
    tcase_add_test(tests, what_does_not_change_goes_on);
    tcase_add_test(tests, it_ends_where_the_exit_began);
    tcase_add_test(tests, an_earlier_time_changes_no_moment_before);
    return suite_run("history", tests);
}
