#include "pool/span.h"

#include "ledger/table.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "pool/chunks.h"
#include "pool/eviction.h"
#include "pool/free_cache.h"
#include "pool/lock.h"

#include <errno.h>

/* Where `need` bytes lie: past `skip` bytes of a part and in those that follow. */
struct place {
    uint32_t first;
    size_t skip, sum, locked;
};

static bool is_hole(uint32_t number)
{
    return pt_table_record(number)->state == PT_HOLE;
}

/* Adds what is still needed of the part; how much of it is left over. */
static size_t add(struct place *p, uint32_t number, size_t need)
{
    size_t has = pt_table_record(number)->capacity, more = need - p->sum < has ? need - p->sum : has;
    p->sum += more;
    p->locked += is_hole(number) ? 0 : more;
    return has - more;
}

/* From the part on, and from before it where that is not enough. False: too few bytes are free there. */
static bool find_around(uint32_t start, size_t need, struct place *out)
{
    unsigned parts = 0;
    *out = (struct place){.first = start};
    for (uint32_t n = start; out->sum < need && pt_chunks_is_free(n) && parts < PT_SPAN_PARTS; parts++) {
        (void)add(out, n, need);
        n = pt_table_record(n)->after;
    }
    for (uint32_t n = pt_table_record(start)->before; out->sum < need && pt_chunks_is_free(n) && parts < PT_SPAN_PARTS;
         parts++) {
        out->skip = add(out, n, need);
        out->first = n;
        n = pt_table_record(n)->before;
    }
    return out->sum == need;
}

/* Not worth it where nearly all would have to be locked. */
static bool find(size_t need, struct place *best)
{
    enum { LOOK_MOST = 64, WORTH = 8 };
    uint32_t start = pt_free_cache_oldest(UINT64_MAX);
    *best = (struct place){.locked = need / WORTH};
    for (unsigned looked = 0; start != 0 && looked < LOOK_MOST; looked++) {
        struct place p;
        if (find_around(start, need, &p) && p.locked > best->locked) {
            *best = p;
        }
        start = pt_free_cache_next_oldest(start, UINT64_MAX);
    }
    return best->first != 0;
}

bool pt_span_take(size_t need, struct pt_span *out)
{
    struct place place;
    PT_ASSERT_LOCKED();
    *out = (struct pt_span){0};
    if (!find(need, &place)) {
        return false;
    }
    for (uint32_t n = place.first; need > 0; n = pt_table_record(n)->after) {
        size_t has = pt_table_record(n)->capacity - place.skip, bytes = has < need ? has : need;
        out->holes |= (unsigned)is_hole(n) << out->count;
        if (place.skip == 0) {
            pt_chunks_take(n, bytes);
        } else if ((n = pt_chunks_take_tail(n, bytes)) == 0) {
            return false;
        }
        out->part[out->count++] = n;
        place.skip = 0;
        need -= bytes;
    }
    return true;
}

/* What could not be locked is a hole again, what is locked waits. Where somebody else's memory lies, the part stays
 * busy for ever. */
static void give_back(const struct pt_span *s, unsigned failed, int error)
{
    for (unsigned i = 0; i < s->count; i++) {
        if ((s->holes & 1u << i) == 0 || i < failed) {
            pt_lock_enter();
            (void)pt_chunks_give(s->part[i], true, pt_table_now());
            pt_lock_leave();
        } else if (i > failed || error != -EEXIST) {
            pt_eviction_hole(s->part[i]);
        }
    }
}

static int lock_hole(const struct pt_record *r)
{
    int error = pt_segments_open((void *)r->base, r->capacity);
    return error == 0 ? pt_pin_acquire((void *)r->base, r->capacity) : error;
}

uint32_t pt_span_lock(const struct pt_span *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        int error = (s->holes & 1u << i) != 0 ? lock_hole(pt_table_record(s->part[i])) : 0;
        if (error != 0) {
            give_back(s, i, error);
            return 0;
        }
    }
    pt_lock_enter();
    for (unsigned i = 1; i < s->count; i++) {
        pt_chunks_join(s->part[0], s->part[i]);
    }
    pt_lock_leave();
    return s->part[0];
}
