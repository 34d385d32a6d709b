/* The index of beginnings: the nearest one at or before an address, however far that is, and while others come and go. */
#include "ledger/starts.h"
#include "memory/pages.h"
#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>

#define GIB ((size_t)1 << 30)
#define TIB ((size_t)1 << 40)

static struct pt_starts starts;

static void start(size_t span, size_t open)
{
    ck_assert_int_eq(pt_starts_init(&starts, span), 0);
    ck_assert_int_eq(pt_starts_open(&starts, open), 0);
}

START_TEST(nothing_begins_in_a_fresh_index)
{
    start(TIB, TIB);
    for (size_t offset = PT_PAGE; offset < TIB; offset *= 3) {
        REQUIRE(pt_starts_find(&starts, offset) == 0);
    }
    ck_assert(pt_starts_find(&starts, 0) == 0 && pt_starts_find(&starts, TIB - 1) == 0);
}
END_TEST

START_TEST(what_is_not_opened_has_none)
{
    start(TIB, PT_PAGE);
    pt_starts_set(&starts, 0, 1);
    ck_assert_uint_eq(pt_starts_find(&starts, 1), 1);
    ck_assert_uint_eq(pt_starts_find(&starts, 900 * GIB), 0);
    ck_assert_uint_eq(pt_starts_find(&starts, TIB - 1), 0);
    ck_assert_int_eq(pt_starts_open(&starts, TIB), 0);
    ck_assert_uint_eq(pt_starts_find(&starts, TIB - 1), 1);
    ck_assert_int_eq(pt_starts_open(&starts, 5 * GIB), 0); /* is open: nothing happens */
    ck_assert_uint_eq(pt_starts_find(&starts, TIB - 1), 1);
}
END_TEST

/* 64 pages are a word, 64 words one of its summary, and so on: either side of each border. */
START_TEST(a_beginning_is_found_from_its_first_byte_on)
{
    for (size_t at = 1; at <= TIB / PT_PAGE / 2; at *= 64) {
        for (size_t page = at - 1; page <= at + 1; page++) {
            start(TIB, TIB);
            size_t offset = page * PT_PAGE;
            pt_starts_set(&starts, offset, 7);
            REQUIRE(page == 0 || pt_starts_find(&starts, offset - 1) == 0);
            REQUIRE(pt_starts_find(&starts, offset) == 7);
            REQUIRE(pt_starts_find(&starts, offset + 1) == 7);
            REQUIRE(pt_starts_find(&starts, offset + PT_PAGE) == 7);
            pt_starts_set(&starts, offset + PT_PAGE, 8);
            REQUIRE(pt_starts_find(&starts, offset + PT_PAGE - 1) == 7);
            REQUIRE(pt_starts_find(&starts, offset + PT_PAGE) == 8);
        }
    }
}
END_TEST

START_TEST(far_behind_a_beginning)
{
    start(TIB, TIB);
    const size_t at = 3 * GIB + 5 * PT_PAGE;
    pt_starts_set(&starts, at, 3);
    for (size_t far = PT_PAGE; far < TIB - at; far += far / 2 + PT_PAGE) {
        REQUIRE(pt_starts_find(&starts, at + far) == 3);
    }
    ck_assert_uint_eq(pt_starts_find(&starts, TIB - 1), 3);
    pt_starts_set(&starts, 700 * GIB, 4); /* the nearer one counts */
    ck_assert(pt_starts_find(&starts, 700 * GIB - 1) == 3 && pt_starts_find(&starts, TIB - 1) == 4);
}
END_TEST

START_TEST(a_cleared_one_is_passed_over)
{
    start(TIB, TIB);
    const size_t at[] = {0, PT_PAGE, 63 * PT_PAGE, 64 * PT_PAGE, GIB, GIB + PT_PAGE, 300 * GIB};
    enum { COUNT = sizeof at / sizeof at[0] };
    for (uint32_t i = 0; i < COUNT; i++) {
        pt_starts_set(&starts, at[i], i + 1);
    }
    for (uint32_t i = COUNT; i-- > 0;) {
        REQUIRE(pt_starts_find(&starts, TIB - 1) == i + 1);
        pt_starts_clear(&starts, at[i]);
        REQUIRE(pt_starts_find(&starts, at[i]) == i);
    }
    ck_assert_uint_eq(pt_starts_find(&starts, TIB - 1), 0);
    pt_starts_set(&starts, GIB, 9); /* and back again, with another number */
    ck_assert(pt_starts_find(&starts, 2 * GIB) == 9 && pt_starts_find(&starts, GIB - 1) == 0);
}
END_TEST

/* ---- against a plain array ---- */

enum { PAGES = 64 * 64 * 40 };
static uint32_t model[PAGES];

static uint32_t nearest(size_t page)
{
    while (page > 0 && model[page] == 0) {
        page--;
    }
    return model[page];
}

/* Some words are crowded, most are empty; now there are many beginnings, now few. */
static size_t some_page(void)
{
    size_t at = (size_t)rand() % PAGES;
    return rand() % 2 != 0 ? at : at / 2048 * 2048 + at % 96;
}

