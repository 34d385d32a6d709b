#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "suite.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
}

static bool in_small(const void *p)
{
    const struct pt_range *r = pt_segments_range();
    return (size_t)((const char *)p - r->base) < r->small;
}

static bool in_exact(const void *p)
{
    const struct pt_range *r = pt_segments_range();
    return !in_small(p) && (size_t)((const char *)p - r->base) < r->size;
}

START_TEST(the_range_is_aligned_and_costs_nothing)
{
    size_t before = vmlck();
    start();
    const struct pt_range *r = pt_segments_range();
    ck_assert_uint_eq((uintptr_t)r->base % PT_HUGE, 0);
    ck_assert_uint_eq(r->small % PT_HUGE, 0);
    ck_assert_uint_gt(r->small, 0);
    ck_assert_uint_gt(r->size, r->small);
    ck_assert_uint_eq(vmlck(), before);
}
END_TEST

START_TEST(small_segments_are_locked_and_zero)
{
    start();
    for (size_t size = PT_PAGE; size <= 4 * MIB; size *= 4) {
        size_t before = pt_segments_small_locked();
        char *p = pt_segments_take_small(size, PT_PAGE);
        ck_assert(p != NULL && in_small(p));
        ck_assert(pt_segments_small_locked() - before <= size + PT_HUGE); /* the part ahead is bounded */
        ck_assert_uint_eq(vmlck(), pt_segments_small_locked());
        ck_assert_uint_eq(pt_pin_bytes(), pt_segments_small_locked());
        for (size_t i = 0; i < size; i += 512) {
            REQUIRE(p[i] == 0);
            p[i] = 1;
        }
    }
    ck_assert_uint_ge(vmlck(), 4 * MIB);
}
END_TEST

START_TEST(exact_segments_are_only_addresses)
{
    start();
    size_t before = vmlck();
    char *p = pt_segments_take_exact((size_t)8 << 30);
    ck_assert(p != NULL && in_exact(p) && in_exact(p + ((size_t)8 << 30) - 1));
    ck_assert(!pt_segments_is_open(p) && !pt_segments_is_open(p + 12345));
    ck_assert_int_eq(pt_segments_open(p + PT_PAGE, 3 * MIB), 0);
    ck_assert(pt_segments_is_open(p) && pt_segments_is_open(p + 3 * MIB) && !pt_segments_is_open(p + 4 * MIB));
    memset(p, 1, 4 * MIB);
    ck_assert_int_eq(pt_segments_open(p, 5 * MIB), 0); /* what was open stays as it is */
    ck_assert(p[12345] == 1 && p[5 * MIB] == 0);
    ck_assert_uint_eq(vmlck(), before);
    ck_assert_uint_eq(pt_segments_small_locked(), 0);
}
END_TEST

START_TEST(alignment_is_kept_and_segments_never_overlap)
{
    start();
    char *end[2] = {NULL, NULL};
    for (size_t align = PT_PAGE; align <= 16 * MIB; align *= 2) {
        for (int exact = 0; exact <= 1; exact++) {
            char *p = exact ? pt_segments_take_exact(3 * PT_PAGE) : pt_segments_take_small(3 * PT_PAGE, align);
            ck_assert_uint_eq((uintptr_t)p % (exact ? PT_HUGE : align), 0);
            ck_assert(p >= end[exact]);
            end[exact] = p + 3 * PT_PAGE;
        }
    }
}
END_TEST

/* Somebody's memory at an address of his choice, filled with fives. */
static char *put_foreign(char *at, size_t len)
{
    char *p = mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    ck_assert_ptr_eq(p, at);
    return memset(p, 5, len);
}

static bool is_untouched(const char *foreign, size_t len)
{
    bool same = true;
    for (size_t i = 0; i < len; i++) {
        same = same && foreign[i] == 5;
    }
    return same;
}

