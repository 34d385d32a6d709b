/* Chunks and their parts, the book-keeping alone. */
#include "chunks.h"

static void add_live(size_t at, enum pt_chunk_kind kind, uint32_t *parts, unsigned count)
{
    add_parts(at, kind, MIB, parts, count);
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
    ck_assert(pt_chunks_unused() == 0 && pt_chunks_take_unused(0) == 0 && pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX) == 0);
}
END_TEST

START_TEST(a_cut_leaves_the_rest_free)
{
    start();
    uint32_t a = pt_chunks_add(exact, 8 * MIB, PT_CHUNK_REGISTERED);
    pt_chunks_cut(a, 3 * MIB + PT_PAGE, true);
    uint32_t rest = pt_free_cache_best(MIB, PT_FREE_REGISTERED);
    require_chain((uint32_t[]){a, rest}, 2);
    ck_assert(part(a)->state == PT_BUSY && part(a)->capacity == 3 * MIB + PT_PAGE &&
              part(a)->locked == 3 * MIB + PT_PAGE);
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
    ck_assert_uint_eq(pt_chunks_take_oldest(1233, SIZE_MAX), 0);
    ck_assert_uint_ne(pt_chunks_take_oldest(1234, SIZE_MAX), 0);
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
    ck_assert(part(p[0])->born_ns == 200 && pt_chunks_take_oldest(199, SIZE_MAX) == 0);
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
    } row[] = {
        {0, 2},          {1, 2},          {16 * MIB, 2},   {16 * MIB + 8 * PT_PAGE, 4}, {32 * MIB, 4}, {33 * MIB, 16},
        {200 * MIB, 32}, {512 * MIB, 64}, {513 * MIB, 64}, {(size_t)1 << 45, 64}};
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
    ck_assert(pt_chunks_take_unused(0) == 0 && pt_chunks_take_unused(SIZE_MAX) == 0 && pt_chunks_unused() == 0);
}
END_TEST

START_TEST(all_unused_chunks_go)
{
    enum { COUNT = 20000 };
    start();
    for (unsigned i = 0; i < COUNT; i++) {
        give(pt_chunks_add(exact + i * 4 * MIB, 2 * MIB, PT_CHUNK_REGISTERED));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        REQUIRE(pt_chunks_unused() == (COUNT - i) * 2 * MIB && pt_chunks_take_unused(SIZE_MAX) != 0);
    }
    ck_assert(pt_chunks_take_unused(SIZE_MAX) == 0 && pt_chunks_unused() == 0);
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
    ck_assert_uint_eq(pt_chunks_take_oldest(9, SIZE_MAX), 0);
    ck_assert_uint_eq(pt_chunks_take_oldest(20, SIZE_MAX), p[5]);
    ck_assert(part(p[5])->state == PT_BUSY && part(p[5])->capacity == MIB);
    ck_assert_uint_eq(pt_chunks_take_oldest(20, SIZE_MAX), p[1]);
    ck_assert_uint_eq(pt_chunks_take_oldest(20, SIZE_MAX), 0);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), p[3]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0);
}
END_TEST

START_TEST(holes_stay_few)
{
    start();
    static uint32_t p[2 * HOLES_MOST + 4];
    make_holes(0, p);
    uint32_t q[3];
    add_parts(256 * MIB, PT_CHUNK_MLOCKED, 8 * MIB - PT_PAGE, q, 3);
    pt_chunks_give(q[1], true, 6);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0);
    uint32_t l[3];
    add_parts(512 * MIB, PT_CHUNK_MLOCKED, 8 * MIB, l, 3);
    pt_chunks_give(l[1], true, 7);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), l[1]); /* worth it in any case, though others wait longer */
    pt_chunks_give(l[1], false, 1);
    pt_chunks_give(l[1] = pt_chunks_add(exact + 640 * MIB, MIB, PT_CHUNK_MLOCKED), true, 8);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0);
    /* A hole that only grows is none more: on the right, on the left, and two that become one. */
    pt_chunks_give(p[2 * HOLES_MOST], true, 9);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), p[2 * HOLES_MOST]);
    ck_assert_uint_eq(pt_chunks_give(p[2 * HOLES_MOST], false, 1), p[2 * HOLES_MOST - 1]);
    pt_chunks_give(p[0], true, 10);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), p[0]);
    ck_assert_uint_eq(pt_chunks_give(p[0], false, 1), p[0]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0);
    pt_chunks_give(p[4], true, 11);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), p[4]);
    ck_assert_uint_eq(pt_chunks_give(p[4], false, 1), p[3]);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0); /* the large one has that place */
    pt_chunks_take(p[3], 3 * PT_PAGE);                       /* one fewer */
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), p[2 * HOLES_MOST + 2]);
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

