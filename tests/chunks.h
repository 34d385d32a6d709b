/* For the suites on chunks: nothing is locked there, and no page touched. */
#ifndef TESTS_CHUNKS_H
#define TESTS_CHUNKS_H

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

static inline void start(void)
{
    ck_assert_int_eq(pt_segments_init(), 0);
    ck_assert_int_eq(pt_table_init(0), 0);
    pt_chunks_init();
    exact = pt_segments_range()->base + pt_segments_range()->small;
    pt_lock_enter(); /* which every call wants held */
}

static inline struct pt_record *part(uint32_t number)
{
    return pt_table_record(number);
}

static inline void set_state(uint32_t number, enum pt_state now)
{
    pt_table_write_begin(part(number));
    part(number)->state = (uint8_t)now;
    pt_table_write_end(part(number));
}

static inline uint32_t found_at(const char *p)
{
    return pt_table_find(p).number;
}

/* A chunk `at` bytes into the region, cut into parts of one size that are live, first to last. */
static inline void add_parts(size_t at, enum pt_chunk_kind kind, size_t size, uint32_t *parts, unsigned count)
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

static inline uint32_t give(uint32_t number)
{
    return pt_chunks_give(number, true, 1);
}

/* chunks.c: so many holes may there be, since each costs mappings. */
enum { HOLES_MOST = 12000 };

/* As many as may be, each between two pages in use: the odd ones of `p`. The last but one waits, and may not become
 * one. */
static inline void make_holes(size_t at, uint32_t p[2 * HOLES_MOST + 4])
{
    add_parts(at, PT_CHUNK_MLOCKED, PT_PAGE, p, 2 * HOLES_MOST + 4);
    for (unsigned i = 1; i < 2 * HOLES_MOST; i += 2) {
        REQUIRE(give(p[i]) == p[i]);
        REQUIRE(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX) == p[i]);
        REQUIRE(pt_chunks_give(p[i], false, 1) == p[i]);
    }
    pt_chunks_give(p[2 * HOLES_MOST + 2], true, 5);
    ck_assert_uint_eq(pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX), 0); /* one too many */
}

#endif