START_TEST(any_order_agrees_with_a_plain_array)
{
    start((size_t)PAGES * PT_PAGE, (size_t)PAGES * PT_PAGE);
    srand(1);
    unsigned count = 0;
    for (uint32_t i = 1; i <= 100000; i++) {
        bool grows = i / 10000 % 2 == 0;
        size_t page = some_page();
        for (unsigned tries = 0; !grows && tries < 40 && model[page] == 0; tries++) {
            page = some_page();
        }
        if (model[page] == 0 && (grows || rand() % 8 == 0)) {
            pt_starts_set(&starts, page * PT_PAGE, i);
            model[page] = i;
            count++;
        } else if (model[page] != 0 && (!grows || rand() % 8 == 0)) {
            pt_starts_clear(&starts, page * PT_PAGE);
            model[page] = 0;
            count--;
        }
        size_t look = rand() % 2 != 0 ? some_page() : page;
        REQUIRE(pt_starts_find(&starts, look * PT_PAGE + (size_t)rand() % PT_PAGE) == nearest(look));
    }
    for (size_t page = 0; page < PAGES; page++) {
        REQUIRE(pt_starts_find(&starts, page * PT_PAGE) == nearest(page));
        if (model[page] != 0) {
            pt_starts_clear(&starts, page * PT_PAGE);
            model[page] = 0;
            count--;
        }
    }
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(pt_starts_find(&starts, (size_t)PAGES * PT_PAGE - 1), 0);
}
END_TEST

/* ---- readers take no lock ---- */

/* The block that stays begins and ends in the middle of words, and is large enough for three levels of summaries. */
static const size_t stays_at = 5 * GIB + 37 * PT_PAGE, stays_len = 2 * GIB + 11 * PT_PAGE;
enum { STAYS = 4711 };
static _Atomic bool done;
static _Atomic uint64_t looks;

static void *look_it_up(void *unused)
{
    (void)unused;
    unsigned random = 1;
    while (!atomic_load(&done)) {
        random = random * 1103515245 + 12345;
        size_t in = (size_t)(random >> 8) * 4099;
        /* Near its beginning a word is shared with what comes and goes; far behind, summaries are. */
        in %= (random >> 3) % 3 == 0 ? stays_len : (random >> 3) % 3 == 1 ? 64 * PT_PAGE : 8192 * PT_PAGE;
        REQUIRE(pt_starts_find(&starts, stays_at + in) == STAYS);
        REQUIRE(pt_starts_find(&starts, stays_at) == STAYS);
        REQUIRE(pt_starts_find(&starts, stays_at + stays_len - 1) == STAYS);
        atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);
    }
    return NULL;
}

/* A page outside of the block: in its first and last word, in the summaries above those, or anywhere. */
static size_t page_around(void)
{
    size_t first = stays_at / PT_PAGE, end = (stays_at + stays_len) / PT_PAGE;
    switch (rand() % 6) {
    case 0: return first - 1 - (size_t)rand() % 37;
    case 1: return first - 1 - (size_t)rand() % 4096;
    case 2: return (size_t)rand() % first;
    case 3: return end + (size_t)rand() % 16;
    case 4: return end + (size_t)rand() % 4096;
    default: return end + (size_t)rand() % (GIB / PT_PAGE);
    }
}

START_TEST(a_block_that_stays_is_always_found)
{
    start(64 * GIB, 16 * GIB);
    pt_starts_set(&starts, stays_at, STAYS);
    pthread_t reader;
    ck_assert_int_eq(pthread_create(&reader, NULL, look_it_up, NULL), 0);
    srand(2);
    enum { MOST = 64 };
    size_t set[MOST], count = 0;
    for (unsigned i = 0; i < 1500000 || atomic_load(&looks) < 50000; i++) {
        /* Waves, so that words and summaries become empty again and again. */
        if (count < MOST && (i / MOST % 2 == 0 || count == 0)) {
            set[count] = page_around() * PT_PAGE;
            pt_starts_set(&starts, set[count++], i | 1u << 31);
        } else {
            pt_starts_clear(&starts, set[--count]);
        }
        if (i % 100000 == 0) { /* and what is opened grows */
            REQUIRE(pt_starts_open(&starts, 16 * GIB + i * 20000ul) == 0);
        }
    }
    atomic_store(&done, true);
    ck_assert_int_eq(pthread_join(reader, NULL), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("starts");
    tcase_add_test(tests, nothing_begins_in_a_fresh_index);
    tcase_add_test(tests, what_is_not_opened_has_none);
    tcase_add_test(tests, a_beginning_is_found_from_its_first_byte_on);
    tcase_add_test(tests, far_behind_a_beginning);
    tcase_add_test(tests, a_cleared_one_is_passed_over);
    tcase_add_test(tests, any_order_agrees_with_a_plain_array);
    tcase_add_test(tests, a_block_that_stays_is_always_found);
    return suite_run("starts", tests);
}
