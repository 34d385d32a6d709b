/* Chunks and their parts, the book-keeping alone: nothing is locked here, and no page is touched. */
#include "ledger/table.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "pool/chunks.h"
#include "pool/free_cache.h"
#include "pool/lock.h"
#include "suite.h"

#include <stdatomic.h>
#include <stdint.h>

static char *exact; /* where the exact region begins */

static void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(0), 0);
    pt_chunks_init();
    exact = pt_segments_range()->base + pt_segments_range()->small;
    pt_lock_enter(); /* which every call wants held */
}

static struct pt_record *part(uint32_t number)
{
    return pt_table_record(number);
}

static void set_state(uint32_t number, enum pt_state now)
{
    pt_table_write_begin(part(number));
    part(number)->state = (uint8_t)now;
    pt_table_write_end(part(number));
}

static uint32_t found_at(const char *p)
{
    return pt_table_find(p).number;
}

/* A chunk `at` bytes into the region, cut into parts of one size that are live, first to last. */
static void add_parts(size_t at, enum pt_chunk_kind kind, size_t size, uint32_t *parts, unsigned count)
{
    uint32_t rest = pt_chunks_add(exact + at, count * size, kind);
    for (unsigned i = 0; i < count; i++) {
        REQUIRE(rest != 0);
        parts[i] = rest;
        if (i + 1 < count) {
            pt_chunks_cut(rest, size, true);
            rest = part(rest)->after;
            pt_chunks_take(rest, part(rest)->capacity);
        }
        set_state(parts[i], PT_LIVE);
    }
}

static void add_live(size_t at, enum pt_chunk_kind kind, uint32_t *parts, unsigned count)
{
    add_parts(at, kind, MIB, parts, count);
}

static uint32_t give(uint32_t number)
{
    return pt_chunks_give(number, true, 1);
}

/* That these lie side by side, and are all of their chunk. */
static void require_chain(const uint32_t *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct pt_record *r = part(parts[i]);
        REQUIRE(r->before == (i > 0 ? parts[i - 1] : 0));
        REQUIRE(r->after == (i + 1 < count ? parts[i + 1] : 0));
        REQUIRE(i == 0 || r->base == part(parts[i - 1])->base + part(parts[i - 1])->capacity);
        REQUIRE(r->chunk == part(parts[0])->chunk);
    }
}

START_TEST(a_new_chunk_is_one_busy_part)
{
    start();
    for (enum pt_chunk_kind kind = PT_CHUNK_MLOCKED; kind <= PT_CHUNK_SMALL; kind++) {
        char *base = exact + kind * 64 * MIB;
        uint32_t number = pt_chunks_add(base, 5 * MIB, kind);
        const struct pt_record *r = part(number);
        ck_assert(r->state == PT_BUSY && r->base == (uintptr_t)base && r->capacity == 5 * MIB);
        ck_assert_uint_eq(r->flags, kind == PT_CHUNK_MLOCKED ? PT_EXACT : PT_EXACT | PT_REGISTERED);
        ck_assert(pt_chunks_kind(number) == kind && pt_chunks_is_whole(number) && !pt_chunks_is_unused(number));
        ck_assert(found_at(base) == number && found_at(base + 5 * MIB - 1) == number);
        ck_assert(found_at(base - 1) == 0 && found_at(base + 5 * MIB) == 0);
    }
    ck_assert(pt_chunks_unused() == 0 && pt_chunks_take_unused(0) == 0 && pt_chunks_take_oldest(UINT64_MAX) == 0);
}
END_TEST

START_TEST(a_cut_leaves_the_rest_free)
{
    start();
    uint32_t a = pt_chunks_add(exact, 8 * MIB, PT_CHUNK_REGISTERED);
    pt_chunks_cut(a, 3 * MIB + PT_PAGE, true);
    uint32_t rest = pt_free_cache_best(MIB, PT_FREE_REGISTERED);
    require_chain((uint32_t[]){a, rest}, 2);
    ck_assert(part(a)->state == PT_BUSY && part(a)->capacity == 3 * MIB + PT_PAGE && part(a)->locked == 3 * MIB + PT_PAGE);
    ck_assert(part(rest)->state == PT_CACHED && part(rest)->locked == 5 * MIB - PT_PAGE);
    ck_assert(found_at(exact + 3 * MIB) == a && found_at(exact + 3 * MIB + PT_PAGE) == rest);
    ck_assert(!pt_chunks_is_whole(a) && !pt_chunks_is_whole(rest) && !pt_chunks_is_unused(rest));
    pt_chunks_cut(a, part(a)->capacity, true); /* nothing is left over */
    require_chain((uint32_t[]){a, rest}, 2);
    pt_chunks_cut(a, PT_PAGE, true); /* what comes off joins the rest */
    rest = part(a)->after;
    require_chain((uint32_t[]){a, rest}, 2);
    ck_assert_uint_eq(part(rest)->capacity, 8 * MIB - PT_PAGE);
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_REGISTERED), 8 * MIB - PT_PAGE);
}
END_TEST

START_TEST(each_kind_of_chunk_has_its_place_in_the_free_cache)
{
    start();
    const struct {
        enum pt_chunk_kind kind;
        bool locked;
        enum pt_free_kind free;
    } row[] = {{PT_CHUNK_MLOCKED, true, PT_FREE_MLOCKED},
               {PT_CHUNK_MLOCKED, false, PT_FREE_HOLE},
               {PT_CHUNK_REGISTERED, true, PT_FREE_REGISTERED},
               {PT_CHUNK_SMALL, true, PT_FREE_SMALL}};
    for (unsigned i = 0; i < 4; i++) {
        uint32_t number = pt_chunks_add(exact + i * 64 * MIB, 4 * MIB, row[i].kind);
        pt_chunks_cut(number, MIB, row[i].locked);
        uint32_t rest = part(number)->after;
        ck_assert(pt_free_cache_bytes(row[i].free) == 3 * MIB && pt_free_cache_best(3 * MIB, row[i].free) == rest);
        ck_assert_uint_eq(part(rest)->locked, row[i].locked ? 3 * MIB : 0);
        ck_assert_uint_eq(found_at((char *)part(rest)->base), row[i].locked ? rest : 0); /* a hole is no block */
        pt_chunks_take(rest, MIB);
        ck_assert(part(rest)->state == PT_BUSY && part(rest)->locked == MIB); /* it is about to be */
        ck_assert_uint_eq(pt_free_cache_bytes(row[i].free), 2 * MIB);
        ck_assert_uint_eq(pt_free_cache_best(MIB, row[i].free), part(rest)->after);
    }
}
END_TEST

