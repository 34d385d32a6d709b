#include "pool/upkeep.h"

#include "base/options.h"
#include "base/thread.h"
#include "device/driver.h"
#include "ledger/counters.h"
#include "ledger/table.h"
#include "memory/arena.h"
#include "memory/owner.h"
#include "memory/pressure.h"
#include "memory/segments.h"
#include "pool/background.h"
#include "pool/budget.h"
#include "pool/chunks.h"
#include "pool/drain.h"
#include "pool/eviction.h"
#include "pool/free_cache.h"
#include "pool/in_flight.h"
#include "pool/lock.h"

#include <string.h>

/* So much may wait for as long as the process lives, unless somebody gives PINTENSOR_IDLE. */
#define NOT_WORTH_A_THREAD ((size_t)4 << 20)

/* The background thread's alone, but for the atomic one and what is set once. */
static struct {
    size_t worth;              /* bytes that wait: from there on they are worth a thread */
    size_t small_unused;       /* at the latest tick, and */
    unsigned small_unchanged;  /* how many ticks it has been that */
    _Atomic bool purge_wanted; /* of the small region */
} state;

static void thread_ends(void)
{
    pt_upkeep_take_back(pt_drain_own);
}

void pt_upkeep_reset(void)
{
    memset(&state, 0, sizeof state);
    state.worth = pt_option_given(PT_OPTION_IDLE) ? 1 : NOT_WORTH_A_THREAD + 1;
    pt_magazine_reset(thread_ends);
}

/* With the lock held. */
static void note_cached(void)
{
    pt_table()->counters.cached_locked = pt_free_cache_locked();
}

/* ---- what threads keep for themselves: its locked bytes are among those in use until it comes back ---- */

void pt_upkeep_drain_stopped(void)
{
    pt_budget_unkeep(pt_drain_all());
    note_cached();
}

void pt_upkeep_drain(void)
{
    if (pt_magazine_any()) {
        (void)pt_drain_stop(PT_DRAIN_WAIT);
        pt_upkeep_drain_stopped();
        pt_drain_go();
    }
}

void pt_upkeep_take_back(size_t (*from)(void))
{
    pt_lock_enter();
    pt_budget_unkeep(from());
    note_cached();
    pt_lock_leave();
}

void pt_upkeep_take_back_all(void)
{
    if (pt_magazine_any()) {
        pt_lock_enter();
        pt_upkeep_drain();
        pt_lock_leave();
    }
}

void pt_upkeep_mark(void)
{
    pt_lock_enter();
    if (pt_magazine_any()) {
        pt_upkeep_drain();
    }
    pt_counters_mark();
    pt_lock_leave();
}

/* ---- giving back ---- */

size_t pt_upkeep_cached(void)
{
    pt_lock_enter();
    size_t bytes = pt_free_cache_locked() + pt_budget_flying() + pt_budget_small_unused();
    pt_lock_leave();
    return bytes;
}

static uint32_t chain(uint32_t number, uint32_t before)
{
    pt_table_record(number)->next = before;
    return number;
}

/* With the lock held: mlocked parts that have waited since before then, as busy ones; not all at once, since only what has
 * become a hole is counted as one. */
static uint32_t choose_mlocked(uint64_t before_ns)
{
    enum { AT_ONCE = 64 };
    uint32_t chosen = 0, number;
    for (unsigned i = 0; i < AT_ONCE && (number = pt_chunks_take_oldest(before_ns, SIZE_MAX)) != 0; i++) {
        chosen = chain(number, chosen);
    }
    note_cached();
    return chosen;
}

/* With the lock held: registered chunks that nobody uses. */
static uint32_t choose_registered(uint32_t chosen)
{
    uint32_t number;
    while ((number = pt_chunks_take_unused(SIZE_MAX)) != 0) {
        chosen = chain(number, chosen);
    }
    note_cached();
    return chosen;
}

/* With the lock held: of registered chunks that nobody has used since before then, those that the room is too small for. A
 * request that found no chunk wholly unused may have made it so. */
