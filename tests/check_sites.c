/* The table of sites: more of them than it has rows for. */
#include "blocks.h"
#include "ledger/counters.h"
#include "ledger/place.h"
#include "report/report.h"
#include "trace/site.h"
#include "trace/site_store.h"

#include <pthread.h>

#define MANY 40000 /* the table has 16,384 rows */

/* Each is another place in libc. */
static const void *place(unsigned i)
{
    return (const char *)&strtol + 1 + i;
}

static struct pt_block alloc_at(unsigned i, enum pt_door door)
{
    struct pt_request q = {.manager = (uint32_t)manager,
                           .bytes = 64,
                           .dtype = PT_DTYPE_NONE,
                           .door = door,
                           .tensor = true,
                           .caller = place(i)};
    struct pt_block b;
    REQUIRE(pt_block_alloc(&q, &b) == 0);
    return b;
}

static void told(uint32_t site, char *out, size_t size)
{
    struct pt_text t;
    pt_text_init(&t, out, size, -1);
    pt_place_of(site, &t);
}

/* Over all rows: what is counted once must be counted somewhere. */
static void sum_up(uint64_t *allocated, uint64_t *live)
{
    *allocated = *live = 0;
    for (uint32_t row = 0; row < atomic_load(&pt_table()->sites); row++) {
        *allocated += pt_table_site(row)->allocated;
        *live += pt_table_site(row)->live;
    }
}

START_TEST(equal_places_are_one_site)
{
    manager = pintensor_manager_create();
    (void)alloc_at(7, PT_DOOR_C);
    uint32_t first = pt_site_here(place(7), 64), other = pt_site_here(place(8), 64);
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_ne(first, other);
    ck_assert_uint_eq(pt_site_here(place(7), 64), first);
    struct pt_site again =
        *pt_table_site(first); /* as another stack would say it that has no key in common with the first */
    ck_assert_uint_eq(pt_site_store_enter(&again, pt_site_store_begin()), first);
}
END_TEST

START_TEST(rows_are_given_to_others)
{
    manager = pintensor_manager_create();
    char before[300], now[300];
    struct pt_block held = alloc_at(0, PT_DOOR_TORCH);
    uint32_t site = pt_table_record(held.number)->site, early = 0, peak = 0;
    told(site, before, sizeof before);
    for (unsigned i = 1; i < MANY; i++) {
        struct pt_block b = alloc_at(i, i == 2 ? PT_DOOR_DEEPSPEED : PT_DOOR_C);
        peak = i == 1 ? pt_table_record(b.number)->site : peak;
        early = i == 2 ? pt_table_record(b.number)->site : early;
        told(pt_table_record(b.number)->site, now, sizeof now);
        REQUIRE(strstr(now, "unknown") == NULL && strstr(now, "(other)") == NULL);
        REQUIRE(pt_block_end(&b));
    }
    ck_assert_uint_le(atomic_load(&pt_table()->sites), pt_table()->sites_most);
    ck_assert_uint_eq(pt_table_record(held.number)->site, site); /* with a live block it stays, */
    told(site, now, sizeof now);
    ck_assert_str_eq(now, before);
    ck_assert_uint_eq(pt_table_site(site)->live, 1);
    ck_assert(pt_table_site_is(peak)); /* which had a block when most were alive */
    told(early, now, sizeof now);      /* and a row that is another's by now is never taken for the first one's */
    ck_assert_str_eq(now, "an unknown place");
    uint64_t allocated, live;
    sum_up(&allocated, &live);
    ck_assert_uint_eq(allocated, MANY);
    ck_assert_uint_eq(live, 1);
    ck_assert_uint_ne(pt_table()->doors_retired & 1u << PT_DOOR_DEEPSPEED, 0);
    told(pt_site_here(place(1), 64), now, sizeof now);
    ck_assert(strcmp(now, "an unknown place") != 0 && strcmp(now, before) != 0);
    for (uint32_t row = 1; row < atomic_load(&pt_table()->sites); row++) { /* and nothing of the one before */
        REQUIRE(row == pt_table()->other_site || pt_table_growth(row)->visits <= pt_table_site(row)->allocated);
    }
}
END_TEST