START_TEST(what_is_left_of_a_part_waits_as_long_as_it_did)
{
    start();
    uint32_t p[2];
    add_live(0, PT_CHUNK_MLOCKED, p, 2);
    pt_chunks_give(p[0], true, 1234);
    pt_chunks_take(p[0], PT_PAGE);
    ck_assert_uint_eq(part(part(p[0])->after)->born_ns, 1234);
    ck_assert_uint_eq(pt_chunks_take_oldest(1233), 0);
    ck_assert_uint_ne(pt_chunks_take_oldest(1234), 0);
}
END_TEST

START_TEST(free_neighbours_join_on_both_sides)
{
    start();
    static const enum pt_chunk_kind kinds[] = {PT_CHUNK_MLOCKED, PT_CHUNK_REGISTERED, PT_CHUNK_SMALL};
    for (unsigned k = 0; k < 3; k++) {
        uint32_t p[5];
        char *base = exact + k * 64 * MIB;
        add_live((size_t)(base - exact), kinds[k], p, 5);
        ck_assert_uint_eq(give(p[1]), p[1]);
        ck_assert_uint_eq(give(p[3]), p[3]);
        require_chain(p, 5);
        ck_assert_uint_eq(give(p[2]), p[1]); /* the first of them stands for all */
        require_chain((uint32_t[]){p[0], p[1], p[4]}, 3);
        ck_assert(part(p[1])->capacity == 3 * MIB && part(p[2])->state == PT_FREE && part(p[3])->state == PT_FREE);
        for (size_t at = MIB; at < 4 * MIB; at += 512 * KIB) {
            REQUIRE(found_at(base + at) == p[1]);
        }
        ck_assert_uint_eq(give(p[4]), p[1]); /* with the one before */
        ck_assert_uint_eq(give(p[0]), p[0]); /* with the one after */
        ck_assert(pt_chunks_is_whole(p[0]) && pt_chunks_is_unused(p[0]) && part(p[0])->capacity == 5 * MIB);
        ck_assert_uint_eq(found_at(base + 5 * MIB - 1), p[0]);
    }
}
END_TEST

START_TEST(a_joined_part_waits_since_the_later_and_names_no_site)
{
    start();
    uint32_t p[3];
    add_live(0, PT_CHUNK_MLOCKED, p, 3);
    part(p[0])->site = part(p[0])->release_site = 5;
    pt_chunks_give(p[0], true, 100);
    ck_assert(part(p[0])->site == 5 && part(p[0])->release_site == 5); /* for what is said of a second free() */
    pt_chunks_give(p[1], true, 50);
    ck_assert(part(p[0])->born_ns == 100 && part(p[0])->site == 0 && part(p[0])->release_site == 0);
    pt_chunks_give(p[2], true, 200);
    ck_assert(part(p[0])->born_ns == 200 && pt_chunks_take_oldest(199) == 0);
}
END_TEST

START_TEST(holes_join_holes_and_nothing_else)
{
    start();
    uint32_t p[5];
    add_live(0, PT_CHUNK_MLOCKED, p, 5);
    pt_chunks_give(p[1], false, 1);
    pt_chunks_give(p[3], false, 1);
    ck_assert_uint_eq(give(p[2]), p[2]);
    require_chain(p, 5);
    ck_assert(found_at(exact + MIB) == 0 && found_at(exact + 2 * MIB) == p[2] && found_at(exact + 3 * MIB) == 0);
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_HOLE), 2 * MIB);
    pt_chunks_take(p[2], MIB);
    ck_assert_uint_eq(pt_chunks_give(p[2], false, 1), p[1]);
    require_chain((uint32_t[]){p[0], p[1], p[4]}, 3);
    ck_assert(part(p[1])->capacity == 3 * MIB && part(p[1])->state == PT_HOLE && part(p[1])->locked == 0);
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_HOLE), 3 * MIB);
    ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_MLOCKED), 0);
    pt_chunks_take(p[1], 3 * MIB); /* locked again, it is like any other */
    ck_assert_uint_eq(give(p[1]), p[1]);
    ck_assert(found_at(exact + 3 * MIB) == p[1] && pt_free_cache_best(3 * MIB, PT_FREE_MLOCKED) == p[1]);
}
END_TEST

START_TEST(nothing_joins_what_somebody_has)
{
    start();
    static const enum pt_state states[] = {PT_LIVE, PT_BUSY, PT_FLYING, PT_CACHED};
    for (unsigned i = 0; i < 4; i++) {
        uint32_t p[3];
        add_live(i * 64 * MIB, PT_CHUNK_REGISTERED, p, 3);
        set_state(p[1], states[i]);
        if (states[i] == PT_CACHED) {
            atomic_store(&part(p[1])->owner, 1); /* a thread's magazine has it */
        }
        ck_assert(give(p[0]) == p[0] && give(p[2]) == p[2]);
        require_chain(p, 3);
        ck_assert(!pt_chunks_is_unused(p[0]));
        ck_assert_uint_eq(pt_chunks_unused(), i * 3 * MIB);
        atomic_store(&part(p[1])->owner, 0);
        ck_assert_uint_eq(give(p[1]), p[0]); /* once it is nobody's */
        ck_assert(pt_chunks_is_whole(p[0]) && pt_chunks_is_unused(p[0]));
    }
}
END_TEST

