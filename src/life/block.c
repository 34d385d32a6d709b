#include "life/block.h"

#include "base/log.h"
#include "base/options.h"
#include "base/thread.h"
#include "ledger/counters.h"
#include "ledger/holders.h"
#include "life/held.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/limit.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "pool/drain.h"
#include "pool/lock.h"
#include "pool/upkeep.h"
#include "report/misuse.h"
#include "trace/site.h"

#include <errno.h>

static __thread int last_failure; /* errno of this thread's last failed allocation */

/* PINTENSOR_ON_LIMIT=pageable: says once why, and goes on without a lock. */
static __attribute__((noinline)) int take_pageable(const struct pt_birth *birth, struct pt_block *out)
{
    static _Atomic bool said;
    char line[1024];
    struct pt_text t;
    pt_log_begin(&t, line, sizeof line);
    if (!said) {
        pt_text_add(&t, "warning: going on with memory that is not locked: ");
        pt_block_explain(birth->bytes, &t);
    }
    int error = pt_pool_take_pageable(birth, out);
    if (error == 0 && !atomic_exchange(&said, true)) {
        pt_log_end(&t);
    }
    return error;
}

/* PINTENSOR_LIMIT=soft:…: who has most, once. */
static __attribute__((noinline)) void warn(void)
{
    char line[1024];
    struct pt_text t;
    pt_log_begin(&t, line, sizeof line);
    pt_text_add(&t, "warning: more memory is locked than is wanted: ");
    if (pt_limit_warn(&t)) {
        pt_text_add(&t, ". ");
        pt_holders_add(&t);
        pt_log_end(&t);
    }
}

static int take(const struct pt_birth *birth, struct pt_block *out)
{
    int error = pt_pool_take(birth, out);
    if (pt_limit_is_passed()) {
        warn();
    }
    last_failure = -error;
    if (error != 0 && pt_option(PT_OPTION_ON_LIMIT) == PT_LIMIT_PAGEABLE) {
        error = take_pageable(birth, out);
    }
    return error;
}

static int alloc(const struct pt_request *q, struct pt_block *out)
{
    if (pt_init() != 0) {
        return -ENODEV;
    }
    struct pt_birth birth = {.bytes = q->bytes,
                             .manager = q->manager,
                             .site = pt_site_here(q->caller, q->bytes),
                             .dtype = q->dtype,
                             .door = q->door,
                             .tensor = q->tensor,
                             .asked_ns = pt_table_now()};
    return take(&birth, out) == 0 ? 0 : -ENOMEM;
}

int pt_block_alloc(const struct pt_request *q, struct pt_block *out)
{
    int cancel = pt_thread_forbid_cancel();
    int error = alloc(q, out);
    pt_thread_allow_cancel(cancel);
    return error;
}

bool pt_block_limited(void)
{
    return last_failure == EDQUOT;
}

void pt_block_explain(size_t bytes, struct pt_text *out)
{
    pt_pin_explain(bytes, last_failure, out);
    if (pt_block_limited()) {
        pt_text_add(out, ". ");
        pt_holders_add(out);
    }
}

/* ---- giving back ---- */

/* Something was given back. With no lock held. */
static void watch(void)
{
    if (!pt_held_begun()) {
        pt_upkeep_watch();
    }
}

/* Whether the block is alive for whoever holds it: its base tells an inherited tensor's block from one of this process
 * with the same number. */
static bool is_alive(const struct pt_record *r, const struct pt_block *block)
{
    return r->state == PT_LIVE && r->generation == block->generation && r->base == (uintptr_t)block->base;
}

/* The thread keeps a block that it made itself, and freed. */
static __attribute__((noinline)) bool drop_kept(const struct pt_block *block)
{
    struct pt_magazine *m = pt_option(PT_OPTION_RECLAIM) == PT_RECLAIM_DROP ? pt_magazine_enter() : NULL;
    if (m == NULL) {
        return false;
    }
    struct pt_record *r = pt_table_record(block->number);
    bool kept = pt_magazine_keeps(m, r) && is_alive(r, block) && (r->flags & PT_RELEASED) != 0 &&
                pt_magazine_put(m, block->number) == PT_MAGAZINE_PUT;
    pt_magazine_leave(m);
    return kept;
}

