#include "pool/in_flight.h"

#include "base/options.h"
#include "device/driver.h"
#include "ledger/table.h"
#include "memory/arena.h"
#include "pool/budget.h"
#include "pool/chunks.h"
#include "pool/free_cache.h"
#include "pool/lock.h"
#include "pool/stream_use.h"

#include <string.h>

/* Blocks to look at in one go; and how many of them may turn out to be waiting still, since each look costs. */
#define LOOK_MOST 16
#define VAIN_MOST 2

static struct {
    /* The pool's lock guards these: */
    uint32_t first, last; /* blocks that wait, linked by `next` */

    /* And nothing these: */
    _Atomic uint32_t
        arrived; /* blocks that came since, linked likewise, the latest first; with the lock they are taken over */
    _Atomic uint32_t waiting;    /* how many wait in all */
    _Atomic uint32_t strict;     /* of these, how many wait for all that the devices were given */
    _Atomic uint64_t departures; /* numbers such blocks, in `born_ns` */
    _Atomic uint64_t finished;   /* what departed up to here was waited for */
} state;

void pt_in_flight_reset(void)
{
    memset(&state, 0, sizeof state);
}

/* ---- leaving ---- */

/* What cudaFreeHost ends, nobody told the streams of: as with CUDA's own, all that the devices were given counts. */
static bool is_strict(const struct pt_record *r)
{
    return r->door == PT_DOOR_CUDA || pt_option(PT_OPTION_REUSE) == PT_REUSE_STRICT;
}

bool pt_in_flight_holds(const struct pt_record *r)
{
    return r->uses != 0 || (r->flags & PT_CAPTURED) != 0 || (is_strict(r) && pt_driver_found());
}

/* A block that a graph uses waits for nothing that comes. */
static void stay(struct pt_record *r)
{
    pt_lock_enter();
    pt_stream_use_end(r);
    pt_lock_leave();
}

void pt_in_flight_depart(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    if ((r->flags & PT_CAPTURED) != 0) {
        stay(r);
        return;
    }
    pt_stream_use_mark(r);
    PT_PUT(r->born_ns, is_strict(r) ? atomic_fetch_add(&state.departures, 1) + 1 : 0);
    atomic_fetch_add(&state.strict, r->born_ns > 0);
    atomic_fetch_add(&state.waiting, 1);
    uint32_t before = atomic_load_explicit(&state.arrived, memory_order_relaxed);
    do {
        r->next = before;
    } while (!atomic_compare_exchange_weak(&state.arrived, &before, number));
}

/* ---- waiting ---- */

/* With the lock held. */
static void append(uint32_t number)
{
    pt_table_record(number)->next = 0;
    *(state.last != 0 ? &pt_table_record(state.last)->next : &state.first) = number;
    state.last = number;
}

static void put_back(uint32_t number)
{
    pt_table_record(number)->next = state.first;
    state.first = number;
    state.last = state.last != 0 ? state.last : number;
}

/* In the order in which they came. */
static void take_over_arrived(void)
{
    uint32_t number = atomic_exchange(&state.arrived, 0), earliest = 0, next;
    for (; number != 0; number = next) {
        next = pt_table_record(number)->next;
        pt_table_record(number)->next = earliest;
        earliest = number;
    }
    for (number = earliest; number != 0; number = next) {
        next = pt_table_record(number)->next;
        append(number);
    }
}

/* Up to LOOK_MOST blocks off the list. */
static uint32_t take_some(uint32_t *some)
{
    uint32_t count = 0;
    pt_lock_enter();
    take_over_arrived();
    for (; count < LOOK_MOST && state.first != 0; count++) {
        some[count] = state.first;
        state.first = pt_table_record(state.first)->next;
    }
    state.last = state.first != 0 ? state.last : 0;
    pt_lock_leave();
    return count;
}

/* All that was dropped before this call is over then, if nothing kept the devices from being waited for. */
static void finish(void)
{
    uint64_t departed = atomic_load(&state.departures);
    if (!pt_stream_use_captures() && pt_driver_finish()) {
        uint64_t before = atomic_load(&state.finished);
        while (before < departed && !atomic_compare_exchange_weak(&state.finished, &before, departed)) {
        }
    }
}

static bool is_over(const struct pt_record *r)
{
    return r->born_ns <= atomic_load(&state.finished) && pt_stream_use_is_over(r);
}

/* ---- landing ---- */

/* With the lock held: the block's memory is free. Returns what is jemalloc's to free, without the lock, or NULL. */
static void *land(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    pt_stream_use_end(r);
    atomic_fetch_sub(&state.waiting, 1);
    atomic_fetch_sub(&state.strict, r->born_ns > 0);
    pt_budget_land(r);
    if ((r->flags & PT_EXACT) != 0) {
        (void)pt_chunks_give(number, true, pt_table_now());
        return NULL;
    }
    void *small = (void *)r->base;
    pt_table_give_record(number);
    return small;
}

/* Looks at some of the first blocks in the list, till too many turn out to wait still: how many it looked at, and of
 * these, how many landed. */
struct look {
    uint32_t looked, landed;
};
static struct look look(uint32_t vain_most)
{
    uint32_t some[LOOK_MOST], count = take_some(some), small_count = 0;
    bool over[LOOK_MOST];
    void *small[LOOK_MOST];
    struct look l = {0};
    for (; l.looked < count && l.looked - l.landed < vain_most; l.looked++) {
        over[l.looked] = is_over(pt_table_record(some[l.looked]));
        l.landed += over[l.looked];
    }
    if (count > 0) {
        pt_lock_enter();
        for (uint32_t i = count; i-- > l.looked;) { /* their turn is next */
            put_back(some[i]);
        }
        for (uint32_t i = 0; i < l.looked; i++) {
            if (!over[i]) {
                append(some[i]); /* behind the others: a slow stream holds nobody else up */
            } else if ((small[small_count] = land(some[i])) != NULL) {
                small_count++;
            }
        }
        pt_table()->counters.cached_locked = pt_free_cache_locked();
        pt_lock_leave();
    }
    for (uint32_t i = 0; i < small_count; i++) {
        pt_arena_small_free(small[i]);
    }
    return l;
}

bool pt_in_flight_settle(enum pt_in_flight_effort effort)
{
    uint32_t looks = atomic_load_explicit(&state.waiting, memory_order_relaxed), vain = 0;
    bool any = false;
    if (looks == 0) {
        return false;
    }
    if (effort == PT_IN_FLIGHT_WAIT) {
        finish();
    }
    while (looks > 0 && vain < VAIN_MOST) {
        struct look l = look(effort == PT_IN_FLIGHT_FEW ? VAIN_MOST - vain : UINT32_MAX);
        looks = l.looked > 0 && looks > l.looked ? looks - l.looked : 0;
        vain += effort == PT_IN_FLIGHT_FEW ? l.looked - l.landed : 0;
        any = any || l.landed > 0;
    }
    return any;
}

/* ---- questions ---- */

bool pt_in_flight_waiting(void)
{
    return atomic_load_explicit(&state.waiting, memory_order_relaxed) > 0;
}

bool pt_in_flight_strict(void)
{
    return atomic_load_explicit(&state.strict, memory_order_relaxed) > 0;
}