/* A copy may not lie across two registrations. */
START_TEST(chunks_side_by_side_stay_apart)
{
    start();
    uint32_t p[2], q[2];
    add_live(0, PT_CHUNK_REGISTERED, p, 2);
    add_live(2 * MIB, PT_CHUNK_REGISTERED, q, 2);
    give(p[1]);
    ck_assert_uint_eq(give(q[0]), q[0]);
    ck_assert(part(p[1])->after == 0 && part(q[0])->before == 0 && part(p[1])->capacity == MIB);
    give(p[0]);
    give(q[1]);
    ck_assert(pt_chunks_is_whole(p[0]) && pt_chunks_is_whole(q[0]) && part(p[0])->capacity == 2 * MIB);
    ck_assert_uint_eq(pt_free_cache_best(3 * MIB, PT_FREE_REGISTERED), 0);
}
END_TEST

START_TEST(whole_and_unused)
{
    start();
    uint32_t p[3];
    add_live(0, PT_CHUNK_SMALL, p, 3);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!pt_chunks_is_whole(p[i]) && !pt_chunks_is_unused(p[i]));
    }
    give(p[0]);
    give(p[2]);
    ck_assert(!pt_chunks_is_unused(p[0]) && pt_chunks_unused() == 0);
    give(p[1]);
    ck_assert(pt_chunks_is_whole(p[0]) && pt_chunks_is_unused(p[0]) && pt_chunks_unused() == 3 * MIB);
    pt_chunks_take(p[0], PT_PAGE); /* one page is enough */
    ck_assert(!pt_chunks_is_whole(p[0]) && !pt_chunks_is_unused(part(p[0])->after) && pt_chunks_unused() == 0);
    give(p[0]);
    pt_chunks_take(p[0], 3 * MIB);
    ck_assert(pt_chunks_is_whole(p[0]) && !pt_chunks_is_unused(p[0]));
}
END_TEST

START_TEST(the_smallest_unused_chunk_that_is_worth_it_goes)
{
    start();
    static const size_t mib[] = {16, 2, 64, 4, 32};
    enum { COUNT = sizeof mib / sizeof mib[0] };
    uint32_t number[COUNT];
    size_t at = 0;
    for (unsigned i = 0; i < COUNT; i++, at += 128 * MIB) {
        number[i] = pt_chunks_add(exact + at, mib[i] * MIB, i % 2 == 0 ? PT_CHUNK_REGISTERED : PT_CHUNK_SMALL);
        give(number[i]);
    }
    uint32_t used[2];
    add_live(at, PT_CHUNK_REGISTERED, used, 2); /* this one is in use, */
    give(used[0]);
    add_live(at + 128 * MIB, PT_CHUNK_MLOCKED, used, 1); /* and this one is not registered */
    give(used[0]);
    ck_assert_uint_eq(pt_chunks_unused(), 118 * MIB);
    const struct {
        size_t deficit, goes;
    } row[] = {{0, 2},         {1, 2},
               {16 * MIB, 2},  {16 * MIB + 8 * PT_PAGE, 4},
               {32 * MIB, 4},  {33 * MIB, 16},
               {200 * MIB, 32}, {512 * MIB, 64},
               {513 * MIB, 64}, {(size_t)1 << 45, 64}};
    for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
        uint32_t best = pt_chunks_take_unused(row[i].deficit);
        ck_assert_msg(part(best)->capacity == row[i].goes * MIB, "deficit %zu MiB: the one of %zu MiB goes",
                      row[i].deficit / MIB, (size_t)part(best)->capacity / MIB);
        ck_assert(part(best)->state == PT_BUSY && pt_chunks_is_whole(best) && !pt_chunks_is_unused(best));
        ck_assert_uint_eq(pt_chunks_unused(), (118 - row[i].goes) * MIB);
        ck_assert_uint_eq(pt_free_cache_bytes(PT_FREE_REGISTERED) + pt_free_cache_bytes(PT_FREE_SMALL),
                          (119 - row[i].goes) * MIB); /* with the free half of the one in use */
        give(best);
    }
    size_t last = 0;
    for (unsigned i = 0; i < COUNT; i++) { /* one after the other, the smallest first */
        uint32_t best = pt_chunks_take_unused(0);
        ck_assert_uint_gt(part(best)->capacity, last);
        last = part(best)->capacity;
    }
    ck_assert(pt_chunks_take_unused(0) == 0 && pt_chunks_unused() == 0);
}
END_TEST

START_TEST(the_mlocked_part_that_waits_longest_goes)
{
    start();
    uint32_t p[8], q[2];
    add_live(0, PT_CHUNK_MLOCKED, p, 8);
    add_live(64 * MIB, PT_CHUNK_REGISTERED, q, 2);
    pt_chunks_give(q[0], true, 1); /* which is never unlocked alone */
    pt_chunks_give(p[5], true, 10);
    pt_chunks_give(p[1], true, 20);
    pt_chunks_give(p[3], true, 30);
    ck_assert_uint_eq(pt_chunks_take_oldest(9), 0);
    ck_assert_uint_eq(pt_chunks_take_oldest(20), p[5]);
    ck_assert(part(p[5])->state == PT_BUSY && part(p[5])->capacity == MIB);
    ck_assert_uint_eq(pt_chunks_take_oldest(20), p[1]);
    ck_assert_uint_eq(pt_chunks_take_oldest(20), 0);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), p[3]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0);
}
END_TEST

/* chunks.c: so many holes may there be, since each costs mappings. */
enum { HOLES_MOST = 12000 };

/* As many as may be, each between two pages in use; those are the even ones of `p`, which has three more to come. */
static void make_holes(size_t at, uint32_t p[2 * HOLES_MOST + 4])
{
    add_parts(at, PT_CHUNK_MLOCKED, PT_PAGE, p, 2 * HOLES_MOST + 4);
    for (unsigned i = 1; i < 2 * HOLES_MOST; i += 2) {
        REQUIRE(give(p[i]) == p[i]);
        REQUIRE(pt_chunks_take_oldest(UINT64_MAX) == p[i]);
        REQUIRE(pt_chunks_give(p[i], false, 1) == p[i]);
    }
    pt_chunks_give(p[2 * HOLES_MOST + 2], true, 5);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0); /* one too many */
}