static void drop(const struct pt_block *block)
{
    if (!pt_owner_owns()) {
        return; /* a child's copy of its parent's tensor */
    }
    if (block->number >= atomic_load(&pt_table()->records)) {
        return; /* inherited from a parent with more of them */
    }
    if (pt_magazine_mine() && drop_kept(block)) {
        watch();
        return;
    }
    pt_lock_enter_noting();
    struct pt_record *r = pt_table_record(block->number);
    struct pt_magazine *owner = pt_drain_hold(r);
    bool ours = is_alive(r, block);
    bool released = (r->flags & PT_RELEASED) != 0;
    uint64_t reclaim = pt_option(PT_OPTION_RECLAIM);
    bool stays = reclaim == PT_RECLAIM_EXIT || (reclaim == PT_RECLAIM_FREE && !released);
    if (ours && !stays) {
        if (!released) {
            pt_held_ended_well(r);
        }
        pt_pool_give(block->number, !released && !pt_held_begun(), owner);
    } else {
        PT_PUT(r->flags, r->flags | (ours ? PT_DROPPED : 0));
        pt_drain_leave(owner);
    }
    watch();
}

void pt_block_drop(const struct pt_block *block)
{
    int cancel = pt_thread_forbid_cancel();
    drop(block);
    pt_thread_allow_cancel(cancel);
}

/* As drop_kept(), of a block that nobody has to free besides. */
static __attribute__((noinline)) bool end_kept(const struct pt_block *block)
{
    struct pt_magazine *m = pt_magazine_enter();
    if (m == NULL) {
        return false;
    }
    struct pt_record *r = pt_table_record(block->number);
    bool kept = pt_magazine_keeps(m, r) && is_alive(r, block) && pt_magazine_put(m, block->number) == PT_MAGAZINE_PUT;
    if (kept) {
        pt_magazine_release(m, r);
    }
    pt_magazine_leave(m);
    return kept;
}

static bool end(const struct pt_block *block)
{
    if (!pt_owner_owns() || block->number >= atomic_load(&pt_table()->records)) {
        return false; /* a child's copy of what is its parent's */
    }
    if (pt_magazine_mine() && end_kept(block)) {
        watch();
        return true;
    }
    pt_lock_enter_noting();
    struct pt_record *r = pt_table_record(block->number);
    struct pt_magazine *owner = pt_drain_hold(r);
    bool alive = is_alive(r, block);
    if (alive) {
        pt_held_ended_well(r);
        pt_counters_release(r);
        pt_pool_give(block->number, false, owner);
    } else {
        pt_drain_leave(owner);
    }
    watch();
    return alive;
}

bool pt_block_end(const struct pt_block *block)
{
    int cancel = pt_thread_forbid_cancel();
    bool ended = end(block);
    pt_thread_allow_cancel(cancel);
    return ended;
}

/* What is wrong with freeing this address, or FINE; OVER: nothing, but the process ends and has given it back already. With the
 * lock held. */
enum { FINE = -1, OVER = -2 };
static inline int judge_release(uint32_t manager, const void *address, const struct pt_found *f)
{
    if ((f->number == 0 || f->state != PT_LIVE) &&
        !pt_table_ours(address)) { /* also where others have mapped memory in the middle of ours */
        return PT_MISUSE_FOREIGN;
    }
    if (f->number == 0) {
        return PT_MISUSE_TWICE;
    }
    bool starts = f->base == (uintptr_t)address;
    if (f->state == PT_BUSY && starts && (f->flags & PT_RELEASED) == 0 && f->manager == manager && pt_held_finished()) {
        return OVER;
    }
    if (f->state != PT_LIVE || (starts && (f->flags & PT_RELEASED) != 0)) {
        return PT_MISUSE_TWICE;
    }
    if (!starts) {
        return PT_MISUSE_INTERIOR;
    }
    return f->manager == manager ? FINE : PT_MISUSE_MANAGER;
}

/* Whether the address is the start of a block that this thread made itself and may free: then that is done. */
static __attribute__((noinline)) bool release_kept(uint32_t manager, const struct pt_block *block, bool exactly,
                                                   uint32_t site)
{
    enum pt_magazine_put put = PT_MAGAZINE_UNFIT;
    for (unsigned tries = 0; tries < 2; tries++) {
        struct pt_magazine *m = pt_magazine_enter();
        if (m == NULL) {
            return false;
        }
        struct pt_found f = pt_table_find(block->base);
        struct pt_record *r = pt_table_record(f.number);
        bool fine = f.number != 0 && pt_magazine_keeps(m, r) && judge_release(manager, block->base, &f) == FINE &&
                    (!exactly || (f.number == block->number && f.generation == block->generation));
        if (fine && (r->flags & PT_TENSOR) == 0) {
            put = pt_magazine_put(m, f.number);
        } else if (fine && (r->flags & PT_DROPPED) == 0) {
            pt_table_mark_released(f.number);
            put = PT_MAGAZINE_PUT;
        }
        if (put == PT_MAGAZINE_PUT) {
            r->release_site = site;
            pt_magazine_release(m, r);
        }
        pt_magazine_leave(m);
        if (put != PT_MAGAZINE_FULL) {
            break;
        }
        pt_upkeep_take_back(pt_drain_half);
    }
    return put == PT_MAGAZINE_PUT;
}

