#include "pool/pool.h"

#include "base/options.h"
#include "device/driver.h"
#include "ledger/counters.h"
#include "memory/arena.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/pressure.h"
#include "pool/background.h"
#include "pool/drain.h"
#include "pool/exact.h"
#include "pool/free_cache.h"
#include "pool/in_flight.h"
#include "pool/lock.h"

#include <errno.h>
#include <string.h>

/* Free bytes that the small region may hold before they count, and are worth purging. */
#define SMALL_SLACK ((size_t)1 << 20)

/* Bytes on their way out that nobody waits for before more is locked. */
#define GOING_MOST ((size_t)64 << 20)

static struct {
    size_t exact_live, small_live;     /* locked bytes of live blocks in either region */
    size_t flying_exact, flying_small; /* of dropped blocks that a device still uses */
    size_t peak;                       /* the most of these four at once */
    size_t pending;                    /* exact bytes that threads are locking at this moment */
    size_t small_unused;               /* at the latest tick, and */
    unsigned small_unchanged;          /* how many ticks it has been that */
    size_t small_purged_at;            /* the small region's locked bytes when it was last purged */
} state;

static _Atomic bool purge_wanted; /* of the idle thread */

static void thread_ends(void)
{
    pt_pool_take_back(pt_drain_own);
}

void pt_pool_reset(void)
{
    memset(&state, 0, sizeof state);
    pt_free_cache_init();
    pt_exact_reset();
    pt_magazine_reset(thread_ends);
}

/* Bytes that somebody uses: tensors, and devices that still read or write what was dropped. */
static size_t in_use(void)
{
    return state.exact_live + state.small_live + state.flying_exact + state.flying_small;
}

static bool raises_peak(void)
{
    return in_use() + state.pending > state.peak;
}

/* Bytes of the small region that are locked and nobody's: free runs, and what was locked ahead of need. */
static size_t small_unused(void)
{
    size_t locked = pt_segments_small_locked(), used = state.small_live + state.flying_small;
    return locked > used ? locked - used : 0;
}

static bool room_exceeded(void)
{
    size_t live = in_use() + state.pending, peak = live > state.peak ? live : state.peak;
    size_t unused = small_unused(), apart = pt_segments_small_spare() + SMALL_SLACK;
    /* The small region's granularity is nothing that an exact block should have to go for. */
    size_t cached = pt_free_cache_bytes() + (unused > apart ? unused - apart : 0);
    return live + cached > peak + peak / 20;
}

/* Takes blocks out of the cache until the rest fits, chained by `next`. With the lock held. */
static uint32_t choose_victims(void)
{
    uint32_t victims = 0, number;
    while (room_exceeded() && (number = pt_free_cache_take_oldest(UINT64_MAX)) != 0) {
        pt_table_record(number)->next = victims;
        victims = number;
    }
    pt_table()->counters.cached_locked = pt_free_cache_bytes();
    return victims;
}

/* The same for what has waited since before then. */
static uint32_t take_waiting(uint64_t before_ns, uint32_t victims)
{
    uint32_t number;
    while ((number = pt_free_cache_take_oldest(before_ns)) != 0) {
        pt_table_record(number)->next = victims;
        victims = number;
    }
    pt_table()->counters.cached_locked = pt_free_cache_bytes();
    return victims;
}

static bool small_wants_purge(void)
{
    size_t locked = pt_segments_small_locked(), unused = small_unused();
    /* A purge that found little to give back is not tried again before things have changed. */
    bool changed = locked > state.small_purged_at + SMALL_SLACK || unused > 2 * SMALL_SLACK + locked / 2;
    bool wants = unused > SMALL_SLACK && changed && room_exceeded();
    if (wants) {
        state.small_purged_at = locked;
    }
    return wants;
}

/* Memory that was waiting for a device can be used again; true if some can. With no lock held. */
static bool settle(enum pt_in_flight_effort effort)
{
    uint32_t number = pt_in_flight_landed(effort), next, victims;
    bool any = number != 0;
    for (; number != 0; number = next) {
        struct pt_record *r = pt_table_record(number);
        void *small = NULL;
        next = r->next;
        pt_lock_lock();
        if ((r->flags & PT_EXACT) != 0) {
            state.flying_exact -= r->locked;
            pt_table_write_begin(r);
            r->state = PT_CACHED;
            pt_table_write_end(r);
            pt_free_cache_put(number, pt_table_now());
        } else {
            state.flying_small -= r->locked;
            small = (void *)r->base;
            pt_table_give_record(number);
        }
        victims = choose_victims();
        pt_lock_unlock();
        if (small != NULL) {
            pt_arena_small_free(small);
        }
        pt_exact_dismiss(victims);
    }
    return any;
}

/* ---- what threads keep for themselves: its locked bytes are among those of live blocks until it comes back ---- */

void pt_pool_gather(void)
{
    state.exact_live -= pt_drain_all();
    pt_table()->counters.cached_locked = pt_free_cache_bytes();
}