START_TEST(holes_stay_few)
{
    start();
    static uint32_t p[2 * HOLES_MOST + 4];
    make_holes(0, p);
    uint32_t q[3];
    add_parts(256 * MIB, PT_CHUNK_MLOCKED, 8 * MIB - PT_PAGE, q, 3);
    pt_chunks_give(q[1], true, 6);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0);
    uint32_t l[3];
    add_parts(512 * MIB, PT_CHUNK_MLOCKED, 8 * MIB, l, 3);
    pt_chunks_give(l[1], true, 7);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), l[1]); /* worth it in any case, though others wait longer */
    pt_chunks_give(l[1], false, 1);
    pt_chunks_give(l[1] = pt_chunks_add(exact + 640 * MIB, MIB, PT_CHUNK_MLOCKED), true, 8);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0);
    /* A hole that only grows is none more: on the right, on the left, and two that become one. */
    pt_chunks_give(p[2 * HOLES_MOST], true, 9);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), p[2 * HOLES_MOST]);
    ck_assert_uint_eq(pt_chunks_give(p[2 * HOLES_MOST], false, 1), p[2 * HOLES_MOST - 1]);
    pt_chunks_give(p[0], true, 10);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), p[0]);
    ck_assert_uint_eq(pt_chunks_give(p[0], false, 1), p[0]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0);
    pt_chunks_give(p[4], true, 11);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), p[4]);
    ck_assert_uint_eq(pt_chunks_give(p[4], false, 1), p[3]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), 0); /* the large one has that place */
    pt_chunks_take(p[3], 3 * PT_PAGE); /* one fewer */
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX), p[2 * HOLES_MOST + 2]);
}
END_TEST

START_TEST(the_addresses_come_back_with_the_chunk)
{
    start();
    uint32_t number = pt_chunks_add(exact, 4 * MIB, PT_CHUNK_REGISTERED), records = atomic_load(&pt_table()->records);
    ck_assert_ptr_eq(pt_chunks_remove(number), exact);
    ck_assert(found_at(exact) == 0 && found_at(exact + 4 * MIB - 1) == 0);
    number = pt_chunks_add(exact + 64 * MIB, 2 * MIB, PT_CHUNK_SMALL);
    ck_assert_uint_eq(atomic_load(&pt_table()->records), records);
    give(number);
    number = pt_chunks_take_unused(0);
    ck_assert_ptr_eq(pt_chunks_remove(number), exact + 64 * MIB);
    ck_assert_uint_eq(pt_chunks_unused(), 0);
}
END_TEST

/* ---- conversion: p[1] of three, and what lies beside it ---- */

static void require_converted(uint32_t number)
{
    const struct pt_record *r = part(number);
    REQUIRE(pt_chunks_kind(number) == PT_CHUNK_REGISTERED && pt_chunks_is_whole(number));
    REQUIRE(r->state == PT_LIVE && (r->flags & PT_REGISTERED) != 0 && found_at((char *)r->base) == number);
}

/* It goes free, which is a chunk nobody uses, and away. Returns the addresses, if they come back. */
static void *remove_converted(uint32_t number)
{
    size_t before = pt_chunks_unused();
    REQUIRE(give(number) == number && pt_chunks_is_unused(number) && pt_chunks_unused() == before + MIB);
    REQUIRE(pt_chunks_take_unused(0) == number);
    return pt_chunks_remove(number);
}

/* What is left of an mlocked chunk becomes one hole, and goes. */
static void *remove_mlocked(uint32_t *parts, unsigned count)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < count; i++) {
        number = pt_chunks_give(parts[i], false, 1);
    }
    REQUIRE(pt_chunks_is_whole(number) && pt_chunks_kind(number) == PT_CHUNK_MLOCKED);
    pt_chunks_take(number, part(number)->capacity);
    return pt_chunks_remove(number);
}

START_TEST(the_first_part_becomes_a_chunk)
{
    start();
    uint32_t p[3];
    add_live(0, PT_CHUNK_MLOCKED, p, 3);
    ck_assert(pt_chunks_convert(p[0]));
    require_converted(p[0]);
    require_chain(p + 1, 2);
    ck_assert(pt_chunks_kind(p[1]) == PT_CHUNK_MLOCKED && part(p[1])->chunk != part(p[0])->chunk);
    ck_assert_ptr_null(remove_converted(p[0]));
    ck_assert_ptr_eq(remove_mlocked(p + 1, 2), exact);
}
END_TEST

START_TEST(the_last_part_becomes_a_chunk)
{
    start();
    uint32_t p[3];
    add_live(0, PT_CHUNK_MLOCKED, p, 3);
    ck_assert(pt_chunks_convert(p[2]));
    require_converted(p[2]);
    require_chain(p, 2);
    ck_assert_ptr_null(remove_mlocked(p, 2));
    ck_assert_ptr_eq(remove_converted(p[2]), exact);
}
END_TEST

START_TEST(a_whole_chunk_becomes_registered)
{
    start();
    uint32_t p[1];
    add_live(0, PT_CHUNK_MLOCKED, p, 1);
    uint32_t chunk = part(p[0])->chunk;
    ck_assert(pt_chunks_convert(p[0]));
    require_converted(p[0]);
    ck_assert_uint_eq(part(p[0])->chunk, chunk);
    ck_assert_ptr_eq(remove_converted(p[0]), exact);
}
END_TEST

/* In the middle there are three chunks then, which go in any order. */
START_TEST(a_part_in_the_middle_becomes_a_chunk)
{
    start();
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned i = 0; i < 6; i++) {
        uint32_t p[3];
        char *base = exact + i * 64 * MIB;
        add_live((size_t)(base - exact), PT_CHUNK_MLOCKED, p, 3);
        ck_assert(pt_chunks_convert(p[1]));
        require_converted(p[1]);
        ck_assert(pt_chunks_is_whole(p[0]) && pt_chunks_is_whole(p[2]));
        ck_assert(pt_chunks_kind(p[0]) == PT_CHUNK_MLOCKED && pt_chunks_kind(p[2]) == PT_CHUNK_MLOCKED);
        for (unsigned j = 0; j < 3; j++) {
            unsigned which = orders[i][j];
            void *back = which == 1 ? remove_converted(p[1]) : remove_mlocked(&p[which], 1);
            ck_assert_ptr_eq(back, j == 2 ? base : NULL);
        }
    }
    ck_assert_uint_eq(pt_chunks_unused(), 0);
    /* The numbers of chunks came back too: it took three. */
    uint32_t more[3];
    for (unsigned i = 0; i < 3; i++) {
        add_live((100 + i) * 64 * MIB, PT_CHUNK_MLOCKED, &more[i], 1);
        ck_assert_uint_le(part(more[i])->chunk, 3);
    }
}
END_TEST

