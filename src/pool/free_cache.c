#include "pool/free_cache.h"

#include "ledger/table.h"
#include "memory/pages.h"

#include <stdbool.h>
#include <string.h>

/* Sizes fall into bins, eight a doubling, like jemalloc's classes from 16 KiB on. */
#define BINS 300

static struct {
    uint32_t bins[BINS];     /* newest first: its pages are the likeliest to be in the CPU's cache */
    uint32_t oldest, newest; /* all of them by age */
    size_t bytes;
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

/* The list by age stays in order. Who comes late, from a magazine, looks for its place among the newest few; should
 * those be younger without exception, it passes for as young as the last of them. */
static uint32_t place_by_age(uint64_t *since_ns)
{
    enum { LOOK_MOST = 32 };
    uint32_t older = cache.newest;
    for (unsigned i = 0; older != 0; i++) {
        const struct pt_record *r = pt_table_record(older);
        if (r->born_ns <= *since_ns) {
            break;
        }
        if (i == LOOK_MOST) {
            *since_ns = r->born_ns;
            break;
        }
        older = r->older;
    }
    return older;
}

void pt_free_cache_put(uint32_t number, uint64_t since_ns)
{
    struct pt_record *r = pt_table_record(number);
    uint32_t *bin = &cache.bins[bin_of(r->locked)];
    r->older = place_by_age(&since_ns);
    r->born_ns = since_ns;
    r->prev = 0;
    r->next = *bin;
    if (*bin != 0) {
        pt_table_record(*bin)->prev = number;
    }
    *bin = number;
    uint32_t *forward = r->older != 0 ? &pt_table_record(r->older)->newer : &cache.oldest;
    r->newer = *forward;
    *forward = number;
    *(r->newer != 0 ? &pt_table_record(r->newer)->older : &cache.newest) = number;
    cache.bytes += r->locked;
}

static void take_out(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    if (r->prev != 0) {
        pt_table_record(r->prev)->next = r->next;
    } else {
        cache.bins[bin_of(r->locked)] = r->next;
    }
    if (r->next != 0) {
        pt_table_record(r->next)->prev = r->prev;
    }
    if (r->older != 0) {
        pt_table_record(r->older)->newer = r->newer;
    } else {
        cache.oldest = r->newer;
    }
    if (r->newer != 0) {
        pt_table_record(r->newer)->older = r->older;
    } else {
        cache.newest = r->older;
    }
    cache.bytes -= r->locked;
}

/* The best of one bin; how far to look is bounded, so that a bin full of odd sizes costs no more than a miss. */
static uint32_t search_bin(unsigned bin, size_t need)
{
    enum { LOOK_MOST = 16 };
    uint32_t best = 0;
    unsigned looked = 0;
    for (uint32_t n = cache.bins[bin]; n != 0 && looked < LOOK_MOST; n = pt_table_record(n)->next, looked++) {
        const struct pt_record *r = pt_table_record(n);
        if (r->locked == need) {
            return n;
        }
        /* A registration can be neither cut nor added to, and a new one would wait for the device. */
        bool fits =
            (r->flags & PT_REGISTERED) != 0 ? r->locked >= need && r->locked - need <= need / 20 : r->capacity >= need;
        if (fits && (best == 0 || r->locked > pt_table_record(best)->locked)) {
            best = n;
        }
    }
    return best;
}

uint32_t pt_free_cache_take(size_t need)
{
    /* What is mlocked is cut down from up to twice the size, and topped up from half: beyond that a fresh block costs
     * less. What is registered serves as it is, if that is little too much. */
    unsigned first = bin_of(need), last = bin_of(need * 2), least = bin_of(need / 2);
    uint32_t found = 0;
    for (unsigned bin = first; found == 0 && bin <= last; bin++) {
        found = search_bin(bin, need);
    }
    for (unsigned bin = first; found == 0 && bin-- > least;) {
        found = search_bin(bin, need);
    }
    if (found != 0) {
        take_out(found);
    }
    return found;
}

uint32_t pt_free_cache_take_oldest(uint64_t before_ns)
{
    uint32_t number = cache.oldest;
    if (number == 0 || pt_table_record(number)->born_ns > before_ns) {
        return 0;
    }
    take_out(number);
    return number;
}

size_t pt_free_cache_bytes(void)
{
    return cache.bytes;
}