/* What was done wrong is told of at the end, by its places. */
START_TEST(places_of_misuses_stay)
{
    manager = pintensor_manager_create();
    pintensor_block b = alloc(64);
    release(b);
    ck_assert_int_lt(pintensor_free(manager, b.data), 0);
    ck_assert_uint_eq(pt_table()->misuses, 1);
    const struct pt_misuse was = pt_table()->misuse[0];
    char site[300], alloc_site[300], now[300];
    told(was.site, site, sizeof site);
    told(was.alloc_site, alloc_site, sizeof alloc_site);
    for (unsigned i = 1; i < MANY; i++) {
        struct pt_block other = alloc_at(i, PT_DOOR_C);
        REQUIRE(pt_block_end(&other));
    }
    const uint32_t sites[] = {was.site, was.alloc_site, was.release_site};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(pt_table_site_is(sites[i]));
    }
    told(was.site, now, sizeof now);
    ck_assert_str_eq(now, site);
    told(was.alloc_site, now, sizeof now);
    ck_assert_str_eq(now, alloc_site);
}
END_TEST

START_TEST(strings_are_given_up_with_their_sites)
{
    manager = pintensor_manager_create();
    struct pt_block held = alloc_at(0, PT_DOOR_C);
    char before[300], now[300];
    told(pt_table_record(held.number)->site, before, sizeof before);
    for (unsigned i = 1; i < 1000; i++) {
        struct pt_block b = alloc_at(i, PT_DOOR_C);
        REQUIRE(pt_block_end(&b));
        atomic_store(&pt_table()->strings, pt_table()->strings_most - 100); /* as after long names */
        told(pt_table_record(held.number)->site, now, sizeof now);
        REQUIRE(strcmp(now, before) == 0);
        told(pt_site_here(place(i), 64), now, sizeof now);
        REQUIRE(strchr(now, '+') != NULL);
    }
}
END_TEST

START_TEST(more_live_sites_than_rows_lose_no_count)
{
    manager = pintensor_manager_create();
    for (unsigned i = 0; i < MANY; i++) {
        (void)alloc_at(i, PT_DOOR_C);
    }
    uint64_t allocated, live;
    sum_up(&allocated, &live);
    ck_assert_uint_eq(allocated, MANY);
    ck_assert_uint_eq(live, MANY);
    ck_assert_uint_eq(pt_table_site(0)->live, 0);
    char now[300];
    uint32_t other = pt_table()->other_site;
    told(other, now, sizeof now);
    ck_assert_str_eq(now, "(other) more places than are told apart");
    ck_assert_uint_ge(pt_table_site(other)->live, MANY - pt_table()->sites_most);
}
END_TEST

/* A request that is on its way may name a site whose row goes to another one meanwhile. */
START_TEST(late_counts_go_to_all_others)
{
    manager = pintensor_manager_create();
    (void)alloc_at(0, PT_DOOR_C);
    uint32_t stale = pt_site_here(place(1), 64);
    for (unsigned i = 2; i < MANY; i++) {
        (void)pt_site_here(place(i), 64);
    }
    ck_assert(!pt_table_site_is(stale));
    struct pt_birth late = {.bytes = 64, .manager = (uint32_t)manager, .site = stale, .asked_ns = pt_table_now()};
    struct pt_block b;
    ck_assert_int_eq(pt_pool_take(&late, &b), 0);
    ck_assert_uint_eq(pt_table_record(b.number)->site, pt_table()->other_site);
    ck_assert_uint_eq(pt_table_site(pt_table()->other_site)->live, 1);
}
END_TEST

static void *come_and_go(void *first)
{
    for (unsigned i = 0; i < MANY; i++) {
        struct pt_block b = alloc_at((unsigned)(uintptr_t)first + i, PT_DOOR_C);
        REQUIRE(pt_block_end(&b));
    }
    return NULL;
}

START_TEST(four_threads_of_many_sites)
{
    manager = pintensor_manager_create();
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, come_and_go, (void *)(i * MANY / 2));
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t allocated, live;
    (void)stats(); /* folds what threads keep */
    sum_up(&allocated, &live);
    ck_assert_uint_eq(allocated, 4 * MANY);
    ck_assert_uint_eq(live, 0);
}
END_TEST

int main(void)
{
    need_lockable(8 * MIB);
    TCase *tests = tcase_create("sites");
    tcase_add_test(tests, equal_places_are_one_site);
    tcase_add_test(tests, rows_are_given_to_others);
    tcase_add_test(tests, places_of_misuses_stay);
    tcase_add_test(tests, strings_are_given_up_with_their_sites);
    tcase_add_test(tests, more_live_sites_than_rows_lose_no_count);
    tcase_add_test(tests, late_counts_go_to_all_others);
    tcase_add_test(tests, four_threads_of_many_sites);
    return suite_run("sites", tests);
}
