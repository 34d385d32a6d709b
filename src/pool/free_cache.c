#include "pool/free_cache.h"

#include "ledger/table.h"
#include "memory/pages.h"

#include <string.h>

/* Sizes fall into bins, eight a doubling, like jemalloc's classes from 16 KiB on. */
#define BINS  304
#define WORDS ((BINS + 63) / 64)

/* How many of a bin are looked at, so that a bin full of odd sizes costs no more than a miss. */
#define LOOK_MOST 16

/* The pool's lock guards all of it. */
static struct {
    struct {
        uint32_t first[BINS]; /* newest first: its pages are the likeliest to be in the CPU's cache */
        uint64_t filled[WORDS];
        size_t bytes;
    } kind[PT_FREE_KINDS];
    uint32_t oldest, newest; /* mlocked ones by age */
} cache;

static unsigned bin_of(size_t size)
{
    size_t pages = size / PT_PAGE;
    if (pages < 16) {
        return (unsigned)pages;
    }
    unsigned top = 63u - (unsigned)__builtin_clzl(pages);
    unsigned bin = 16 + (top - 4) * 8 + (unsigned)(pages >> (top - 3) & 7);
    return bin < BINS ? bin : BINS - 1;
}

void pt_free_cache_init(void)
{
    memset(&cache, 0, sizeof cache);
}

/* ---- by age ---- */

/* The list stays in order. Who comes late, from a magazine, looks for its place among the newest few; should those be
 * younger without exception, it passes for as young as the last of them. */
static uint32_t place_by_age(uint64_t *since_ns)
{
    uint32_t older = cache.newest;
    for (unsigned i = 0; older != 0; i++) {
        const struct pt_record *r = pt_table_record(older);
        if (r->born_ns <= *since_ns) {
            break;
        }
        if (i == 2 * LOOK_MOST) {
            *since_ns = r->born_ns;
            break;
        }
        older = r->older;
    }
    return older;
}

static void link_by_age(uint32_t number, struct pt_record *r)
{
    r->older = place_by_age(&r->born_ns);
    uint32_t *forward = r->older != 0 ? &pt_table_record(r->older)->newer : &cache.oldest;
    r->newer = *forward;
    *forward = number;
    *(r->newer != 0 ? &pt_table_record(r->newer)->older : &cache.newest) = number;
}

static void unlink_by_age(const struct pt_record *r)
{
    *(r->older != 0 ? &pt_table_record(r->older)->newer : &cache.oldest) = r->newer;
    *(r->newer != 0 ? &pt_table_record(r->newer)->older : &cache.newest) = r->older;
}

/* ---- by size ---- */

void pt_free_cache_put(uint32_t number, enum pt_free_kind kind)
{
    struct pt_record *r = pt_table_record(number);
    unsigned bin = bin_of(r->capacity);
    uint32_t *first = &cache.kind[kind].first[bin];
    r->prev = 0;
    r->next = *first;
    if (*first != 0) {
        pt_table_record(*first)->prev = number;
    }
    *first = number;
    cache.kind[kind].filled[bin / 64] |= (uint64_t)1 << bin % 64;
    cache.kind[kind].bytes += r->capacity;
    if (kind == PT_FREE_MLOCKED) {
        link_by_age(number, r);
    }
}

void pt_free_cache_remove(uint32_t number, enum pt_free_kind kind)
{
    struct pt_record *r = pt_table_record(number);
    unsigned bin = bin_of(r->capacity);
    if (r->prev != 0) {
        pt_table_record(r->prev)->next = r->next;
    } else {
        cache.kind[kind].first[bin] = r->next;
        if (r->next == 0) {
            cache.kind[kind].filled[bin / 64] &= ~((uint64_t)1 << bin % 64);
        }
    }
    if (r->next != 0) {
        pt_table_record(r->next)->prev = r->prev;
    }
    cache.kind[kind].bytes -= r->capacity;
    if (kind == PT_FREE_MLOCKED) {
        unlink_by_age(r);
    }
}

/* The smallest of one bin that is large enough. */
static uint32_t search_bin(unsigned bin, size_t need, enum pt_free_kind kind)
{
    uint32_t best = 0;
    unsigned looked = 0;
    for (uint32_t n = cache.kind[kind].first[bin]; n != 0 && looked < LOOK_MOST; n = pt_table_record(n)->next, looked++) {
        size_t size = pt_table_record(n)->capacity;
        if (size == need) {
            return n;
        }
        if (size > need && (best == 0 || size < pt_table_record(best)->capacity)) {
            best = n;
        }
    }
    return best;
}

/* The first bin from `bin` on that holds any; BINS: none. */
static unsigned next_filled(unsigned bin, enum pt_free_kind kind)
{
    for (unsigned word = bin / 64; word < WORDS; word++) {
        uint64_t filled = cache.kind[kind].filled[word] & (word == bin / 64 ? UINT64_MAX << bin % 64 : UINT64_MAX);
        if (filled != 0) {
            return word * 64 + (unsigned)__builtin_ctzl(filled);
        }
    }
    return BINS;
}

uint32_t pt_free_cache_best(size_t need, enum pt_free_kind kind)
{
    uint32_t found = 0;
    for (unsigned bin = bin_of(need); found == 0 && (bin = next_filled(bin, kind)) < BINS; bin++) {
        found = search_bin(bin, need, kind);
    }
    return found;
}

static uint32_t if_old(uint32_t number, uint64_t before_ns)
{
    return number != 0 && pt_table_record(number)->born_ns <= before_ns ? number : 0;
}

uint32_t pt_free_cache_oldest(uint64_t before_ns)
{
    return if_old(cache.oldest, before_ns);
}

uint32_t pt_free_cache_next_oldest(uint32_t number, uint64_t before_ns)
{
    return if_old(pt_table_record(number)->newer, before_ns);
}

size_t pt_free_cache_bytes(enum pt_free_kind kind)
{
    return cache.kind[kind].bytes;
}

size_t pt_free_cache_locked(void)
{
    return cache.kind[PT_FREE_MLOCKED].bytes + cache.kind[PT_FREE_REGISTERED].bytes + cache.kind[PT_FREE_SMALL].bytes;
}
