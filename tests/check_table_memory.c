/* The table where memory runs out, at any of its steps: what is said, and what goes on. */
#include "ledger/foreign.h"
#include "ledger/table.h"
#include "memory/segments.h"
#include "suite.h"

#include <errno.h>
#include <sys/mman.h>

static int calls, fails_from, fails_to = -1; /* which calls for memory fail, counted from 1 */

void *mmap(void *p, size_t len, int protection, int flags, int fd, off_t at)
{
    calls++;
    if (fails_to >= 0 && calls >= fails_from && calls <= fails_to) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, p, len, protection, flags, fd, at);
}

static void none_from_now_on(void)
{
    calls = 0;
    fails_from = 1;
    fails_to = 1 << 30;
}

static void again(void)
{
    fails_to = -1;
}

static void start(void)
{
    REQUIRE(pt_segments_init() == 0 && pt_table_init(3) == 0);
    pt_foreign_reset();
}

/* Each call in turn: most are needed, and what was there without one serves. */
START_TEST(it_begins_whole_or_not_at_all)
{
    REQUIRE(pt_segments_init() == 0);
    calls = 0;
    REQUIRE(pt_table_init(3) == 0);
    int all = calls, refused = 0;
    for (fails_from = 1; fails_from <= all; fails_from++) {
        pid_t child = fork();
        if (child == 0) {
            calls = 0;
            fails_to = fails_from;
            int error = pt_table_init(3);
            fails_to = -1;
            REQUIRE(error == -ENOMEM || (error == 0 && pt_table_take_record() != 0 && pt_table_intern("words") != 0));
            exit(error == 0 ? 0 : 3);
        }
        int status;
        REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status));
        ck_assert_msg(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3, "call %d of %d", fails_from, all);
        refused += WEXITSTATUS(status) == 3;
    }
    ck_assert_int_ge(refused, 5);
}
END_TEST

START_TEST(no_more_sites)
{
    start();
    none_from_now_on();
    uint32_t row = 1;
    while (pt_table_open_site(row)) { /* what was opened before lasts for some */
        row++;
    }
    ck_assert_uint_gt(row, 1);
    for (unsigned i = 0; i < 4; i++) { /* each of the three parts that a site has may be the one that is missing */
        calls = 0;
        fails_from = 1 + (int)i;
        if (pt_table_open_site(row)) {
            row += 500;
        }
        ck_assert(!pt_table_open_site(row + 3000));
    }
    again();
    ck_assert(pt_table_open_site(row));
    ck_assert(!pt_table_open_site(1u << PT_SITE_BITS));
}
END_TEST

START_TEST(no_more_strings)
{
    char text[32];
    start();
    uint32_t known = pt_table_intern("known");
    none_from_now_on();
    unsigned more = 0;
    do {
        snprintf(text, sizeof text, "string number %u", more++);
    } while (pt_table_intern(text) != 0);
    ck_assert_uint_eq(pt_table_intern(text), 0);
    ck_assert_uint_eq(pt_table_intern("known"), known); /* what is there stays */
    again();
    uint32_t at = pt_table_intern(text);
    ck_assert_uint_ne(at, 0);
    ck_assert_str_eq(pt_table_string(at), text);
}
END_TEST

START_TEST(no_more_records)
{
    start();
    none_from_now_on();
    uint32_t taken = 0;
    while (pt_table_take_record() != 0) {
        taken++;
    }
    ck_assert_uint_gt(taken, 0);
    char *base = pt_segments_range()->base;
    ck_assert_uint_eq(pt_table_enter(base, 4096, 4096), 0);
    again();
    ck_assert_uint_ne(pt_table_take_record(), 0);
}
END_TEST

/* The index of addresses that nobody had so far. */
START_TEST(no_room_in_the_index)
{
    start();
    const struct pt_range *range = pt_segments_range();
    uint32_t number = pt_table_take_record();
    pt_table_give_record(number);
    none_from_now_on();
    char *far = range->base + range->small - 4096;
    ck_assert_uint_eq(pt_table_enter(far, 4096, 4096), 0);
    ck_assert_uint_eq(pt_table_find(far).number, 0);
    ck_assert_uint_eq(pt_table_take_record(), number); /* it was given back */
    struct pt_record *r = pt_table_record(number);
    r->base = (uintptr_t)range->base + range->size - 4096;
    r->asked = r->capacity = 4096;
    ck_assert_int_eq(pt_table_index(number), -ENOMEM);
    again();
    pt_table_give_record(number);
    ck_assert_uint_eq(pt_table_enter(far, 4096, 4096), number);
    ck_assert_uint_eq(pt_table_find(far).number, number);
}
END_TEST

START_TEST(others_are_counted_all_the_same)
{
    start();
    none_from_now_on();
    pt_foreign_add((void *)4096, MIB, PT_FOREIGN_ALLOC, 0, 0);
    const struct pt_foreign_sum *f = &pt_table()->foreign;
    ck_assert(f->pinned == 1 && f->missed == 1 && f->live == 0);
    struct pt_foreign_pin pin = pt_foreign_take((void *)4096);
    ck_assert_uint_eq(pin.row, 0);
    pt_foreign_forget();
    again();
    pt_foreign_add((void *)4096, MIB, PT_FOREIGN_ALLOC, 0, 0);
    ck_assert(f->pinned == 2 && f->missed == 1 && f->live == 1 && f->live_bytes == MIB);
    pin = pt_foreign_take((void *)4096);
    ck_assert(pin.row != 0 && f->live == 0);
    pt_foreign_add((void *)4096, 2 * MIB, PT_FOREIGN_ALLOC, 0, 0); /* somebody was given that address since */
    pt_foreign_put_back(&pin);
    ck_assert(f->live == 1 && f->live_bytes == 2 * MIB);
    pt_foreign_reset(); /* as a child does with what its parent's are */
    ck_assert_uint_eq(pt_foreign_take((void *)4096).row, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("table_memory");
    tcase_add_test(tests, it_begins_whole_or_not_at_all);
    tcase_add_test(tests, no_more_sites);
    tcase_add_test(tests, no_more_strings);
    tcase_add_test(tests, no_more_records);
    tcase_add_test(tests, no_room_in_the_index);
    tcase_add_test(tests, others_are_counted_all_the_same);
    return suite_run("table_memory", tests);
}