static uint32_t choose_beyond_room(uint64_t before_ns)
{
    uint32_t chosen = 0, number;
    for (size_t over = pt_budget_over(), sum = 0; sum < over && (number = pt_chunks_take_unused(over - sum)) != 0;
         sum += pt_table_record(number)->capacity) {
        uint64_t since = pt_table_record(number)->born_ns;
        if (since > before_ns) {
            (void)pt_chunks_give(number, true, since);
            break;
        }
        chosen = chain(number, chosen);
    }
    note_cached();
    return chosen;
}

/* mlocked parts that have waited since before then. */
static size_t unlock_idle(uint64_t before_ns)
{
    size_t bytes = 0, more;
    do {
        pt_lock_enter();
        uint32_t chosen = choose_mlocked(before_ns);
        pt_lock_leave();
        more = pt_eviction_now(chosen);
        bytes += more;
    } while (more > 0);
    return bytes;
}

static size_t trim(void)
{
    if (!pt_owner_owns()) {
        return 0;
    }
    (void)pt_in_flight_settle(PT_IN_FLIGHT_ALL);
    pt_lock_enter();
    pt_upkeep_drain();
    uint32_t chosen = choose_registered(0);
    pt_lock_leave();
    size_t bytes = unlock_idle(pt_table_now()) + pt_eviction_now(chosen) + pt_eviction_left(), small = pt_segments_small_locked();
    pt_eviction_give_way_to_all(); /* what the background thread is at */
    pt_arena_small_purge();
    pt_segments_unlock_ahead();
    size_t left = pt_segments_small_locked();
    return bytes + (small > left ? small - left : 0);
}

size_t pt_upkeep_trim(void)
{
    int cancel = pt_thread_forbid_cancel();
    size_t bytes = trim();
    pt_thread_allow_cancel(cancel);
    return bytes;
}

void pt_upkeep_purge_small(void)
{
    if (pt_driver_found()) {
        atomic_store(&state.purge_wanted, true);
        (void)pt_background_wake();
    } else {
        pt_arena_small_purge();
    }
}

/* ---- the background thread ---- */

/* A program with a driver has threads, and what flies has to land. */
static size_t worth_a_thread(void)
{
    return pt_driver_found() ? 1 : state.worth;
}

void pt_upkeep_watch(void)
{
    size_t worth = worth_a_thread();
    if (atomic_load_explicit(&pt_table()->counters.cached_locked, memory_order_relaxed) >= worth ||
        pt_segments_small_locked() >= worth || pt_magazine_any() || pt_in_flight_waiting()) {
        pt_background_watch();
    }
}

void pt_upkeep_work(void)
{
    (void)pt_eviction_left();
    if (atomic_exchange(&state.purge_wanted, false)) {
        pt_arena_small_purge();
    }
}

/* jemalloc spreads its giving back over the idle time; what has not changed for two of those is fragmentation. */
static bool small_is_quiet(size_t unused)
{
    state.small_unchanged = unused == state.small_unused ? state.small_unchanged + 1 : 0;
    state.small_unused = unused;
    return state.small_unchanged > 4;
}

/* A registration does not go for idleness: taking it back could hold the job up. It does where it is idle and beyond the room,
 * and when memory is short, since the job needs it more than that. */
bool pt_upkeep_tick(void)
{
    bool short_of_memory = pt_pressure_high(), kept;
    uint64_t now = pt_table_now(), idle = short_of_memory ? 0 : pt_option(PT_OPTION_IDLE) * 1000000000u;
    uint64_t before = now > idle ? now - idle : 0;
    (void)pt_in_flight_settle(pt_in_flight_strict() ? PT_IN_FLIGHT_WAIT : PT_IN_FLIGHT_ALL);
    pt_lock_enter();
    pt_budget_unkeep(pt_drain_idle(before, &kept));
    pt_lock_leave();
    (void)unlock_idle(before);
    pt_lock_enter();
    uint32_t chosen = short_of_memory ? choose_registered(0) : choose_beyond_room(before);
    size_t unused = pt_budget_small_unused();
    bool quiet = small_is_quiet(unused);
    size_t worth = worth_a_thread();
    bool busy = kept || pt_free_cache_locked() >= worth || pt_in_flight_waiting() ||
                (unused >= worth && state.small_unchanged <= 8);
    pt_lock_leave();
    (void)pt_eviction_now(chosen);
    short_of_memory ? pt_arena_small_purge() : pt_arena_small_decay();
    if (quiet) {
        pt_segments_unlock_ahead();
    }
    return busy;
}