/* Told once a place, and looked at more closely than a free() that is right. */
static void complain(struct pt_misuse *misuse, const void *address, const void *caller)
{
    misuse->site = pt_site_here(caller, PT_SITE_FULL);
    pt_lock_enter();
    bool say = pt_misuse_count(misuse);
    pt_lock_leave();
    if (say) {
        pt_misuse_say(misuse, address);
    }
}

/* free() of a live block that may be freed, whose record is `number`. With the lock and the owner's; without them after. */
static void release_it(uint32_t number, uint32_t site, struct pt_magazine *owner)
{
    struct pt_record *r = pt_table_record(number);
    r->release_site = site;
    pt_held_ended_well(r);
    pt_counters_release(r);
    bool ends = (r->flags & PT_TENSOR) == 0 ||
                ((r->flags & PT_DROPPED) != 0 && pt_option(PT_OPTION_RECLAIM) == PT_RECLAIM_FREE);
    if (ends) {
        pt_pool_give(number, false, owner);
    } else {
        pt_table_mark_released(number);
        pt_drain_leave(owner);
    }
}

static int release(uint32_t manager, const struct pt_block *block, bool exactly, const void *caller)
{
    void *address = block->base;
    if (address == NULL) {
        return -ENOENT;
    }
    bool ours = pt_owner_owns();
    if (pt_table_forget_inherited(address, ours)) {
        return 0; /* as stock: struck out of the child's copy of the book, while the parent's block stays */
    }
    if (!ours) {
        return -ENOENT;
    }
    uint32_t site = pt_site_freeing(caller);
    if (pt_magazine_mine() && release_kept(manager, block, exactly, site)) {
        watch();
        return 0;
    }
    pt_lock_enter_noting();
    struct pt_found f = pt_table_find(address);
    struct pt_record *r = pt_table_record(f.number);
    struct pt_magazine *owner = pt_drain_hold(r);
    f = owner != NULL ? pt_table_find(address) : f; /* it may have come or gone in between, but not elsewhere */
    int wrong = judge_release(manager, address, &f);
    if (exactly && f.number != 0 && (f.number != block->number || f.generation != block->generation)) {
        wrong = PT_MISUSE_STALE;
    }
    if (wrong == FINE) {
        release_it(f.number, site, owner);
        watch();
        return 0;
    }
    if (wrong == OVER) {
        pt_table_mark_released(f.number);
        pt_drain_leave(owner);
        return 0;
    }
    struct pt_misuse misuse = {.kind = (uint32_t)wrong,
                               .alloc_site = f.number != 0 ? r->site : 0,
                               .release_site = f.number != 0 ? r->release_site : 0};
    pt_drain_leave(owner);
    complain(&misuse, address, caller);
    return wrong == PT_MISUSE_STALE ? -ESTALE : -ENOENT;
}

static int release_uncancelled(uint32_t manager, const struct pt_block *block, bool exactly, const void *caller)
{
    int cancel = pt_thread_forbid_cancel();
    int error = release(manager, block, exactly, caller);
    pt_thread_allow_cancel(cancel);
    return error;
}

int pt_block_release(uint32_t manager, void *address, const void *caller)
{
    struct pt_block block = {.base = address};
    return release_uncancelled(manager, &block, false, caller);
}

int pt_block_release_block(uint32_t manager, const struct pt_block *block, const void *caller)
{
    return release_uncancelled(manager, block, true, caller);
}

static void close_manager(uint32_t manager)
{
    if (!pt_owner_owns() || manager == 0) {
        return;
    }
    pt_managers_forget(manager);
    pt_lock_enter();
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        struct pt_magazine *owner = pt_drain_hold(r);
        bool ours = r->state == PT_LIVE && r->manager == manager && (r->flags & PT_RELEASED) == 0;
        bool ends = ours && ((r->flags & PT_TENSOR) == 0 || (r->flags & PT_DROPPED) != 0);
        if (ours) {
            pt_held_ended_well(r);
            pt_counters_release(r);
        }
        if (ends) {
            pt_pool_give(number, false, owner);
            pt_lock_enter();
            continue;
        }
        if (ours) {
            pt_table_mark_released(number);
        }
        pt_drain_let_go(owner);
    }
    pt_lock_leave();
    watch();
}

void pt_block_close_manager(uint32_t manager)
{
    int cancel = pt_thread_forbid_cancel();
    close_manager(manager);
    pt_thread_allow_cancel(cancel);
}
