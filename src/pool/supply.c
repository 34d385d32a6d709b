#include "pool/supply.h"

#include "base/thread.h"
#include "device/driver.h"
#include "ledger/foreign.h"
#include "ledger/table.h"
#include "memory/limit.h"
#include "memory/pages.h"
#include "memory/pin.h"
#include "memory/pressure.h"
#include "memory/segments.h"
#include "pool/budget.h"
#include "pool/chunks.h"
#include "pool/eviction.h"
#include "pool/free_cache.h"
#include "pool/lock.h"
#include "pool/span.h"
#include "pool/upkeep.h"

#include <errno.h>
#include <stdatomic.h>

static _Atomic bool registers;

void pt_supply_reset(void)
{
    registers = false;
}

bool pt_supply_registers(void)
{
    return atomic_load_explicit(&registers, memory_order_relaxed);
}

void pt_supply_look(void)
{
    registers = pt_driver_registers();
}

/* ---- registered ---- */

/* With the lock held: busy parts, chained by `next`, that have to go. mlocked ones first: nobody waits for those. */
static uint32_t choose_evicted(size_t bytes)
{
    enum { AT_ONCE = 64 }; /* only what has become a hole is counted as one */
    uint32_t chosen = 0, number;
    for (size_t sum = 0, i = 0; sum < bytes && i < AT_ONCE; i++, sum += pt_table_record(number)->capacity) {
        number = pt_chunks_take_oldest(UINT64_MAX, SIZE_MAX);
        if (number == 0 && (number = pt_chunks_take_unused(bytes - sum)) != 0) {
            pt_budget_evicted(pt_table_record(number)->capacity);
        }
        if (number == 0) {
            break;
        }
        pt_table_record(number)->next = chosen;
        chosen = number;
    }
    return chosen;
}

/* A registered chunk over fresh addresses, as one busy part; 0: refused; *limited: by PINTENSOR_LIMIT. */
static uint32_t register_chunk(size_t len, bool small, bool *limited)
{
    *limited = false;
    void *base = pt_segments_take_exact(len);
    if (base == NULL) {
        return 0;
    }
    uint32_t number = 0;
    int error = pt_segments_open(base, len);
    int refused = error == 0 ? pt_pin_register(base, len) : error;
    *limited = refused == -EDQUOT;
    if (refused == 0) {
        pt_lock_enter();
        number = pt_chunks_add(base, len, small ? PT_CHUNK_SMALL : PT_CHUNK_REGISTERED);
        pt_lock_leave();
        if (number == 0) {
            pt_pin_unregister(base, len);
        }
    }
    if (number == 0 && error != -EEXIST) { /* what is another's by now is not taken again */
        pt_segments_give_exact(base);
    }
    return number;
}

static uint32_t make_registered(size_t need, bool apart, bool *limited)
{
    pt_lock_enter();
    pt_upkeep_drain(); /* what threads keep must not pass for used */
    struct pt_plan plan = pt_budget_plan(need, apart);
    uint32_t evicted = choose_evicted(plan.evict);
    size_t len = pt_budget_fit(need, plan.len);
    pt_lock_leave();
    len = pt_pressure_room(len) ? len : need;

    /* The new one first: else the driver would have it wait for the others to go, and those for the device, and the
     * device may be waiting for what this very thread is about to send. */
    uint32_t number = register_chunk(len, plan.small, limited);
    if (number == 0) { /* there may be no memory for both */
        (void)pt_eviction_now(evicted);
        evicted = 0;
        number = register_chunk(need, false, limited);
    }
    pt_eviction_later(evicted);
    pt_eviction_give_way();
    if (number != 0) {
        pt_lock_enter();
        pt_chunks_cut(number, need, true);
        pt_lock_leave();
    }
    return number;
}

/* ---- mlocked ---- */

/* A busy part that is not locked, from a hole or from fresh addresses. */
static uint32_t take_addresses(size_t need)
{
    pt_lock_enter();
    uint32_t number = pt_free_cache_best(need, PT_FREE_HOLE);
    if (number != 0) {
        pt_chunks_take(number, need);
    }
    pt_lock_leave();
    if (number != 0) {
        return number;
    }
    size_t most = pt_segments_stride(), least = pt_pages_up(need, PT_HUGE);
    size_t len = least > most ? least : most;
    void *base = pt_segments_take_exact(len);
    if (base == NULL && len > least) {
        base = pt_segments_take_exact(len = least);
    }
    if (base == NULL) {
        return 0;
    }
    pt_lock_enter();
    number = pt_chunks_add(base, len, PT_CHUNK_MLOCKED);
    if (number != 0) {
        pt_chunks_cut(number, need, false);
    }
    pt_lock_leave();
    if (number == 0) {
        pt_segments_give_exact(base);
    }
    return number;
}