/* What lies beside it free and kept stays what it is, and never joins it. */
START_TEST(conversion_leaves_its_neighbours_as_they_are)
{
    start();
    uint32_t p[7];
    add_live(0, PT_CHUNK_MLOCKED, p, 7);
    pt_chunks_give(p[2], true, 1);
    pt_chunks_give(p[4], false, 1);
    set_state(p[5], PT_CACHED);
    atomic_store(&part(p[5])->owner, 1);
    ck_assert(pt_chunks_convert(p[3]));
    require_converted(p[3]);
    require_chain(p, 3);
    require_chain(p + 4, 3);
    ck_assert(pt_free_cache_best(MIB, PT_FREE_MLOCKED) == p[2] && pt_free_cache_best(MIB, PT_FREE_HOLE) == p[4]);
    ck_assert_uint_eq(give(p[3]), p[3]);
    ck_assert(part(p[3])->capacity == MIB && pt_free_cache_best(MIB, PT_FREE_REGISTERED) == p[3]);
    /* Its neighbours' chunks know what is in use of them. */
    ck_assert(pt_chunks_convert(p[1]) && pt_chunks_convert(p[6]));
    require_chain(p + 4, 2);
    ck_assert(!pt_chunks_is_unused(p[4]) && pt_chunks_is_unused(p[2]));
    atomic_store(&part(p[5])->owner, 0);
    ck_assert_uint_eq(give(p[5]), p[5]);
    ck_assert(pt_chunks_is_unused(p[4]) && pt_chunks_unused() == MIB);
}
END_TEST

/* ---- no room ---- */

START_TEST(without_a_record_a_part_stays_whole)
{
    start();
    uint32_t a = pt_chunks_add(exact, 4 * MIB, PT_CHUNK_REGISTERED);
    uint32_t records = atomic_load(&pt_table()->records);
    atomic_store(&pt_table()->records, pt_table()->records_most);
    pt_chunks_cut(a, MIB, true);
    ck_assert(pt_chunks_is_whole(a) && part(a)->capacity == 4 * MIB && part(a)->state == PT_BUSY);
    give(a);
    pt_chunks_take(a, MIB);
    ck_assert(pt_chunks_is_whole(a) && part(a)->capacity == 4 * MIB && part(a)->state == PT_BUSY);
    ck_assert(pt_free_cache_locked() == 0 && pt_chunks_unused() == 0);
    ck_assert_uint_eq(pt_chunks_add(exact + 64 * MIB, 4 * MIB, PT_CHUNK_REGISTERED), 0);
    atomic_store(&pt_table()->records, records);
    uint32_t b = pt_chunks_add(exact + 64 * MIB, 4 * MIB, PT_CHUNK_REGISTERED);
    ck_assert_uint_eq(part(b)->chunk, part(a)->chunk + 1); /* the number that it had for a moment came back */
    pt_chunks_cut(a, MIB, true);
    ck_assert_uint_eq(part(a)->capacity, MIB);
}
END_TEST

START_TEST(without_room_for_chunks_nothing_is_converted)
{
    start();
    uint32_t p[3], last = 0, number;
    add_live(0, PT_CHUNK_MLOCKED, p, 3);
    for (size_t at = 64 * MIB; (number = pt_chunks_add(exact + at, PT_PAGE, PT_CHUNK_REGISTERED)) != 0; at += PT_PAGE) {
        set_state(number, PT_LIVE);
        last = number;
    }
    for (unsigned tries = 0; tries < 10; tries++) {
        REQUIRE(!pt_chunks_convert(p[1]) && !pt_chunks_convert(p[0]) && !pt_chunks_convert(p[2]));
    }
    set_state(last, PT_BUSY);
    pt_chunks_remove(last); /* one number is free: the middle needs two */
    for (unsigned tries = 0; tries < 10; tries++) {
        REQUIRE(!pt_chunks_convert(p[1]));
    }
    require_chain(p, 3);
    ck_assert(pt_chunks_kind(p[1]) == PT_CHUNK_MLOCKED && (part(p[1])->flags & PT_REGISTERED) == 0);
    ck_assert(pt_chunks_convert(p[2]));
    require_converted(p[2]);
    require_chain(p, 2);
}
END_TEST

/* ---- anything in any order, against a plain model: what each page is ---- */

enum { STRETCHES = 10, PAGES = 200, STEPS = 200000, LOOK_EACH = 50 };
enum what { GONE, USED, LOCKED, HOLE };

static struct page {
    enum what is;
    enum pt_chunk_kind kind;
    uint32_t part;  /* the record of a used one */
    uint32_t chunk; /* tells them apart */
} model[STRETCHES][PAGES];
static unsigned chunks_so_far;
static uint64_t clock_ns;
static unsigned did[8];

static char *address_of(unsigned s, unsigned page)
{
    return exact + s * 64 * MIB + page * PT_PAGE;
}

static void place_of(uint32_t number, unsigned *s, unsigned *page)
{
    size_t at = part(number)->base - (uintptr_t)exact;
    *s = (unsigned)(at / (64 * MIB));
    *page = (unsigned)(at % (64 * MIB) / PT_PAGE);
}

/* Whether a page goes on what the one before it is. */
static bool goes_on(const struct page *p)
{
    return p[0].is == p[-1].is && p[0].chunk == p[-1].chunk && p[0].part == p[-1].part;
}

/* The run around a page; its end. */
static unsigned run_of(unsigned s, unsigned page, unsigned *first)
{
    unsigned end = page + 1;
    while (page > 0 && goes_on(&model[s][page])) {
        page--;
    }
    while (end < PAGES && goes_on(&model[s][end])) {
        end++;
    }
    *first = page;
    return end;
}