static void gather_all(void)
{
    if (pt_magazine_any()) {
        (void)pt_drain_stop(false);
        pt_pool_gather();
        pt_drain_go();
    }
}

void pt_pool_take_back(size_t (*from)(void))
{
    pt_lock_lock();
    state.exact_live -= from();
    uint32_t victims = choose_victims();
    pt_lock_unlock();
    pt_exact_dismiss(victims);
}

void pt_pool_take_back_all(void)
{
    if (pt_magazine_any()) {
        pt_lock_lock();
        gather_all();
        uint32_t victims = choose_victims();
        pt_lock_unlock();
        pt_exact_dismiss(victims);
    }
}

struct pt_leftover pt_pool_expect(const struct pt_record *r)
{
    struct pt_leftover left = {0};
    if (pt_counters_raises_peak(r) || raises_peak()) {
        gather_all();
        left.victims = choose_victims();
    }
    return left;
}

/* ---- making blocks ---- */

/* Stock is page aligned and O_DIRECT needs 512 bytes; below a page the size itself says what its user may expect. */
static size_t small_alignment(size_t bytes)
{
    size_t natural = bytes & -bytes;
    return bytes >= PT_PAGE ? PT_PAGE : bytes % 512 == 0 ? natural : 64;
}

/* A record for exact pages, from the cache or fresh; 0 with the errno in *error. */
static uint32_t make_exact(size_t bytes, bool locked, bool *reused, int *error)
{
    size_t need = pt_pages_up(bytes, PT_PAGE);
    uint32_t number = 0, victims = 0;
    if (locked) {
        pt_lock_lock();
        number = pt_free_cache_take(need);
        if (number == 0 && pt_in_flight_strict()) { /* what waits may serve, which is worth waiting for the device */
            pt_lock_unlock();
            settle(PT_IN_FLIGHT_WAIT);
            pt_lock_lock();
            number = pt_free_cache_take(need);
        }
        state.pending += need; /* until it is live, or failed */
        if (pt_magazine_any() && (number == 0 || raises_peak())) {
            gather_all();
            number = number != 0 ? number : pt_free_cache_take(need);
        }
        const struct pt_record *r = pt_table_record(number);
        if (number != 0 && (r->flags & PT_REGISTERED) != 0) {
            state.pending += r->locked - need; /* it stays as long as it is */
        }
        victims = choose_victims();
        pt_lock_unlock();
        pt_exact_dismiss(victims);
    }

    *reused = number != 0 && pt_table_record(number)->locked >= need;
    if (number != 0 && pt_exact_fit(number, need)) {
        return number;
    }
    size_t twentieth = state.peak / 20;
    pt_exact_give_way(twentieth > GOING_MOST ? twentieth : GOING_MOST);
    return pt_exact_make(bytes, locked, error);
}

/* A record for a block in a shared, locked segment. The index is set when the block goes live. */
static uint32_t make_small(size_t bytes, bool *reused, int *error)
{
    size_t capacity, before = pt_segments_small_locked();
    void *base = pt_arena_small(bytes, small_alignment(bytes), &capacity);
    if (base == NULL) {
        *error = pt_pin_error() != 0 ? pt_pin_error() : ENOBUFS;
        return 0;
    }
    pt_lock_lock();
    uint32_t number = pt_table_enter(base, bytes, capacity, capacity, 0);
    pt_lock_unlock();
    if (number == 0) {
        pt_arena_small_free(base);
        *error = ENOMEM;
    }
    *reused = pt_segments_small_locked() <= before;
    return number;
}

uint32_t pt_pool_make(size_t bytes, bool *reused, int *error)
{
    settle(pt_in_flight_strict() && state.flying_small > SMALL_SLACK ? PT_IN_FLIGHT_WAIT : PT_IN_FLIGHT_FEW);
    bool exact = pt_exact_may(bytes);
    uint32_t number = exact ? make_exact(bytes, true, reused, error) : make_small(bytes, reused, error);
    if (exact && number == 0) {
        pt_lock_lock();
        state.pending -= pt_pages_up(bytes, PT_PAGE);
        pt_lock_unlock();
    }
    return number;
}

uint32_t pt_pool_make_pageable(size_t bytes, int *error)
{
    bool reused;
    return make_exact(bytes, false, &reused, error);
}

bool pt_pool_registered(const void *p)
{
    if (!pt_table_ours(p) || !pt_owner_owns()) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    return f.number != 0 && (f.flags & PT_EXACT) != 0 ? (f.flags & PT_REGISTERED) != 0 : pt_segments_registered(p);
}

bool pt_pool_register(const void *p, size_t len)
{
    if (!pt_table_ours(p) || !pt_owner_owns() || !pt_table_covers(p, len)) {
        return false;
    }
    struct pt_found f = pt_table_find(p);
    if (pt_pool_registered(p) || f.number == 0 || (f.flags & PT_EXACT) == 0 || (f.flags & PT_PAGEABLE) != 0) {
        return pt_pool_registered(p);
    }
    /* Made before the program had a context. Whoever asks holds the block, so it stays meanwhile. */
    struct pt_record *r = pt_table_record(f.number);
    if (pt_pin_convert((void *)r->base, r->locked) != 0) {
        return false;
    }
    pt_lock_lock();
    struct pt_magazine *held = pt_drain_hold(r);
    pt_table_write_begin(r);
    r->flags |= PT_REGISTERED;
    pt_table_write_end(r);
    pt_drain_let_go(held);
    pt_lock_unlock();
    return true;
}

