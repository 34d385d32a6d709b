#include "pool/eviction.h"

#include "base/wait.h"
#include "ledger/table.h"
#include "memory/pin.h"
#include "memory/segments.h"
#include "pool/background.h"
#include "pool/budget.h"
#include "pool/chunks.h"
#include "pool/free_cache.h"
#include "pool/lock.h"

#include <string.h>

/* Bytes on their way out that are worth waiting for. */
#define MUCH ((size_t)64 << 20)

static struct {
    uint32_t left;        /* to the background thread: chained by `next`; the pool's lock guards it */
    _Atomic size_t bytes; /* of these, until they are unlocked */
} state;

void pt_eviction_reset(void)
{
    memset(&state, 0, sizeof state);
}

uint32_t pt_eviction_choose_mlocked(void)
{
    enum { AT_ONCE = 64 }; /* only what has become a hole is counted as one */
    uint32_t chosen = 0, number;
    size_t over = pt_free_cache_bytes(PT_FREE_MLOCKED) > 0 ? pt_budget_mlocked_over() : 0;
    for (size_t sum = 0, i = 0; sum < over && i < AT_ONCE; i++, sum += pt_table_record(number)->capacity) {
        number = pt_chunks_take_oldest(UINT64_MAX, over - sum);
        if (number == 0) {
            break;
        }
        pt_table_record(number)->next = chosen;
        chosen = number;
    }
    return chosen;
}

static void free_addresses(void *addresses)
{
    if (addresses != NULL) {
        pt_segments_give_exact(addresses);
    }
}

static void unregister_chunk(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    pt_pin_unregister((void *)r->base, r->capacity);
    pt_lock_enter();
    void *addresses = pt_chunks_remove(number);
    pt_lock_leave();
    free_addresses(addresses);
}

void pt_eviction_hole(uint32_t number)
{
    void *addresses = NULL;
    pt_lock_enter();
    number = pt_chunks_give(number, false, 0);
    if (pt_chunks_is_whole(number)) { /* nothing of the chunk is locked any more */
        pt_chunks_take(number, pt_table_record(number)->capacity);
        addresses = pt_chunks_remove(number);
    }
    pt_lock_leave();
    free_addresses(addresses);
}

/* The kernel refuses to unlock where it has no mappings left for that: the part waits again, locked and counted. */
static bool unlock_part(uint32_t number)
{
    const struct pt_record *r = pt_table_record(number);
    if (pt_pin_release((void *)r->base, r->capacity)) {
        pt_eviction_hole(number);
        return true;
    }
    pt_lock_enter();
    (void)pt_chunks_give(number, true, pt_table_now());
    pt_table()->counters.cached_locked = pt_free_cache_locked();
    pt_lock_leave();
    return false;
}

/* The bytes that went. */
static size_t evict(uint32_t number)
{
    size_t bytes = pt_table_record(number)->capacity;
    if ((pt_table_record(number)->flags & PT_REGISTERED) != 0) {
        unregister_chunk(number);
        return bytes;
    }
    return unlock_part(number) ? bytes : 0;
}

size_t pt_eviction_now(uint32_t first)
{
    size_t bytes = 0;
    while (first != 0) {
        uint32_t number = first;
        first = pt_table_record(number)->next;
        bytes += evict(number);
    }
    return bytes;
}

void pt_eviction_later(uint32_t first)
{
    bool any = false;
    while (first != 0) {
        uint32_t number = first;
        struct pt_record *r = pt_table_record(number);
        first = r->next;
        if ((r->flags & PT_REGISTERED) == 0) {
            (void)evict(number);
            continue;
        }
        pt_lock_enter();
        r->next = state.left;
        state.left = number;
        state.bytes += r->capacity;
        pt_lock_leave();
        any = true;
    }
    if (any && !pt_background_wake()) {
        (void)pt_eviction_left(); /* no thread could be had */
    }
}

size_t pt_eviction_left(void)
{
    size_t bytes = 0;
    for (;;) {
        pt_lock_enter();
        uint32_t number = state.left;
        state.left = number != 0 ? pt_table_record(number)->next : 0;
        pt_lock_leave();
        if (number == 0) {
            return bytes;
        }
        size_t gone = evict(number);
        state.bytes -= gone;
        bytes += gone;
    }
}

static void wait_for_less(size_t tolerated, int64_t most_ns)
{
    struct pt_patience patience = pt_patience_for(most_ns);
    while (state.bytes > tolerated && pt_patience_pause(&patience, 50000)) {
    }
}

void pt_eviction_give_way(void)
{
    wait_for_less(0, 300000); /* which is enough where no device has to be waited for */
    wait_for_less(MUCH, 20000000);
}

void pt_eviction_give_way_to_all(void)
{
    wait_for_less(0, 20000000);
}
