#include "pool/pool.h"

#include "base/options.h"
#include "device/driver.h"
#include "ledger/counters.h"
#include "ledger/history.h"
#include "memory/arena.h"
#include "memory/limit.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/pressure.h"
#include "memory/segments.h"
#include "pool/attributes.h"
#include "pool/budget.h"
#include "pool/chunks.h"
#include "pool/device_reset.h"
#include "pool/drain.h"
#include "pool/eviction.h"
#include "pool/free_cache.h"
#include "pool/in_flight.h"
#include "pool/lock.h"
#include "pool/stream_use.h"
#include "pool/supply.h"
#include "pool/upkeep.h"

#include <errno.h>

/* No machine has more. */
#define BYTES_MOST ((size_t)1 << 46)

/* Bytes of small blocks in flight that a strict program waits for before more is locked. */
#define FLYING_SLACK ((size_t)1 << 20)

void pt_pool_reset(void)
{
    pt_lock_reset();
    pt_chunks_init();
    pt_budget_reset();
    pt_eviction_reset();
    pt_supply_reset();
    pt_device_reset_init();
    pt_stream_use_reset();
    pt_in_flight_reset();
    pt_upkeep_reset();
}

/* ---- a block begins ---- */

static inline __attribute__((always_inline)) void enter_record(struct pt_record *r, const struct pt_birth *b, uint64_t serial,
                                                              uint64_t born)
{
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_LIVE);
    PT_PUT(r->flags, (uint8_t)((r->flags & (PT_EXACT | PT_PAGEABLE | PT_REGISTERED)) | (b->tensor ? PT_TENSOR : 0)));
    PT_PUT(r->generation, r->generation + 1);
    PT_PUT(r->asked, b->bytes);
    r->dtype = (int8_t)b->dtype;
    r->door = (uint8_t)b->door;
    PT_PUT(r->manager, b->manager);
    PT_PUT(r->site, pt_table_site_now(b->site));
    r->release_site = 0;
    r->uses = 0;
    r->thread = pt_owner_thread();
    PT_PUT(r->born_ns, born);
    r->id = serial;
    pt_table_write_end(r);
}

/* With the lock held: a busy part, or a small block's memory, goes live. `pending` of its bytes the budget expects so far. */
static void begin(uint32_t number, const struct pt_birth *b, size_t pending, bool reused, struct pt_block *out)
{
    struct pt_record *r = pt_table_record(number);
    PT_ASSERT_LOCKED();
    PT_ASSERT(r->state == PT_BUSY || (r->state == PT_CACHED && (r->flags & PT_EXACT) == 0));
    if (pt_magazine_any() &&
        (pt_counters_raises_peak(b->bytes, r->locked) || pt_budget_raises_peak(r->locked - pending))) {
        pt_upkeep_drain(); /* so that what threads keep counts for no peak */
    }
    atomic_store_explicit(&r->owner, pt_magazine_mine() ? pt_magazine_owner(r) : 0, memory_order_relaxed);
    enter_record(r, b, ++pt_counters_serial, reused ? b->asked_ns : pt_table_now());
    pt_history_note(b->asked_ns);
    pt_counters_alloc(r, reused, b->asked_ns);
    pt_budget_expect_less(pending);
    pt_budget_use(r);
    pt_table()->counters.cached_locked = pt_free_cache_locked();
    *out = (struct pt_block){(void *)r->base, number, r->generation};
}

/* ---- from the free cache ---- */

/* With the lock held: the free part that suits the request best; 0: none does. *spared: one would have done, but is worth more
 * whole. */
static uint32_t find_part(size_t need, bool *spared)
{
    uint32_t found;
    if (!pt_supply_registers()) {
        found = pt_free_cache_best(need, PT_FREE_MLOCKED);
    } else {
        uint32_t small = pt_free_cache_best(need, PT_FREE_SMALL), other = pt_free_cache_best(need, PT_FREE_REGISTERED);
        bool better = small != 0 && (other == 0 || pt_budget_is_small(need) ||
                                     pt_table_record(small)->capacity <= pt_table_record(other)->capacity);
        found = better ? small : other;
    }
    *spared = found != 0 && pt_budget_spares(need, found);
    return *spared ? 0 : found;
}

/* The same, and takes it. It is pending then. */
static uint32_t reuse_part(size_t need, bool *spared)
{
    uint32_t number = find_part(need, spared);
    if (number == 0 && !*spared && pt_magazine_any()) {
        pt_upkeep_drain();
        number = find_part(need, spared);
    }
    if (number != 0) {
        pt_chunks_take(number, need);
        pt_budget_expect(need);
    }
    return number;
}