void pt_pool_live(struct pt_record *r)
{
    bool exact = (r->flags & PT_EXACT) != 0;
    *(exact ? &state.exact_live : &state.small_live) += r->locked;
    state.pending -= exact ? r->locked : 0; /* a pageable one has none */
    state.peak = in_use() > state.peak ? in_use() : state.peak;
    pt_table()->counters.cached_locked = pt_free_cache_bytes();
}

/* ---- giving back ---- */

struct pt_leftover pt_pool_end(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    bool exact = (r->flags & PT_EXACT) != 0;
    struct pt_leftover left = {0};
    *(exact ? &state.exact_live : &state.small_live) -= r->locked;
    atomic_store_explicit(&r->keeper, 0, memory_order_relaxed);
    if ((r->flags & PT_PAGEABLE) == 0 && pt_in_flight_holds(r)) {
        *(exact ? &state.flying_exact : &state.flying_small) += r->locked;
        if (!exact) {
            pt_table_unindex(number);
        }
        pt_table_write_begin(r);
        r->state = PT_FLYING;
        pt_table_write_end(r);
        left.flying = number;
    } else if (exact) {
        pt_table_write_begin(r);
        r->state = PT_CACHED;
        pt_table_write_end(r);
        if ((r->flags & PT_PAGEABLE) != 0) {
            r->next = 0;
            left.victims = number;
        } else {
            pt_free_cache_put(number, pt_table_now());
            left.victims = choose_victims();
        }
    } else {
        left.small = (void *)r->base;
        left.purge = small_wants_purge();
        pt_table_unindex(number);
        pt_table_give_record(number);
    }
    return left;
}

void pt_pool_clean(const struct pt_leftover *left)
{
    if (left->flying != 0) {
        pt_in_flight_depart(left->flying);
    }
    if (left->small != NULL) {
        pt_arena_small_free(left->small);
    }
    pt_exact_dismiss(left->victims);
    if (left->purge && pt_driver_found()) {
        atomic_store(&purge_wanted, true); /* it may have to wait for the device */
        (void)pt_background_wake();
    } else if (left->purge) {
        pt_arena_small_purge();
    }
}

size_t pt_pool_cached(void)
{
    pt_lock_lock();
    size_t bytes = pt_free_cache_bytes() + state.flying_exact + state.flying_small + small_unused();
    pt_lock_unlock();
    return bytes;
}

size_t pt_pool_trim(void)
{
    if (!pt_owner_owns()) {
        return 0;
    }
    settle(PT_IN_FLIGHT_ALL);
    pt_lock_lock();
    gather_all();
    uint32_t victims = take_waiting(UINT64_MAX, 0);
    pt_lock_unlock();
    size_t bytes = pt_exact_destroy(victims) + pt_exact_destroy_dismissed(), small = pt_segments_small_locked();
    pt_exact_give_way(0); /* what the idle thread is at */
    pt_arena_small_purge();
    pt_segments_unlock_ahead();
    size_t left = pt_segments_small_locked();
    return bytes + (small > left ? small - left : 0);
}

bool pt_pool_wait(void)
{
    return settle(PT_IN_FLIGHT_WAIT);
}

void pt_pool_errand(void)
{
    (void)pt_exact_destroy_dismissed();
    if (atomic_exchange(&purge_wanted, false)) {
        pt_arena_small_purge();
    }
}

bool pt_pool_tick(void)
{
    uint64_t now = pt_table_now();
    /* When memory is short the program needs it more than the cache does. */
    uint64_t idle = pt_pressure_high() ? 0 : pt_option(PT_OPTION_IDLE) * 1000000000u;
    uint64_t before = now > idle ? now - idle : 0;
    uint32_t victims = 0;
    bool kept;
    settle(pt_in_flight_strict() ? PT_IN_FLIGHT_WAIT : PT_IN_FLIGHT_ALL);
    pt_lock_lock();
    state.exact_live -= pt_drain_idle(before, &victims, &kept);
    victims = take_waiting(before, victims);
    /* jemalloc spreads its giving back over the idle time; what has not changed for two of those is fragmentation. */
    size_t unused = small_unused();
    state.small_unchanged = unused == state.small_unused ? state.small_unchanged + 1 : 0;
    state.small_unused = unused;
    bool quiet = state.small_unchanged > 4;
    bool busy = kept || pt_free_cache_bytes() > 0 || pt_in_flight_waiting() || (unused > 0 && state.small_unchanged <= 8);
    pt_lock_unlock();
    pt_exact_destroy(victims);
    pt_arena_small_decay();
    if (quiet) {
        pt_segments_unlock_ahead();
    }
    return busy;
}