static void mark(unsigned s, unsigned first, unsigned end, enum what is, uint32_t number)
{
    for (unsigned i = first; i < end; i++) {
        model[s][i].is = is;
        model[s][i].part = number;
    }
}

/* That the record is that run. */
static void require_run(uint32_t number)
{
    unsigned s, page, first, end;
    place_of(number, &s, &page);
    end = run_of(s, page, &first);
    REQUIRE(first == page && part(number)->capacity == (end - first) * PT_PAGE);
}

/* ---- used parts, to choose from ---- */

static uint32_t used[STRETCHES * PAGES];
static unsigned used_count;

static unsigned some_used(void)
{
    return (unsigned)rand() % used_count;
}

/* In any of the states that somebody may have it in. */
static void begin_use(uint32_t number)
{
    static const enum pt_state states[] = {PT_LIVE, PT_LIVE, PT_LIVE, PT_FLYING, PT_CACHED, PT_BUSY};
    enum pt_state now = states[rand() % 6];
    atomic_store(&part(number)->owner, now == PT_CACHED ? 1 : 0);
    set_state(number, now);
    used[used_count++] = number;
}

static uint32_t end_use(unsigned i)
{
    uint32_t number = used[i];
    used[i] = used[--used_count];
    atomic_store(&part(number)->owner, 0);
    set_state(number, PT_BUSY);
    return number;
}

/* ---- what may happen ---- */

static bool is_gone(unsigned s)
{
    bool gone = true;
    for (unsigned i = 0; i < PAGES; i++) {
        gone = gone && model[s][i].is == GONE;
    }
    return gone;
}

static void add(void)
{
    unsigned s = (unsigned)rand() % STRETCHES, len = (unsigned)rand() % PAGES + 1;
    if (!is_gone(s)) {
        return;
    }
    enum pt_chunk_kind kind = rand() % 2 == 0 ? PT_CHUNK_MLOCKED : rand() % 2 == 0 ? PT_CHUNK_REGISTERED : PT_CHUNK_SMALL;
    uint32_t number = pt_chunks_add(address_of(s, 0), len * PT_PAGE, kind);
    REQUIRE(number != 0);
    chunks_so_far++;
    for (unsigned i = 0; i < len; i++) {
        model[s][i] = (struct page){.is = USED, .kind = kind, .part = number, .chunk = chunks_so_far};
    }
    begin_use(number);
    did[0]++;
}

static void cut(void)
{
    unsigned s, first, end, i = some_used();
    uint32_t number = end_use(i);
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    unsigned need = (unsigned)rand() % (end - first) + 1;
    bool locked = model[s][first].kind != PT_CHUNK_MLOCKED || rand() % 2 == 0;
    pt_chunks_cut(number, need * PT_PAGE, locked);
    mark(s, first + need, end, locked ? LOCKED : HOLE, 0);
    begin_use(number);
    did[1]++;
}

static void take(void)
{
    enum pt_free_kind kind = (enum pt_free_kind)(rand() % PT_FREE_KINDS);
    unsigned need = (unsigned)rand() % (rand() % 3 == 0 ? PAGES : 12) + 1, s, first;
    uint32_t number = pt_free_cache_best(need * PT_PAGE, kind);
    if (number == 0) {
        return;
    }
    place_of(number, &s, &first);
    require_run(number);
    REQUIRE(part(number)->capacity >= need * PT_PAGE);
    REQUIRE(model[s][first].is == (kind == PT_FREE_HOLE ? HOLE : LOCKED));
    pt_chunks_take(number, need * PT_PAGE);
    REQUIRE(part(number)->state == PT_BUSY && part(number)->capacity == need * PT_PAGE);
    mark(s, first, first + need, USED, number);
    begin_use(number);
    did[2]++;
}

/* A busy part that is its whole chunk goes. */
static void remove_chunk(uint32_t number)
{
    unsigned s, first, end;
    REQUIRE(pt_chunks_is_whole(number));
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    for (unsigned i = first; i < end; i++) {
        model[s][i] = (struct page){0};
    }
    REQUIRE(pt_chunks_remove(number) == (is_gone(s) ? address_of(s, 0) : NULL));
    did[3]++;
}

static void give_back(uint32_t number, bool locked)
{
    unsigned s, first, end;
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    mark(s, first, end, locked ? LOCKED : HOLE, 0);
    clock_ns += (unsigned)rand() % 3;
    uint64_t late = rand() % 4 == 0 ? (unsigned)rand() % 20 : 0; /* out of a magazine */
    number = pt_chunks_give(number, locked, clock_ns > late ? clock_ns - late : 0);
    require_run(number);
    if (!locked && pt_chunks_is_whole(number)) { /* nothing of it is locked any more */
        pt_chunks_take(number, part(number)->capacity);
        remove_chunk(number);
    }
}

static void give_one(void)
{
    uint32_t number = end_use(some_used());
    if (pt_chunks_is_whole(number) && rand() % 8 == 0) {
        remove_chunk(number); /* as one that could not be locked */
    } else {
        give_back(number, pt_chunks_kind(number) != PT_CHUNK_MLOCKED || rand() % 4 != 0);
    }
    did[4]++;
}

static void unlock_oldest(void)
{
    uint64_t before = rand() % 2 == 0 ? UINT64_MAX : clock_ns > 40 ? clock_ns - (unsigned)rand() % 40 : 0;
    uint32_t number = pt_chunks_take_oldest(before), records = atomic_load(&pt_table()->records);
    uint64_t born = number != 0 ? part(number)->born_ns : before < UINT64_MAX ? before + 1 : 0;
    REQUIRE(number == 0 || born <= before);
    for (uint32_t other = 1; other < records; other++) { /* nobody waits longer */
        const struct pt_record *r = part(other);
        if (r->state == PT_CACHED && atomic_load(&r->owner) == 0 && (r->flags & PT_REGISTERED) == 0) {
            REQUIRE(number != 0 || before < UINT64_MAX);
            REQUIRE(r->born_ns >= born);
        }
    }
    if (number != 0) {
        require_run(number);
        REQUIRE(pt_chunks_kind(number) == PT_CHUNK_MLOCKED);
        give_back(number, rand() % 4 == 0);
        did[5]++;
    }
}