START_TEST(what_others_map_in_the_range_stays_theirs)
{
    enum { FOREIGN = 9 * MIB };
    start();
    char *p = pt_segments_take_small(64 * KIB, PT_PAGE), *small = put_foreign(p + 6 * MIB, FOREIGN);
    for (unsigned i = 0; i < 32; i++) {
        char *q = pt_segments_take_small(MIB, PT_PAGE);
        REQUIRE(q != NULL && (q + MIB <= small || q >= small + FOREIGN));
        memset(q, 1, MIB);
        REQUIRE(vmlck() == pt_segments_small_locked());
        pt_segments_unlock(q, MIB);
    }
    pt_segments_sweep(true);
    pt_segments_unlock_ahead();
    ck_assert_uint_eq(vmlck(), 64 * KIB);
    ck_assert(is_untouched(small, FOREIGN) && !pt_segments_is_open(small));
    char *e = pt_segments_take_exact(64 * MIB), *exact = put_foreign(e + 4 * MIB, FOREIGN);
    ck_assert_int_eq(pt_segments_open(e, 4 * MIB), 0);
    ck_assert_int_eq(pt_segments_open(e, 8 * MIB), -EEXIST);
    ck_assert_int_eq(pt_segments_open(e + 14 * MIB, MIB), 0);
    ck_assert(is_untouched(exact, FOREIGN) && !pt_segments_is_open(exact) && pt_segments_is_open(e + 14 * MIB));
}
END_TEST

START_TEST(addresses_that_have_to_be_mapped_do_as_well)
{
    pt_pages_reserve_by_mapping();
    start();
    char *small = pt_segments_take_small(MIB, PT_PAGE), *exact = pt_segments_take_exact(5 * MIB);
    ck_assert_int_eq(pt_segments_open(exact + 3 * MIB, MIB), 0);
    memset(small, 1, MIB);
    memset(exact + 3 * MIB, 1, MIB);
    ck_assert(pt_segments_is_open(exact + 3 * MIB) && !pt_segments_is_open(exact));
}
END_TEST

START_TEST(exact_addresses_come_back)
{
    start();
    char *a = pt_segments_take_exact(2 * MIB), *b = pt_segments_take_exact(6 * MIB), *c = pt_segments_take_exact(MIB);
    ck_assert(a + 2 * MIB == b && b + 6 * MIB == c);
    pt_segments_give_exact(b);
    ck_assert_ptr_eq(pt_segments_take_exact(8 * MIB), c + 2 * MIB); /* there is too little between the others */
    ck_assert_ptr_eq(pt_segments_take_exact(4 * MIB), b);
    ck_assert_ptr_eq(pt_segments_take_exact(2 * MIB), b + 4 * MIB);
    pt_segments_give_exact(a);
    pt_segments_give_exact(b);
    ck_assert_ptr_eq(pt_segments_take_exact(6 * MIB), a); /* neighbours are one */
}
END_TEST

START_TEST(a_full_region_says_no)
{
    start();
    const struct pt_range *r = pt_segments_range();
    ck_assert_ptr_null(pt_segments_take_exact(r->size - r->small + PT_PAGE));
    ck_assert_ptr_null(pt_segments_take_small(r->small + PT_PAGE, PT_PAGE));
    ck_assert_ptr_nonnull(pt_segments_take_exact(r->size - r->small));
    ck_assert_ptr_null(pt_segments_take_exact(PT_PAGE));
    ck_assert_ptr_nonnull(pt_segments_take_small(PT_PAGE, PT_PAGE));
}
END_TEST

START_TEST(a_hole_leaves_the_locked_memory_and_comes_back_zero)
{
    start();
    char *p = pt_segments_take_small(MIB, PT_PAGE);
    memset(p, 7, MIB);
    size_t locked = vmlck();
    pt_segments_unlock(p + 256 * KIB, 256 * KIB);
    ck_assert_uint_eq(vmlck(), locked - 256 * KIB);
    ck_assert_uint_eq(pt_segments_small_locked(), vmlck());
    ck_assert_int_eq(pt_segments_relock(p + 256 * KIB, 256 * KIB), 0);
    ck_assert_uint_eq(vmlck(), locked);
    ck_assert(p[256 * KIB - 1] == 7 && p[256 * KIB] == 0 && p[512 * KIB] == 7);
}
END_TEST

