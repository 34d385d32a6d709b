#include "ledger/counters.h"
#include "memory/segments.h"
#include "suite.h"

enum { SITES = 8 };

static struct pt_record record[64];
static size_t taken;

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(-1), 0);
    atomic_store(&pt_table()->sites, SITES);
}

static struct pt_record *goes_live(uint32_t site, uint64_t bytes)
{
    struct pt_record *r = &record[taken++];
    *r = (struct pt_record){.state = PT_LIVE, .site = site, .asked = bytes, .locked = 2 * bytes};
    pt_counters_alloc(r, false, 0);
    return r;
}

static struct pt_at_peak at_peak(uint32_t site)
{
    return pt_counters_at_peak(&pt_table()->counters, pt_table_site(site));
}

START_TEST(a_site_keeps_what_it_had_at_the_peak)
{
    start();
    struct pt_record *early = goes_live(1, 100);
    pt_counters_drop(early, false);
    struct pt_record *at_it = goes_live(2, 300);
    goes_live(3, 50); /* the peak: 350 */
    pt_counters_drop(at_it, false);
    goes_live(1, 20);
    goes_live(4, 30);
    ck_assert_uint_eq(at_peak(1).bytes, 0);
    ck_assert_uint_eq(at_peak(2).bytes, 300);
    ck_assert_uint_eq(at_peak(2).locked, 600);
    ck_assert_uint_eq(at_peak(2).blocks, 1);
    ck_assert_uint_eq(at_peak(3).bytes, 50);
    ck_assert_uint_eq(at_peak(4).bytes, 0);
    goes_live(3, 500); /* a new one: 600 */
    ck_assert_uint_eq(at_peak(1).bytes, 20);
    ck_assert_uint_eq(at_peak(2).bytes, 0);
    ck_assert_uint_eq(at_peak(3).bytes, 550);
    ck_assert_uint_eq(at_peak(3).blocks, 2);
    ck_assert_uint_eq(at_peak(4).bytes, 30);
}
END_TEST

/* The same by brute force: at each new peak a copy of all sites is taken. */
START_TEST(sites_add_up_to_the_peak)
{
    start();
    struct pt_record *live[SITES * 4] = {0};
    uint64_t expected[SITES] = {0}, peak = 0;
    srand((unsigned)_i + 1);
    for (int turn = 0; turn < 10000; turn++) {
        size_t n = (size_t)rand() % (SITES * 4);
        if (live[n] != NULL) {
            pt_counters_drop(live[n], rand() % 2 == 0);
            live[n] = NULL;
        } else {
            taken = n;
            live[n] = goes_live((uint32_t)n % SITES, 1 + (uint64_t)rand() % 1000);
        }
        if (pt_table()->counters.live_bytes > peak) {
            peak = pt_table()->counters.live_bytes;
            for (uint32_t site = 0; site < SITES; site++) {
                expected[site] = pt_table_site(site)->live_bytes;
            }
        }
        uint64_t sum = 0;
        for (uint32_t site = 0; site < SITES; site++) {
            REQUIRE(at_peak(site).bytes == expected[site]);
            sum += expected[site];
        }
        REQUIRE(sum == pt_table()->counters.peak_bytes);
    }
}
END_TEST

START_TEST(a_tally_that_is_folded_in_leaves_the_peak_alone)
{
    start();
    struct pt_record *r = goes_live(1, 400);
    struct pt_tally tally = {0};
    pt_counters_kept_end(&tally, r); /* into the thread's hands */
    pt_counters_fold(&tally);
    ck_assert_uint_eq(pt_table_site(1)->live, 0);
    ck_assert_uint_eq(at_peak(1).bytes, 400);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("counters");
    tcase_add_test(tests, a_site_keeps_what_it_had_at_the_peak);
    tcase_add_loop_test(tests, sites_add_up_to_the_peak, 0, 4);
    tcase_add_test(tests, a_tally_that_is_folded_in_leaves_the_peak_alone);
    return suite_run("counters", tests);
}
