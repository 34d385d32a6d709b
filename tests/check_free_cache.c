#include "ledger/table.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "pool/free_cache.h"
#include "suite.h"

#include <stdint.h>

/* The cache reads and links records only: these describe memory that does not exist. */
static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(-1), 0);
    pt_free_cache_init();
}

static uint32_t put(size_t locked, size_t capacity, uint64_t now)
{
    uint32_t number = pt_table_take_record();
    struct pt_record *r = pt_table_record(number);
    r->state = PT_CACHED;
    r->locked = locked;
    r->capacity = capacity;
    pt_free_cache_put(number, now);
    return number;
}

START_TEST(an_empty_cache_has_nothing)
{
    start();
    ck_assert_uint_eq(pt_free_cache_take(PT_PAGE), 0);
    ck_assert_uint_eq(pt_free_cache_take_oldest(UINT64_MAX), 0);
    ck_assert_uint_eq(pt_free_cache_bytes(), 0);
}
END_TEST

START_TEST(the_same_size_comes_first_the_newest_of_it)
{
    start();
    uint32_t first = put(5 * MIB, 5 * MIB, 1);
    uint32_t larger = put(5 * MIB + PT_PAGE, 6 * MIB, 2);
    uint32_t second = put(5 * MIB, 5 * MIB, 3);
    uint32_t smaller = put(5 * MIB - PT_PAGE, 6 * MIB, 4);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), second);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), first);
    ck_assert_uint_eq(pt_free_cache_bytes(), pt_table_record(larger)->locked + pt_table_record(smaller)->locked);
}
END_TEST

START_TEST(a_larger_one_comes_before_a_smaller_one)
{
    start();
    uint32_t smaller = put(4 * MIB, 8 * MIB, 1);
    uint32_t larger = put(6 * MIB, 6 * MIB, 2);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), larger);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), smaller);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), 0);
    ck_assert_uint_eq(pt_free_cache_bytes(), 0);
}
END_TEST

START_TEST(a_smaller_one_needs_addresses_to_grow_into)
{
    start();
    put(4 * MIB, 4 * MIB, 1);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), 0);
    uint32_t roomy = put(4 * MIB, 5 * MIB, 2);
    ck_assert_uint_eq(pt_free_cache_take(5 * MIB), roomy);
}
END_TEST

START_TEST(far_sizes_are_no_match)
{
    start();
    put(64 * MIB, 64 * MIB, 1);
    put(64 * KIB, 64 * MIB, 2);
    ck_assert_uint_eq(pt_free_cache_take(2 * MIB), 0);
    ck_assert_uint_eq(pt_free_cache_bytes(), 64 * MIB + 64 * KIB);
}
END_TEST

START_TEST(what_is_taken_always_fits)
{
    start();
    srand(1);
    for (unsigned i = 0; i < 2000; i++) {
        size_t locked = (size_t)(rand() % 3000 + 1) * PT_PAGE;
        put(locked, locked + (size_t)(rand() % 3) * PT_PAGE * 100, i);
    }
    for (unsigned i = 0; i < 2000; i++) {
        size_t need = (size_t)(rand() % 3000 + 1) * PT_PAGE, before = pt_free_cache_bytes();
        uint32_t number = pt_free_cache_take(need);
        if (number != 0) {
            const struct pt_record *r = pt_table_record(number);
            ck_assert_uint_ge(r->capacity, need);
            ck_assert_uint_eq(pt_free_cache_bytes(), before - r->locked);
        }
    }
}
END_TEST

START_TEST(the_oldest_goes_first_and_only_when_old_enough)
{
    start();
    uint32_t a = put(MIB, MIB, 10), b = put(9 * MIB, 9 * MIB, 20), c = put(MIB, MIB, 30);
    ck_assert_uint_eq(pt_free_cache_take_oldest(9), 0);
    ck_assert_uint_eq(pt_free_cache_take_oldest(10), a);
    ck_assert_uint_eq(pt_free_cache_take_oldest(10), 0);
    ck_assert_uint_eq(pt_free_cache_take(MIB), c); /* out of the middle of neither list */
    ck_assert_uint_eq(pt_free_cache_take_oldest(UINT64_MAX), b);
    ck_assert_uint_eq(pt_free_cache_take_oldest(UINT64_MAX), 0);
    ck_assert_uint_eq(pt_free_cache_bytes(), 0);
}
END_TEST

START_TEST(order_by_age_survives_takes_in_between)
{
    start();
    enum { BLOCKS = 500 };
    for (unsigned i = 0; i < BLOCKS; i++) {
        put((i % 7 + 1) * MIB, (i % 7 + 1) * MIB, i);
    }
    unsigned taken = 0;
    for (; taken < 40; taken++) {
        ck_assert_uint_ne(pt_free_cache_take(3 * MIB), 0);
    }
    uint64_t last = 0;
    uint32_t oldest;
    for (; (oldest = pt_free_cache_take_oldest(UINT64_MAX)) != 0; taken++) {
        ck_assert_uint_ge(pt_table_record(oldest)->born_ns, last);
        last = pt_table_record(oldest)->born_ns;
    }
    ck_assert_uint_eq(taken, BLOCKS);
    ck_assert_uint_eq(pt_free_cache_bytes(), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cache");
    tcase_add_test(tests, an_empty_cache_has_nothing);
    tcase_add_test(tests, the_same_size_comes_first_the_newest_of_it);
    tcase_add_test(tests, a_larger_one_comes_before_a_smaller_one);
    tcase_add_test(tests, a_smaller_one_needs_addresses_to_grow_into);
    tcase_add_test(tests, far_sizes_are_no_match);
    tcase_add_test(tests, what_is_taken_always_fits);
    tcase_add_test(tests, the_oldest_goes_first_and_only_when_old_enough);
    tcase_add_test(tests, order_by_age_survives_takes_in_between);
    return suite_run("cache", tests);
}