/* ---- from what this thread keeps for itself ---- */

static __attribute__((noinline)) bool take_kept(const struct pt_birth *b, struct pt_block *out)
{
    uint64_t serial;
    struct pt_magazine *m = pt_magazine_enter();
    if (m == NULL) {
        return false;
    }
    uint32_t number = pt_magazine_take(m, b->bytes, pt_table_site_now(b->site), &serial);
    if (number != 0) {
        struct pt_record *r = pt_table_record(number);
        enter_record(r, b, serial, b->asked_ns);
        pt_magazine_count(m, r, b->asked_ns);
        *out = (struct pt_block){(void *)r->base, number, r->generation};
    }
    pt_magazine_leave(m);
    return number != 0;
}

static void consider_magazine(void)
{
    if (pt_magazine_wanted() && pt_option(PT_OPTION_REUSE) == PT_REUSE_STREAMS) {
        pt_magazine_join();
    }
}

/* ---- taking ---- */

static int take_part(const struct pt_birth *b, struct pt_block *out)
{
    size_t need = pt_pages_up(b->bytes, PT_PAGE);
    bool spared;
    pt_lock_enter_noting();
    uint32_t number = reuse_part(need, &spared);
    if (number == 0 && pt_in_flight_strict()) { /* what waits may serve, which is worth waiting for the device */
        pt_lock_leave();
        (void)pt_in_flight_settle(PT_IN_FLIGHT_WAIT);
        pt_lock_enter();
        number = reuse_part(need, &spared);
    }
    bool reused = number != 0;
    if (number == 0) {
        int error = ENOMEM;
        pt_lock_leave();
        number = pt_supply_make(need, spared, b->door == PT_DOOR_TORCH || b->door == PT_DOOR_CUDA, &error);
        if (number == 0) {
            return -error;
        }
        pt_lock_enter();
    }
    begin(number, b, need, reused, out);
    pt_lock_leave();
    return 0;
}

/* Stock is page aligned and O_DIRECT needs 512 bytes; below a page the size itself says what its user may expect. */
static size_t small_alignment(size_t bytes)
{
    size_t natural = bytes & -bytes;
    return bytes >= PT_PAGE ? PT_PAGE : bytes % 512 == 0 ? natural : 64;
}

static int take_small(const struct pt_birth *b, struct pt_block *out)
{
    size_t locked, before = pt_segments_small_locked();
    void *base = pt_arena_small(b->bytes, small_alignment(b->bytes), &locked);
    if (base == NULL) {
        return pt_pin_error() != 0 ? -pt_pin_error() : -ENOMEM;
    }
    bool reused = pt_segments_small_locked() <= before;
    pt_lock_enter_noting();
    uint32_t number = pt_table_enter(base, b->bytes, locked);
    if (number != 0) {
        begin(number, b, 0, reused, out);
    }
    pt_lock_leave();
    if (number == 0) {
        pt_arena_small_free(base);
        return -ENOMEM;
    }
    return 0;
}

static int take(const struct pt_birth *b, struct pt_block *out)
{
    bool many = pt_in_flight_strict() && pt_budget_flying_small() > FLYING_SLACK;
    (void)pt_in_flight_settle(many ? PT_IN_FLIGHT_WAIT : PT_IN_FLIGHT_FEW);
    return b->bytes <= PT_ARENA_SLAB_MOST ? take_small(b, out) : take_part(b, out);
}

/* What may help when no memory can be had, the gentlest first. True: it is worth another try. */
enum { LOOK, WAIT, TRIM, RELIEFS };
static bool relieve(int how)
{
    switch (how) {
    case LOOK: return pt_driver_look(); /* where mlock is refused, a device that came into use since may not be */
    case WAIT: return pt_in_flight_settle(PT_IN_FLIGHT_WAIT);
    default: return pt_upkeep_trim() > 0;
    }
}

/* Where all that waits would not make room for it, it had better stay. */
static bool is_hopeless(int error, size_t bytes)
{
    if (error != -ENOSPC && error != -EDQUOT) {
        return false;
    }
    size_t waits = pt_upkeep_cached(), more = bytes > waits ? bytes - waits : 0;
    return error == -ENOSPC ? !pt_pressure_room(more) : !pt_limit_room(more);
}