/* Each costs two of the 65,530 mappings that a process may have. What could not be one yet is, once its neighbours are
 * free too. */
START_TEST(holes_are_bounded_and_nothing_is_lost)
{
    start();
    enum { PAGES = 80000 };
    char *p = pt_segments_take_small(PAGES * PT_PAGE, PT_PAGE);
    for (unsigned i = 0; i < PAGES; i += 2) {
        pt_segments_unlock(p + i * PT_PAGE, PT_PAGE);
    }
    pt_segments_sweep(true);
    ck_assert_uint_lt(vmlck(), PAGES * PT_PAGE);
    ck_assert_uint_lt(mappings(), 60000);
    ck_assert_uint_eq(vmlck(), pt_segments_small_locked());
    for (unsigned i = 1; i < PAGES; i += 2) {
        pt_segments_unlock(p + i * PT_PAGE, PT_PAGE);
    }
    pt_segments_sweep(true);
    pt_segments_unlock_ahead();
    ck_assert_uint_eq(vmlck(), 0);
    ck_assert_uint_eq(pt_segments_small_locked(), 0);
    ck_assert_int_eq(pt_segments_relock(p + 10 * PT_PAGE, 3 * PT_PAGE), 0);
    ck_assert_uint_eq(vmlck(), 3 * PT_PAGE);
}
END_TEST

START_TEST(near_the_limit_only_what_is_needed_is_locked)
{
    start();
    limit_memlock(MIB, MIB);
    ck_assert_ptr_nonnull(pt_segments_take_small(MIB - 4 * PT_PAGE, PT_PAGE)); /* no room for the part ahead */
    ck_assert_ptr_null(pt_segments_take_small(8 * PT_PAGE, PT_PAGE));
    ck_assert_int_ne(pt_pin_error(), 0);
    ck_assert_ptr_nonnull(pt_segments_take_small(4 * PT_PAGE, PT_PAGE)); /* the failure took nothing away */
    ck_assert_uint_eq(vmlck(), MIB);
}
END_TEST

START_TEST(the_soft_limit_is_raised_to_the_hard_one)
{
    start();
    limit_memlock(64 * KIB, MIB);
    ck_assert_ptr_nonnull(pt_segments_take_small(512 * KIB, PT_PAGE));
    ck_assert_int_eq(pt_pin_error(), 0);
    struct rlimit limit;
    getrlimit(RLIMIT_MEMLOCK, &limit);
    ck_assert_uint_eq(limit.rlim_cur, MIB);
}
END_TEST

START_TEST(at_the_end_everything_is_unlocked_and_still_readable)
{
    start();
    char *p = pt_segments_take_small(MIB, PT_PAGE);
    memset(p, 7, MIB);
    pt_segments_unlock_all();
    ck_assert_uint_eq(vmlck(), 0);
    for (size_t i = 0; i < MIB; i++) {
        REQUIRE(p[i] == 7);
    }
}
END_TEST

int main(void)
{
    need_lockable(400 * MIB);
    TCase *tests = tcase_create("segment");
    tcase_add_test(tests, the_range_is_aligned_and_costs_nothing);
    tcase_add_test(tests, small_segments_are_locked_and_zero);
    tcase_add_test(tests, exact_segments_are_only_addresses);
    tcase_add_test(tests, alignment_is_kept_and_segments_never_overlap);
    tcase_add_test(tests, what_others_map_in_the_range_stays_theirs);
    tcase_add_test(tests, addresses_that_have_to_be_mapped_do_as_well);
    tcase_add_test(tests, exact_addresses_come_back);
    tcase_add_test(tests, a_full_region_says_no);
    tcase_add_test(tests, a_hole_leaves_the_locked_memory_and_comes_back_zero);
    tcase_add_test(tests, holes_are_bounded_and_nothing_is_lost);
    tcase_add_test(tests, near_the_limit_only_what_is_needed_is_locked);
    tcase_add_test(tests, the_soft_limit_is_raised_to_the_hard_one);
    tcase_add_test(tests, at_the_end_everything_is_unlocked_and_still_readable);
    return suite_run("segment", tests);
}
