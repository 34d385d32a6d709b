#include "pool/budget.h"

#include "base/options.h"
#include "memory/limit.h"
#include "memory/pages.h"
#include "memory/segments.h"
#include "pool/chunks.h"
#include "pool/free_cache.h"

#include <string.h>

/* Free bytes that the small region may hold before they count, and are worth purging: its granularity is nothing that
 * another block should have to go for. */
#define SMALL_SLACK ((size_t)1 << 20)

/* Where a part of what is in use is worth being careful with. */
#define MUCH ((size_t)1 << 30)

/* Registrations that have to find a higher peak before a program counts as growing. */
enum { CLIMBS_LEAST = 8 };

/* The pool's lock guards all of it. */
static struct {
    size_t exact_live, small_live;     /* locked bytes of live blocks in either region */
    size_t flying_exact, flying_small; /* of dropped blocks that a device still uses */
    size_t pending;                    /* exact bytes that threads are locking at this moment */
    size_t peak;                       /* the most of the first four at once */
    size_t debt;                       /* see budget.h */
    size_t peak_before;                /* at the last registration */
    unsigned climbs;                   /* registrations in debt that found it higher, less those that did not */
    size_t small_purged_at;            /* the small region's locked bytes when it was last purged */
} state;

void pt_budget_reset(void)
{
    memset(&state, 0, sizeof state);
}

/* ---- what is in use ---- */

static size_t in_use(void)
{
    return state.exact_live + state.small_live + state.flying_exact + state.flying_small;
}

static bool is_exact(const struct pt_record *r)
{
    return (r->flags & PT_EXACT) != 0;
}

void pt_budget_use(const struct pt_record *r)
{
    *(is_exact(r) ? &state.exact_live : &state.small_live) += r->locked;
    size_t used = in_use();
    if (used > state.peak) {
        size_t grown = used - state.peak;
        state.debt -= grown < state.debt ? grown : state.debt;
        state.peak = used;
    }
}

void pt_budget_unuse(const struct pt_record *r)
{
    *(is_exact(r) ? &state.exact_live : &state.small_live) -= r->locked;
}

void pt_budget_fly(const struct pt_record *r)
{
    *(is_exact(r) ? &state.flying_exact : &state.flying_small) += r->locked;
}

void pt_budget_land(const struct pt_record *r)
{
    *(is_exact(r) ? &state.flying_exact : &state.flying_small) -= r->locked;
}

void pt_budget_expect(size_t pending)
{
    state.pending += pending;
}

void pt_budget_expect_less(size_t pending)
{
    state.pending -= pending;
}

void pt_budget_unkeep(size_t bytes)
{
    state.exact_live -= bytes;
}

bool pt_budget_raises_peak(size_t more)
{
    return in_use() + state.pending + more > state.peak;
}

size_t pt_budget_flying(void)
{
    return state.flying_exact + state.flying_small;
}

size_t pt_budget_flying_small(void)
{
    return state.flying_small;
}

/* ---- what waits ---- */

size_t pt_budget_small_unused(void)
{
    size_t locked = pt_segments_small_locked(), used = state.small_live + state.flying_small;
    return locked > used ? locked - used : 0;
}

/* The highest use, with what is about to be. */
static size_t peak_now(void)
{
    size_t soon = in_use() + state.pending;
    return soon > state.peak ? soon : state.peak;
}

/* Of the small region's unused bytes, those that do not count. */
static size_t uncounted(void)
{
    size_t unused = pt_budget_small_unused(), apart = pt_segments_small_spare() + SMALL_SLACK;
    return unused < apart ? unused : apart;
}

/* All that is locked, or about to be, and counts. */
static size_t locked_now(void)
{
    return in_use() + state.pending + pt_free_cache_locked() + pt_budget_small_unused() - uncounted();
}

/* No more than PINTENSOR_LIMIT leaves: what waits and is in the way of a request goes for it, and no more of it. */
static size_t allowed(size_t bytes)
{
    size_t most = pt_limit_most(), apart = most != SIZE_MAX ? uncounted() : 0;
    most = most > apart ? most - apart : 0;
    return bytes < most ? bytes : most;
}

static size_t percent(void)
{
    return pt_option(PT_OPTION_CACHE);
}

static size_t share_of(size_t peak)
{
    return peak + peak / 100 * percent() + peak % 100 * percent() / 100;
}

static size_t least_limit(void)
{
    return allowed(share_of(peak_now()));
}

/* Whether sizes grow on and on: such a program needs new chunks for each size that it comes to, and what is a quarter
 * too much now will be used soon. */
static bool grows(void)
{
    return state.climbs >= CLIMBS_LEAST;
}

/* At each registration. One whose sizes vary about the same has seen its largest sizes before long. */
static void note_growth(void)
{
    size_t peak = peak_now();
    if (state.debt == 0) {
        state.climbs = 0;
    } else if (peak > state.peak_before) {
        state.climbs += state.climbs < 2 * CLIMBS_LEAST;
    } else {
        state.climbs -= state.climbs > 0;
    }
    state.peak_before = peak;
}

/* A registered chunk is 2 MiB at least: a small program may have one that is partly used. The more debt, the more room,
 * up to five times of what waits otherwise, and twice that for one that grows meanwhile; soon where that is little, and
 * slowly where much is at stake: a program that builds up GiBs of state has next to nothing beside it. */