int pt_pool_take(const struct pt_birth *b, struct pt_block *out)
{
    if (b->bytes > BYTES_MOST) {
        return pt_pressure_room(b->bytes) ? -ENOBUFS : -ENOSPC;
    }
    pt_device_reset_mend();
    if (pt_magazine_mine() && b->bytes > PT_ARENA_SLAB_MOST && take_kept(b, out)) {
        return 0;
    }
    consider_magazine();
    int error = take(b, out);
    for (int i = 0; i < RELIEFS && error != 0 && !is_hopeless(error, b->bytes); i++) {
        error = relieve(i) ? take(b, out) : error;
    }
    if (pt_magazine_mine() && pt_magazine_useless()) {
        pt_upkeep_take_back(pt_drain_own);
    }
    return error;
}

int pt_pool_take_pageable(const struct pt_birth *b, struct pt_block *out)
{
    int error = ENOMEM;
    uint32_t number = b->bytes <= BYTES_MOST ? pt_supply_make_pageable(pt_pages_up(b->bytes, PT_PAGE), &error) : 0;
    if (number == 0) {
        return -error;
    }
    pt_lock_enter();
    begin(number, b, 0, false, out);
    pt_lock_leave();
    return 0;
}

/* ---- a block ends ---- */

/* It is nobody's but this thread's: the pages of a pageable part are wanted by no one, and altered ones not yet. */
static void keep_busy(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->state, PT_BUSY);
    PT_PUT(r->flags, r->flags & (uint8_t) ~(PT_PAGEABLE | PT_ALTERED));
    pt_table_write_end(r);
}

/* A part that was altered is as it was: registered, it waits for the next user; mlocked, it becomes a hole, since its
 * pages may lie where they were bound to. */
static void give_altered(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    if ((r->flags & PT_REGISTERED) != 0) {
        pt_lock_enter();
        (void)pt_chunks_give(number, true, pt_table_now());
        pt_table()->counters.cached_locked = pt_free_cache_locked();
        pt_lock_leave();
    } else {
        r->next = 0;
        (void)pt_eviction_now(number);
    }
}

void pt_pool_give(uint32_t number, bool reclaimed, struct pt_magazine *owner)
{
    struct pt_record *r = pt_table_record(number);
    void *base = (void *)r->base;
    size_t capacity = r->capacity;
    bool exact = (r->flags & PT_EXACT) != 0, pageable = (r->flags & PT_PAGEABLE) != 0;
    bool altered = (r->flags & PT_ALTERED) != 0, undone = true;
    bool registered = exact ? (r->flags & PT_REGISTERED) != 0 : pt_segments_registered(base);
    uint32_t evicted = 0;
    bool flies = !pageable && pt_in_flight_holds(r), too_much = false;
    PT_ASSERT_LOCKED();
    PT_ASSERT(r->state == PT_LIVE && (r->owner != 0) == (owner != NULL));
    uint64_t now = exact ? pt_table_now() : 0; /* small ones are not worth a look at the clock */
    pt_history_note(now);
    pt_counters_drop(r, reclaimed);
    pt_budget_unuse(r);
    atomic_store_explicit(&r->owner, 0, memory_order_relaxed);
    if (flies) {
        pt_budget_fly(r);
        if (!exact) {
            pt_table_unindex(number);
        }
        pt_table_write_begin(r);
        PT_PUT(r->state, PT_FLYING);
        pt_table_write_end(r);
    } else if (pageable || (exact && altered)) {
        keep_busy(number);
    } else if (exact) {
        (void)pt_chunks_give(number, true, now);
        evicted = pt_eviction_choose_mlocked(); /* what several threads expected at once may have been too much */
        pt_table()->counters.cached_locked = pt_free_cache_locked();
    } else {
        pt_table_unindex(number);
        pt_table_give_record(number);
        too_much = pt_budget_small_is_too_much(pt_supply_registers());
    }
    pt_drain_leave(owner);
    if (altered) {
        undone = pt_attributes_undo(base, capacity, exact, registered || pageable);
    }
    if (!undone) {
        /* nobody gets it again: it stays in flight, busy, or a region that jemalloc takes for used */
    } else if (flies) {
        pt_in_flight_depart(number);
    } else if (pageable) {
        pt_pages_discard(base, capacity);
        pt_eviction_hole(number);
    } else if (!exact) {
        pt_arena_small_free(base);
    } else if (altered) {
        give_altered(number);
    }
    (void)pt_eviction_now(evicted);
    if (too_much) {
        pt_upkeep_purge_small();
    }
}
