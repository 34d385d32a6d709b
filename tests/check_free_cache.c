/* The free cache alone: what is found, by size and by age. */
#include "ledger/table.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "pool/free_cache.h"
#include "suite.h"

#include <stdint.h>

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(0), 0);
    pt_free_cache_init();
}

static uint32_t put(size_t size, enum pt_free_kind kind, uint64_t now)
{
    uint32_t number = pt_table_take_record();
    struct pt_record *r = pt_table_record(number);
    r->state = PT_CACHED;
    r->capacity = size;
    r->born_ns = now;
    pt_free_cache_put(number, kind);
    return number;
}

START_TEST(an_empty_cache_has_nothing)
{
    start();
    for (int kind = 0; kind < PT_FREE_KINDS; kind++) {
        ck_assert_uint_eq(pt_free_cache_best(PT_PAGE, kind), 0);
        ck_assert_uint_eq(pt_free_cache_bytes(kind), 0);
    }
    ck_assert_uint_eq(pt_free_cache_oldest(UINT64_MAX), 0);
}
END_TEST

START_TEST(the_same_size_comes_first_the_newest_of_it)
{
    start();
    uint32_t first = put(5 * MIB, PT_FREE_REGISTERED, 1), second = put(5 * MIB, PT_FREE_REGISTERED, 2);
    put(5 * MIB + PT_PAGE, PT_FREE_REGISTERED, 3);
    put(5 * MIB - PT_PAGE, PT_FREE_REGISTERED, 4);
    ck_assert_uint_eq(pt_free_cache_best(5 * MIB, PT_FREE_REGISTERED), second);
    pt_free_cache_remove(second, PT_FREE_REGISTERED);
    ck_assert_uint_eq(pt_free_cache_best(5 * MIB, PT_FREE_REGISTERED), first);
}
END_TEST

START_TEST(else_the_smallest_that_is_large_enough)
{
    start();
    put(3 * MIB, PT_FREE_REGISTERED, 1);
    uint32_t large = put(64 * MIB, PT_FREE_REGISTERED, 2), near = put(5 * MIB, PT_FREE_REGISTERED, 3);
    ck_assert_uint_eq(pt_free_cache_best(4 * MIB, PT_FREE_REGISTERED), near);
    ck_assert_uint_eq(pt_free_cache_best(6 * MIB, PT_FREE_REGISTERED), large);
    ck_assert_uint_eq(pt_free_cache_best(65 * MIB, PT_FREE_REGISTERED), 0);
}
END_TEST

START_TEST(kinds_are_apart)
{
    start();
    uint32_t hole = put(MIB, PT_FREE_HOLE, 1), small = put(MIB, PT_FREE_SMALL, 1), mlocked = put(2 * MIB, PT_FREE_MLOCKED, 1);
    ck_assert_uint_eq(pt_free_cache_best(MIB, PT_FREE_HOLE), hole);
    ck_assert_uint_eq(pt_free_cache_best(MIB, PT_FREE_SMALL), small);
    ck_assert_uint_eq(pt_free_cache_best(MIB, PT_FREE_REGISTERED), 0);
    ck_assert_uint_eq(pt_free_cache_best(MIB, PT_FREE_MLOCKED), mlocked);
    ck_assert_uint_eq(pt_free_cache_locked(), 3 * MIB); /* a hole is not locked */
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_HOLE), MIB);
}
END_TEST

START_TEST(what_is_found_always_fits)
{
    start();
    srand(1);
    for (unsigned i = 0; i < 500; i++) {
        put((size_t)(rand() % 3000 + 1) * PT_PAGE, PT_FREE_REGISTERED, i);
    }
    unsigned found = 0;
    for (unsigned i = 0; i < 3000; i++) {
        size_t need = (size_t)(rand() % 3000 + 1) * PT_PAGE, before = pt_free_cache_bytes(PT_FREE_REGISTERED);
        uint32_t number = pt_free_cache_best(need, PT_FREE_REGISTERED);
        if (number != 0) {
            size_t size = pt_table_record(number)->capacity;
            ck_assert_uint_ge(size, need);
            pt_free_cache_remove(number, PT_FREE_REGISTERED);
            ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_REGISTERED), before - size);
            found++;
        }
    }
    ck_assert_uint_gt(found, 400);
}
END_TEST

START_TEST(the_oldest_goes_first_and_only_when_old_enough)
{
    start();
    uint32_t a = put(MIB, PT_FREE_MLOCKED, 10), b = put(4 * MIB, PT_FREE_MLOCKED, 20), c = put(MIB, PT_FREE_MLOCKED, 30);
    put(MIB, PT_FREE_REGISTERED, 1); /* which has no age */
    ck_assert_uint_eq(pt_free_cache_oldest(9), 0);
    ck_assert_uint_eq(pt_free_cache_oldest(10), a);
    pt_free_cache_remove(a, PT_FREE_MLOCKED);
    ck_assert_uint_eq(pt_free_cache_oldest(10), 0);
    pt_free_cache_remove(c, PT_FREE_MLOCKED); /* out of the middle of neither list */
    ck_assert_uint_eq(pt_free_cache_oldest(UINT64_MAX), b);
    pt_free_cache_remove(b, PT_FREE_MLOCKED);
    ck_assert_uint_eq(pt_free_cache_oldest(UINT64_MAX), 0);
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_MLOCKED), 0);
}
END_TEST

START_TEST(order_by_age_survives_latecomers)
{
    start();
    uint64_t last = 0;
    srand(3);
    for (unsigned i = 0; i < 300; i++) {
        put((size_t)(i % 7 + 1) * MIB, PT_FREE_MLOCKED, i * 10 - (i % 5 == 0 ? (unsigned)rand() % 40 : 0));
    }
    unsigned count = 0;
    for (uint32_t number; (number = pt_free_cache_oldest(UINT64_MAX)) != 0; count++) {
        ck_assert_uint_ge(pt_table_record(number)->born_ns, last);
        last = pt_table_record(number)->born_ns;
        pt_free_cache_remove(number, PT_FREE_MLOCKED);
    }
    ck_assert_uint_eq(count, 300);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("free_cache");
    tcase_add_test(tests, an_empty_cache_has_nothing);
    tcase_add_test(tests, the_same_size_comes_first_the_newest_of_it);
    tcase_add_test(tests, else_the_smallest_that_is_large_enough);
    tcase_add_test(tests, kinds_are_apart);
    tcase_add_test(tests, what_is_found_always_fits);
    tcase_add_test(tests, the_oldest_goes_first_and_only_when_old_enough);
    tcase_add_test(tests, order_by_age_survives_latecomers);
    return suite_run("free_cache", tests);
}