static void remove_unused(void)
{
    size_t deficit = (size_t)rand() % (12 * PAGES) * PT_PAGE, sum = 0, enough = 0, largest = 0;
    for (unsigned s = 0; s < STRETCHES; s++) {
        for (unsigned first = 0, end; first < PAGES; first = end) {
            end = run_of(s, first, &first);
            const struct page *p = &model[s][first];
            bool alone = (first == 0 || p[-1].chunk != p->chunk) && (end == PAGES || model[s][end].chunk != p->chunk);
            size_t len = (end - first) * PT_PAGE;
            if (p->is == LOCKED && p->kind != PT_CHUNK_MLOCKED && alone) {
                sum += len;
                largest = len > largest ? len : largest;
                enough = len >= deficit / 8 && (enough == 0 || len < enough) ? len : enough;
            }
        }
    }
    REQUIRE(pt_chunks_unused() == sum);
    uint32_t number = pt_chunks_take_unused(deficit);
    REQUIRE((number != 0) == (sum > 0));
    if (number != 0) {
        REQUIRE(part(number)->capacity == (enough > 0 ? enough : largest));
        REQUIRE(pt_chunks_unused() == sum - part(number)->capacity);
        require_run(number);
        remove_chunk(number);
        did[6]++;
    }
}

static void convert(void)
{
    uint32_t number = used[some_used()];
    unsigned s, first, end;
    if (pt_chunks_kind(number) != PT_CHUNK_MLOCKED || part(number)->state != PT_LIVE) {
        return;
    }
    place_of(number, &s, &first);
    end = run_of(s, first, &first);
    REQUIRE(pt_chunks_convert(number));
    uint32_t was = model[s][first].chunk;
    for (unsigned i = end; i < PAGES && model[s][i].chunk == was; i++) {
        model[s][i].chunk = chunks_so_far + 1;
    }
    for (unsigned i = first; i < end; i++) {
        model[s][i].chunk = chunks_so_far + 2;
        model[s][i].kind = PT_CHUNK_REGISTERED;
    }
    chunks_so_far += 2;
    did[7]++;
}

/* All that nobody uses goes; also what a conversion has left over that is not locked. */
static void trim(void)
{
    for (uint32_t number; (number = pt_chunks_take_oldest(UINT64_MAX)) != 0;) {
        give_back(number, false);
    }
    for (uint32_t number; (number = pt_chunks_take_unused(0)) != 0;) {
        remove_chunk(number);
    }
    for (uint32_t number; (number = pt_free_cache_best(PT_PAGE, PT_FREE_HOLE)) != 0 && pt_chunks_is_whole(number);) {
        pt_chunks_take(number, part(number)->capacity);
        remove_chunk(number);
    }
}

/* ---- looking at all of it ---- */

static uint32_t number_at[STRETCHES][PAGES], chunk_number[STRETCHES * PAGES];
static unsigned runs_most, chunks_most;

static enum pt_free_kind free_kind(const struct page *p)
{
    return p->kind == PT_CHUNK_REGISTERED ? PT_FREE_REGISTERED
           : p->kind == PT_CHUNK_SMALL    ? PT_FREE_SMALL
           : p->is == HOLE                ? PT_FREE_HOLE
                                          : PT_FREE_MLOCKED;
}

/* One part: what it says of itself, and what is found at its addresses. */
static void look_at(unsigned s, unsigned first, unsigned end)
{
    const struct page *p = &model[s][first];
    uint32_t number = number_at[s][first];
    const struct pt_record *r = part(number);
    REQUIRE(number != 0 && r->capacity == (end - first) * PT_PAGE);
    REQUIRE(p->is == USED ? number == p->part : r->state == (p->is == HOLE ? PT_HOLE : PT_CACHED));
    REQUIRE(r->locked == (p->is == HOLE ? 0 : r->capacity));
    REQUIRE(((r->flags & PT_REGISTERED) != 0) == (p->kind != PT_CHUNK_MLOCKED) && (r->flags & PT_EXACT) != 0);
    REQUIRE(pt_chunks_kind(number) == p->kind);
    uint32_t before = first > 0 && p[-1].chunk == p->chunk ? p[-1].part : 0;
    if (first > 0 && p[-1].chunk == p->chunk && before == 0) { /* a free one */
        unsigned from;
        run_of(s, first - 1, &from);
        before = number_at[s][from];
    }
    REQUIRE(r->before == before);
    REQUIRE(r->after == (end < PAGES && model[s][end].chunk == p->chunk ? number_at[s][end] : 0));
    REQUIRE(pt_chunks_is_whole(number) == (r->before == 0 && r->after == 0));
    uint32_t finds = p->is == HOLE ? 0 : number;
    REQUIRE(found_at(address_of(s, first)) == finds && found_at(address_of(s, end) - 1) == finds);
    REQUIRE(found_at(address_of(s, first) + (end - first) * PT_PAGE / 2) == finds);
}