START_TEST(registered_chunks_are_gone_through_and_stay_meanwhile)
{
    start();
    uint32_t live[2], other[1], chunk = 0;
    void *base;
    size_t len, before;
    ck_assert(!pt_chunks_hold_next_registered(&chunk, &base, &len));
    add_live(0, PT_CHUNK_REGISTERED, live, 2);
    add_live(64 * MIB, PT_CHUNK_MLOCKED, other, 1);
    give(pt_chunks_add(exact + 128 * MIB, 3 * MIB, PT_CHUNK_SMALL));
    give(pt_chunks_add(exact + 192 * MIB, 4 * MIB, PT_CHUNK_REGISTERED));
    uint32_t busy = pt_chunks_add(exact + 256 * MIB, 5 * MIB, PT_CHUNK_REGISTERED); /* somebody else's just now */
    const struct {
        size_t at, len, unused;
    } row[] = {{0, 2, 7}, {128, 3, 4}, {192, 4, 3}}; /* MiB */
    chunk = 0;
    for (unsigned i = 0; i < 3; i++) {
        REQUIRE(pt_chunks_hold_next_registered(&chunk, &base, &len));
        ck_assert(base == exact + row[i].at * MIB && len == row[i].len * MIB);
        ck_assert_uint_eq(pt_chunks_unused(), row[i].unused * MIB); /* what is held cannot go */
    }
    before = pt_chunks_unused();
    uint32_t goes = pt_chunks_take_unused(0);
    ck_assert(part(goes)->capacity == before && pt_chunks_take_unused(0) == 0);
    pt_chunks_remove(goes);
    ck_assert(!pt_chunks_hold_next_registered(&chunk, &base, &len));
    ck_assert_uint_eq(pt_chunks_unused(), 4 * MIB);
    chunk = 0; /* the one that has gone is passed over */
    ck_assert(pt_chunks_hold_next_registered(&chunk, &base, &len) && base == exact);
    ck_assert(pt_chunks_hold_next_registered(&chunk, &base, &len) && base == exact + 192 * MIB);
    give(busy);
    ck_assert(pt_chunks_hold_next_registered(&chunk, &base, &len) && base == exact + 256 * MIB);
    ck_assert(!pt_chunks_hold_next_registered(&chunk, &base, &len));
    ck_assert_uint_eq(pt_chunks_unused(), 9 * MIB);
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
    tcase_add_test(tests, all_unused_chunks_go);
    tcase_add_test(tests, the_mlocked_part_that_waits_longest_goes);
    tcase_add_test(tests, holes_stay_few);
    tcase_add_test(tests, the_addresses_come_back_with_the_chunk);
    tcase_add_test(tests, registered_chunks_are_gone_through_and_stay_meanwhile);
    tcase_add_test(tests, the_first_part_becomes_a_chunk);
    tcase_add_test(tests, the_last_part_becomes_a_chunk);
    tcase_add_test(tests, a_whole_chunk_becomes_registered);
    tcase_add_test(tests, a_part_in_the_middle_becomes_a_chunk);
    tcase_add_test(tests, conversion_leaves_its_neighbours_as_they_are);
    tcase_add_test(tests, without_a_record_a_part_stays_whole);
    tcase_add_test(tests, without_room_for_chunks_nothing_is_converted);
    return suite_run("chunks", tests);
}
