/* What others pin: found again by address, counted by line, bounded, and remembered as it was when most was pinned. */
#include "ledger/foreign.h"
#include "suite.h"

enum { MOST = 49152 };

static void begin(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(0), 0);
    pt_foreign_reset();
}

static const void *address(size_t number)
{
    return (const void *)(0x7f0000000000u + number * 4096);
}

static void add(size_t number, size_t bytes, uint32_t site)
{
    pt_foreign_add(address(number), bytes, PT_FOREIGN_ALLOC, site, 0);
}

static const struct pt_foreign_sum *all(void)
{
    return &pt_table()->foreign;
}

/* The row of that site, counted from the first of its own. */
static struct pt_foreign line(unsigned number)
{
    return pt_foreign_row(pt_table(), PT_FOREIGN_OTHER + 1 + number);
}

START_TEST(an_address_is_found_until_it_goes)
{
    static uint32_t bytes_at[30000];
    unsigned dice = 1;
    uint64_t live = 0, sum = 0;
    begin();
    for (unsigned i = 0; i < 300000; i++) {
        dice = dice * 1103515245 + 12345;
        size_t number = dice / 65536 * 7919 % 30000;
        struct pt_foreign_pin pin = pt_foreign_take(address(number));
        REQUIRE(pin.bytes == bytes_at[number] && (pin.row != 0) == (bytes_at[number] != 0));
        live -= pin.row != 0;
        sum -= pin.bytes;
        bytes_at[number] = 0;
        if (dice % 3 != 0) {
            bytes_at[number] = i + 1;
            add(number, i + 1, 5);
            live++;
            sum += i + 1;
        }
        REQUIRE(all()->live == live && all()->live_bytes == sum);
    }
    ck_assert_uint_gt(live, 1000);
    pt_foreign_forget();
    ck_assert_uint_eq(all()->live + all()->live_bytes, 0);
    for (size_t i = 0; i < 30000; i++) {
        REQUIRE(pt_foreign_take(address(i)).row == 0);
    }
}
END_TEST

START_TEST(more_than_there_is_room_for_is_missed)
{
    begin();
    for (size_t i = 0; i < MOST + 10; i++) {
        add(i, 4096, 5);
    }
    ck_assert_uint_eq(all()->live, MOST);
    ck_assert_uint_eq(all()->missed, 10);
    ck_assert_uint_eq(all()->pinned, MOST + 10);
    ck_assert_uint_eq(pt_foreign_take(address(MOST)).row, 0);
    ck_assert_uint_ne(pt_foreign_take(address(7)).row, 0);
    add(MOST, 4096, 5);
    ck_assert_uint_eq(all()->live, MOST);
}
END_TEST

START_TEST(lines_without_a_row_of_their_own_share_one)
{
    begin();
    for (uint32_t site = 1; site <= 300; site++) {
        add(site, 1000, site);
        pt_foreign_add(address(1000 + site), 10, PT_FOREIGN_REGISTER, site, 0);
    }
    unsigned own = PT_FOREIGN_MOST - PT_FOREIGN_OTHER - 1;
    struct pt_foreign other = pt_foreign_row(pt_table(), PT_FOREIGN_OTHER);
    ck_assert_uint_eq(all()->rows, PT_FOREIGN_MOST);
    ck_assert_uint_eq(other.live, 600 - own);
    ck_assert_uint_eq(line(0).live_bytes, 1000);
    ck_assert_uint_eq(line(1).live_bytes, 10);
    ck_assert_uint_eq(line(1).call, PT_FOREIGN_REGISTER);
    ck_assert_uint_eq(line(own - 1).live, 1);
}
END_TEST

START_TEST(what_could_not_be_undone_is_put_back)
{
    begin();
    add(1, 100, 5);
    struct pt_foreign_pin pin = pt_foreign_take(address(1));
    ck_assert_uint_eq(all()->live_bytes, 0);
    pt_foreign_put_back(&pin);
    ck_assert_uint_eq(all()->live_bytes, 100);
    ck_assert_uint_eq(all()->pinned, 1);
    pin = pt_foreign_take(address(1));
    add(1, 300, 5); /* somebody was faster */
    pt_foreign_put_back(&pin);
    ck_assert_uint_eq(all()->live_bytes, 300);
    add(1, 400, 6); /* an end that was not seen */
    ck_assert_uint_eq(all()->live_bytes, 400);
    ck_assert_uint_eq(line(0).live, 0);
}
END_TEST

static struct pt_foreign_share at_peak(unsigned number)
{
    struct pt_foreign copy = line(number);
    return pt_foreign_at_peak(pt_table(), &copy);
}

START_TEST(the_most_is_theirs_and_ours_together)
{
    begin();
    add(1, MIB / 2, 5);
    pt_foreign_look(100 * MIB); /* they have too little for a word */
    ck_assert_uint_eq(all()->peaks, 0);
    ck_assert_uint_eq(at_peak(0).bytes, 0);
    add(2, 8 * MIB, 6);
    add(3, 2 * MIB, 6);
    pt_foreign_look(30 * MIB); /* here */
    (void)pt_foreign_take(address(2));
    add(4, 4 * MIB, 7);
    pt_foreign_look(31 * MIB);
    ck_assert_uint_eq(all()->peak_bytes, 10 * MIB + MIB / 2);
    ck_assert_uint_eq(all()->peak_ours, 30 * MIB);
    ck_assert_uint_eq(all()->peak, 3);
    ck_assert_uint_eq(at_peak(0).bytes, MIB / 2);
    ck_assert_uint_eq(at_peak(1).bytes, 10 * MIB);
    ck_assert_uint_eq(at_peak(1).blocks, 2);
    ck_assert_uint_eq(at_peak(2).blocks, 0);
    pt_foreign_look(60 * MIB);
    ck_assert_uint_eq(all()->peak_bytes, 6 * MIB + MIB / 2);
    ck_assert_uint_eq(at_peak(1).blocks, 1);
    ck_assert_uint_eq(at_peak(2).bytes, 4 * MIB);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("foreign");
    tcase_add_test(tests, an_address_is_found_until_it_goes);
    tcase_add_test(tests, more_than_there_is_room_for_is_missed);
    tcase_add_test(tests, lines_without_a_row_of_their_own_share_one);
    tcase_add_test(tests, what_could_not_be_undone_is_put_back);
    tcase_add_test(tests, the_most_is_theirs_and_ours_together);
    return suite_run("foreign", tests);
}