/* That the parts are those of the model, tile their chunks, and add up. */
static void look(void)
{
    uint32_t records = atomic_load(&pt_table()->records), parts = 0, runs = 0, chunks = 0;
    size_t bytes[PT_FREE_KINDS] = {0};
    memset(number_at, 0, sizeof number_at);
    for (uint32_t number = 1; number < records; number++) {
        unsigned s, page;
        if (part(number)->state != PT_FREE) {
            place_of(number, &s, &page);
            REQUIRE(s < STRETCHES && page < PAGES && number_at[s][page] == 0);
            number_at[s][page] = number;
            parts++;
        }
    }
    for (unsigned s = 0; s < STRETCHES; s++) {
        size_t in_use = 0;
        unsigned chunk_first = 0;
        for (unsigned first = 0, end; first < PAGES; first = end) {
            const struct page *p = &model[s][first];
            end = run_of(s, first, &first);
            if (p->is == GONE) {
                continue;
            }
            look_at(s, first, end);
            runs++;
            if (first == 0 || p[-1].chunk != p->chunk) { /* a chunk begins: it has a number of its own */
                uint32_t number = part(number_at[s][first])->chunk;
                for (unsigned i = 0; i < chunks; i++) {
                    REQUIRE(chunk_number[i] != number);
                }
                chunk_number[chunks++] = number;
                in_use = 0;
                chunk_first = first;
            }
            REQUIRE(part(number_at[s][first])->chunk == chunk_number[chunks - 1]);
            in_use += p->is == USED ? (end - first) * PT_PAGE : 0;
            bytes[free_kind(p)] += p->is != USED ? (end - first) * PT_PAGE : 0;
            if (end == PAGES || model[s][end].chunk != p->chunk) { /* and ends */
                const struct pt_chunk *c = pt_chunk_table_at(chunk_number[chunks - 1]);
                REQUIRE(c->base == address_of(s, chunk_first) && c->len == (end - chunk_first) * PT_PAGE);
                REQUIRE(c->first == number_at[s][chunk_first] && c->used == in_use && c->kind == p->kind);
                REQUIRE(pt_chunks_is_unused(number_at[s][chunk_first]) == (in_use == 0));
                REQUIRE(pt_chunks_is_unused(number_at[s][first]) == (in_use == 0));
            }
        }
    }
    REQUIRE(parts == runs);
    for (int kind = 0; kind < PT_FREE_KINDS; kind++) {
        REQUIRE(pt_free_cache_bytes(kind) == bytes[kind]);
    }
    REQUIRE(pt_free_cache_locked() == bytes[PT_FREE_MLOCKED] + bytes[PT_FREE_REGISTERED] + bytes[PT_FREE_SMALL]);
}

/* How many parts and chunks there are at most: so many records and numbers are needed, and no more. A chunk that came with
 * the addresses keeps its number until all of them go. */
static void count_them(void)
{
    unsigned runs = 0, chunks = 0;
    for (unsigned s = 0; s < STRETCHES; s++) {
        bool any = false;
        for (unsigned i = 0; i < PAGES; i++) {
            const struct page *p = &model[s][i];
            runs += p->is != GONE && (i == 0 || !goes_on(p));
            chunks += p->is != GONE && (i == 0 || p[-1].chunk != p->chunk);
            any = any || p->is != GONE;
        }
        chunks += any;
    }
    runs_most = runs > runs_most ? runs : runs_most;
    chunks_most = chunks > chunks_most ? chunks : chunks_most;
}

START_TEST(any_order_agrees_with_a_plain_model)
{
    start();
    srand((unsigned)_i + 1);
    for (unsigned step = 0; step < STEPS; step++) {
        /* What is in use grows and shrinks in waves, so that chunks come and go. */
        static void (*const more[])(void) = {add, add, cut, cut, take, take, take, take, take, give_one, unlock_oldest, convert};
        static void (*const less[])(void) = {cut, take, give_one, give_one, give_one, give_one, unlock_oldest, remove_unused};
        static bool grows;
        if (!grows && used_count < 3 && rand() % 2 == 0) {
            trim();
        }
        grows = used_count < 3 || (grows && rand() % 500 != 0);
        if (used_count == 0) {
            add();
        } else {
            (grows ? more[rand() % 12] : less[rand() % 8])();
        }
        count_them();
        if (step % LOOK_EACH == 0) {
            look();
            REQUIRE(atomic_load(&pt_table()->records) <= runs_most + 2); /* a rest that joins at once has one for a moment */
            for (uint32_t number = 1; number < atomic_load(&pt_table()->records); number++) {
                REQUIRE(part(number)->state == PT_FREE || part(number)->chunk <= chunks_most);
            }
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_msg(did[i] > STEPS / 2000, "%u of kind %u", did[i], i);
    }
    while (used_count > 0) {
        uint32_t number = end_use(used_count - 1);
        give_back(number, pt_chunks_kind(number) != PT_CHUNK_MLOCKED);
    }
    trim();
    look();
    ck_assert(pt_free_cache_locked() == 0 && pt_free_cache_bytes(PT_FREE_HOLE) == 0 && pt_chunks_unused() == 0);
    uint32_t records = atomic_load(&pt_table()->records);
    for (uint32_t i = 1; i < records; i++) { /* every one of them is to be had again */
        REQUIRE(pt_table_take_record() < records);
    }
    ck_assert_uint_eq(pt_table_take_record(), records);
    static uint32_t p[2 * HOLES_MOST + 4];
    make_holes(0, p); /* and no hole of all those is still counted */
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("chunks");
    tcase_add_test(tests, a_new_chunk_is_one_busy_part);
    tcase_add_test(tests, a_cut_leaves_the_rest_free);
    tcase_add_test(tests, each_kind_of_chunk_has_its_place_in_the_free_cache);
    tcase_add_test(tests, what_is_left_of_a_part_waits_as_long_as_it_did);
    tcase_add_test(tests, free_neighbours_join_on_both_sides);
    tcase_add_test(tests, a_joined_part_waits_since_the_later_and_names_no_site);
    tcase_add_test(tests, holes_join_holes_and_nothing_else);
    tcase_add_test(tests, nothing_joins_what_somebody_has);
    tcase_add_test(tests, chunks_side_by_side_stay_apart);
    tcase_add_test(tests, whole_and_unused);
    tcase_add_test(tests, the_smallest_unused_chunk_that_is_worth_it_goes);
    tcase_add_test(tests, the_mlocked_part_that_waits_longest_goes);
    tcase_add_test(tests, holes_stay_few);
    tcase_add_test(tests, the_addresses_come_back_with_the_chunk);
    tcase_add_test(tests, the_first_part_becomes_a_chunk);
    tcase_add_test(tests, the_last_part_becomes_a_chunk);
    tcase_add_test(tests, a_whole_chunk_becomes_registered);
    tcase_add_test(tests, a_part_in_the_middle_becomes_a_chunk);
    tcase_add_test(tests, conversion_leaves_its_neighbours_as_they_are);
    tcase_add_test(tests, without_a_record_a_part_stays_whole);
    tcase_add_test(tests, without_room_for_chunks_nothing_is_converted);
    tcase_add_loop_test(tests, any_order_agrees_with_a_plain_model, 0, 3);
    return suite_run("chunks", tests);
}