/* Somebody else's memory lies in the part, which stays busy for ever then, as does the hole behind it: there may be
 * more. */
static void abandon(uint32_t number)
{
    pt_lock_enter();
    uint32_t behind = pt_table_record(number)->after;
    if (behind != 0 && pt_table_record(behind)->state == PT_HOLE) {
        pt_chunks_take(behind, pt_table_record(behind)->capacity);
    }
    pt_lock_leave();
}

/* The same, usable. */
static uint32_t take_memory(size_t need, int *error)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        uint32_t number = take_addresses(need);
        struct pt_record *r = pt_table_record(number);
        int closed = number != 0 ? pt_segments_open((void *)r->base, r->capacity) : -ENOBUFS;
        if (closed == 0) {
            return number;
        }
        *error = -closed;
        if (closed == -EEXIST) {
            abandon(number);
        } else {
            if (number != 0) {
                pt_eviction_hole(number);
            }
            break;
        }
    }
    return 0;
}

static uint32_t make_mlocked(size_t need, bool apart, int *error)
{
    struct pt_span span;
    pt_lock_enter();
    pt_upkeep_drain(); /* what threads keep must not pass for used */
    bool found = !apart && pt_span_take(need, &span);
    uint32_t unlocked = pt_eviction_choose_mlocked();
    pt_lock_leave();
    (void)pt_eviction_now(unlocked);
    uint32_t number = found ? pt_span_lock(&span) : 0;
    if (number != 0) {
        return number;
    }
    number = take_memory(need, error);
    if (number == 0) {
        return 0;
    }
    struct pt_record *r = pt_table_record(number);
    if (pt_pin_acquire((void *)r->base, r->capacity) != 0) {
        *error = pt_pin_error();
        pt_eviction_hole(number);
        return 0;
    }
    return number;
}

/* ---- either ---- */

static __thread uint64_t spent_ns; /* in pt_supply_make, until somebody asks */

uint64_t pt_supply_spent(void)
{
    uint64_t ns = spent_ns;
    spent_ns = 0;
    return ns;
}

/* Whether PINTENSOR_LIMIT lets it be, were all gone that waits. */
static bool may_have(size_t need)
{
    if (pt_limit_room(need)) {
        return true;
    }
    size_t waits = pt_upkeep_cached();
    return pt_limit_room(need > waits ? need - waits : 0);
}

static uint32_t make(size_t need, bool apart, bool for_device, int *error)
{
    if (!pt_pressure_await_room(need)) {
        *error = ENOSPC;
        return 0;
    }
    if (!may_have(need)) {
        *error = EDQUOT;
        return 0;
    }
    (void)pt_driver_look(); /* what is made from here on may be registered */
    pt_supply_look();
    pt_lock_enter();
    pt_budget_expect(need);
    pt_lock_leave();
    bool tries = registers, limited = false;
    uint32_t number = tries ? make_registered(need, apart, &limited) : 0;
    if (limited) {
        *error = EDQUOT;
    } else if (number == 0 && !(for_device && (tries || pt_driver_refuses()))) {
        number = make_mlocked(need, apart, error);
    }
    if (number == 0) {
        pt_lock_enter();
        pt_budget_expect_less(need);
        pt_lock_leave();
    }
    return number;
}

uint32_t pt_supply_make(size_t need, bool apart, bool for_device, int *error)
{
    int64_t begin = pt_thread_now();
    uint32_t number = make(need, apart, for_device, error);
    spent_ns += (uint64_t)(pt_thread_now() - begin);
    if (pt_foreign_counts()) {
        pt_foreign_look(pt_pin_bytes());
    }
    return number;
}

uint32_t pt_supply_make_pageable(size_t need, int *error)
{
    uint32_t number = take_memory(need, error);
    if (number == 0) {
        return 0;
    }
    struct pt_record *r = pt_table_record(number);
    pt_table_write_begin(r);
    PT_PUT(r->flags, r->flags | PT_PAGEABLE);
    PT_PUT(r->locked, 0);
    pt_table_write_end(r);
    return number;
}