static size_t limit_of(bool growing)
{
    enum { SLOWLY = 8, MOST = 5 };
    size_t peak = peak_now(), least = share_of(peak), most = peak + (least - peak) * MOST * (growing ? 2 : 1);
    size_t wide = peak >= MUCH ? peak + (least - peak) / SLOWLY + state.debt / SLOWLY : least + state.debt;
    size_t grain = pt_pages_up(peak + PT_HUGE, PT_HUGE);
    wide = wide < most ? wide : most;
    return allowed(wide > grain ? wide : grain);
}

static size_t limit(void)
{
    return limit_of(grows());
}

bool pt_budget_small_is_too_much(bool registers)
{
    size_t locked = pt_segments_small_locked(), unused = pt_budget_small_unused();
    /* A purge that found little to give back is not tried again before things have changed. */
    bool changed = locked > state.small_purged_at + SMALL_SLACK || unused > 2 * SMALL_SLACK + locked / 2;
    bool too_much = unused > SMALL_SLACK && changed && locked_now() > (registers ? limit() : least_limit());
    if (too_much) {
        state.small_purged_at = locked;
    }
    return too_much;
}

size_t pt_budget_over(void)
{
    size_t locked = locked_now(), most = limit_of(false);
    return locked > most ? locked - most : 0;
}

size_t pt_budget_mlocked_over(void)
{
    size_t locked = locked_now(), most = least_limit();
    return locked > most ? locked - most : 0;
}

/* ---- the size of chunks ---- */

/* That of a chunk for small requests; and which are small, where much is in use. */
static size_t small_chunk(void)
{
    size_t len = pt_pages_up(peak_now() / 512, PT_HUGE);
    return len > PT_HUGE ? len : PT_HUGE;
}

bool pt_budget_is_small(size_t need)
{
    return need <= peak_now() / 1024;
}

/* Up to the next eighth of a doubling. */
static size_t round_up_to_eighth(size_t need)
{
    size_t eighth = ((size_t)1 << (63 - __builtin_clzl(need))) / 8;
    return eighth > PT_PAGE ? pt_pages_up(need, eighth) : need;
}

bool pt_budget_spares(size_t need, uint32_t part)
{
    enum { MUCH_LARGER = 8 };
    const struct pt_record *r = pt_table_record(part);
    enum pt_chunk_kind kind = pt_chunks_kind(part);
    if (kind == PT_CHUNK_MLOCKED) {
        return need <= PT_HUGE && r->capacity >= MUCH_LARGER * need && r->capacity > PT_HUGE &&
               locked_now() + need <= least_limit();
    }
    size_t small = small_chunk();
    bool would_squat =
        need <= small && r->capacity >= MUCH_LARGER * need && r->capacity > small && pt_chunks_is_unused(part);
    return ((pt_budget_is_small(need) && kind != PT_CHUNK_SMALL) || would_squat) &&
           locked_now() + small <= least_limit();
}

static size_t largest(size_t a, size_t b, size_t c)
{
    size_t most = a > b ? a : b;
    return most > c ? most : c;
}

/* The size that would be best, were there room. */
static size_t wanted(size_t need, bool apart)
{
    enum { IN_DEBT = 4, PARTS = 4, PARTS_GROWING = 2 };
    size_t peak = peak_now();
    if (apart || pt_budget_is_small(need)) {
        return small_chunk();
    }
    if (state.debt >= peak / IN_DEBT && state.debt > 0) {
        return largest(round_up_to_eighth(need), pt_pages_up(peak / (grows() ? PARTS_GROWING : PARTS), PT_HUGE),
                       small_chunk());
    }
    return need < PT_HUGE ? small_chunk() : pt_pages_up(need, PT_HUGE);
}

/* `want`, or less where that is more than `most`, but never less than the request needs. Whole huge pages where they
 * fit: the rest of one costs more time in small pages than all of it. Else small requests get a chunk for as many of
 * their size as fill one: a program whose blocks are a little more than half of one would have half of its memory
 * locked in vain. */
static size_t at_most(size_t need, size_t want, ptrdiff_t most)
{
    size_t least = (need + PT_HUGE - 1) / need * need, huge = most > 0 ? (size_t)most & ~(PT_HUGE - 1) : 0;
    return most >= (ptrdiff_t)want ? want : huge > least ? huge : least;
}

/* What may still be locked; negative: that much too much is already. The request itself is not counted. */
static ptrdiff_t space_left(size_t need)
{
    return (ptrdiff_t)limit() - (ptrdiff_t)(locked_now() - need);
}

struct pt_plan pt_budget_plan(size_t need, bool apart)
{
    note_growth();
    ptrdiff_t has = space_left(need), can_go = (ptrdiff_t)(pt_chunks_unused() + pt_free_cache_bytes(PT_FREE_MLOCKED));
    struct pt_plan plan = {.len = at_most(need, wanted(need, apart), has + can_go), .small = pt_budget_is_small(need)};
    plan.evict = (ptrdiff_t)plan.len > has ? (size_t)((ptrdiff_t)plan.len - has) : 0;
    return plan;
}

size_t pt_budget_fit(size_t need, size_t len)
{
    return at_most(need, len, space_left(need));
}

void pt_budget_evicted(size_t bytes)
{
    enum { PEAKS_MOST = 4 };
    size_t debt = state.debt + bytes, most = state.peak * PEAKS_MOST;
    state.debt = debt < most ? debt : most;
}
