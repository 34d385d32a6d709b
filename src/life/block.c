#include "life/block.h"

#include "base/log.h"
#include "base/options.h"
#include "device/driver.h"
#include "ledger/counters.h"
#include "life/held.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/arena.h"
#include "memory/owner.h"
#include "memory/pin.h"
#include "pool/background.h"
#include "pool/drain.h"
#include "pool/in_flight.h"
#include "pool/lock.h"
#include "pool/pool.h"
#include "report/misuse.h"
#include "trace/site.h"

#include <errno.h>

static __thread int last_failure; /* errno of this thread's last failed allocation */

/* PINTENSOR_ON_LIMIT=pageable: says once why, and goes on without a lock. */
static uint32_t make_pageable(size_t bytes)
{
    static _Atomic bool said;
    char why[768];
    struct pt_text t;
    pt_text_init(&t, why, sizeof why, -1);
    pt_block_explain(bytes, &t);
    uint32_t number = pt_pool_make_pageable(bytes, &last_failure);
    if (number != 0 && !atomic_exchange(&said, true)) {
        pt_log("warning: going on with memory that is not locked: %s", why);
    }
    return number;
}

/* What may help when no memory can be had, the gentlest first. True: it is worth another try. */
enum { LOOK, WAIT, TRIM, RELIEFS };
static bool relieve(int how)
{
    switch (how) {
    case LOOK: return pt_driver_look(); /* where mlock is refused, a device that came into use since may not be */
    case WAIT: return pt_pool_wait();
    default: return pt_pool_trim() > 0;
    }
}

/* A block begins in the memory of a record. */
static inline __attribute__((always_inline)) void enter_record(struct pt_record *r, const struct pt_request *q,
                                                              uint32_t site, uint64_t serial, uint64_t born)
{
    pt_table_write_begin(r);
    r->state = PT_LIVE;
    r->flags = (uint8_t)((r->flags & (PT_EXACT | PT_PAGEABLE | PT_REGISTERED)) | (q->tensor ? PT_TENSOR : 0));
    r->generation++;
    r->asked = q->bytes;
    r->dtype = (int8_t)q->dtype;
    r->door = (uint8_t)q->door;
    r->manager = q->manager;
    r->site = site;
    r->release_site = 0;
    r->uses = 0;
    r->thread = pt_owner_thread();
    r->born_ns = born;
    r->id = serial;
    pt_table_write_end(r);
}

/* From what this thread keeps for itself. */
static __attribute__((noinline)) bool alloc_kept(const struct pt_request *q, uint32_t site, uint64_t asked,
                                                 struct pt_block *out)
{
    uint64_t serial;
    struct pt_magazine *m = pt_magazine_enter();
    if (m == NULL) {
        return false;
    }
    uint32_t number = q->bytes > PT_ARENA_SLAB_MOST ? pt_magazine_take(m, q->bytes, site, &serial) : 0;
    if (number != 0) {
        struct pt_record *r = pt_table_record(number);
        enter_record(r, q, site, serial, asked);
        pt_magazine_count(m, r, asked);
        *out = (struct pt_block){(void *)r->base, number, r->generation};
    }
    pt_magazine_leave(m);
    return number != 0;
}

int pt_block_alloc(const struct pt_request *q, struct pt_block *out)
{
    if (pt_init() != 0) {
        return -ENODEV;
    }
    uint32_t site = pt_site_here(q->caller, q->bytes);
    uint64_t asked = pt_table_now();
    if (pt_magazine_mine() && alloc_kept(q, site, asked, out)) {
        return 0;
    }
    bool reused = false;
    uint32_t number = 0;
    last_failure = ENOMEM;
    if (q->bytes <= (size_t)1 << 46) {
        number = pt_pool_make(q->bytes, &reused, &last_failure);
        for (int i = 0; i < RELIEFS && number == 0; i++) {
            number = relieve(i) ? pt_pool_make(q->bytes, &reused, &last_failure) : 0;
        }
        if (number == 0 && pt_option(PT_OPTION_ON_LIMIT) == PT_LIMIT_PAGEABLE) {
            number = make_pageable(q->bytes);
        }
    }
    if (number == 0) {
        return -ENOMEM;
    }

    if (pt_magazine_wanted() && pt_option(PT_OPTION_REUSE) == PT_REUSE_STREAMS) {
        pt_magazine_join();
    }
    pt_lock_lock_noting();
    struct pt_record *r = pt_table_record(number);
    atomic_store_explicit(&r->keeper, pt_magazine_mine() ? pt_magazine_keeper(r) : 0, memory_order_relaxed);
    enter_record(r, q, site, ++pt_counters_serial, pt_table_now());
    struct pt_leftover left = {0};
    if (pt_magazine_any()) {
        left = pt_pool_expect(r);
    }
    pt_counters_alloc(r, reused, asked);
    pt_pool_live(r);
    *out = (struct pt_block){(void *)r->base, number, r->generation};
    pt_lock_unlock();
    if (left.victims != 0) {
        pt_pool_clean(&left);
    }
    if (pt_magazine_mine() && pt_magazine_useless()) {
        pt_pool_take_back(pt_drain_own);
    }
    return 0;
}

void pt_block_explain(size_t bytes, struct pt_text *out)
{
    pt_pin_explain(bytes, last_failure, out);
}

/* ---- giving back ---- */

/* Ends a live block. With the guard held; the caller cleans up afterwards. */
static struct pt_leftover end_block(uint32_t number, bool reclaimed)
{
    pt_counters_drop(pt_table_record(number), reclaimed);
    return pt_pool_end(number);
}

static void clean(const struct pt_leftover *left)
{
    pt_pool_clean(left);
    if (!pt_held_begun()) {
        pt_background_watch();
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

void pt_block_drop(const struct pt_block *block)
{
    if (!pt_owner_owns()) {
        return; /* a child's copy of its parent's tensor */
    }
    struct pt_leftover left = {0};
    if (block->number >= atomic_load(&pt_table()->records)) {
        return; /* inherited from a parent with more of them */
    }
    if (pt_magazine_mine() && drop_kept(block)) {
        clean(&left);
        return;
    }
    pt_lock_lock();
    struct pt_record *r = pt_table_record(block->number);
    struct pt_magazine *held = pt_drain_hold(r);
    bool ours = is_alive(r, block);
    bool released = (r->flags & PT_RELEASED) != 0;
    uint64_t reclaim = pt_option(PT_OPTION_RECLAIM);
    if (ours && (reclaim == PT_RECLAIM_EXIT || (reclaim == PT_RECLAIM_FREE && !released))) {
        r->flags |= PT_DROPPED;
    } else if (ours) {
        left = end_block(block->number, !released && !pt_held_begun());
    }
    pt_drain_let_go(held);
    pt_lock_unlock();
    clean(&left);
}

/* What is wrong with freeing this address, or FINE. With the lock held. */
enum { FINE = -1 };
static inline __attribute__((always_inline)) int judge_release(uint32_t manager, const void *address,
                                                               const struct pt_found *f)
{
    if (f->number == 0) {
        return pt_table_ours(address) ? PT_MISUSE_TWICE : PT_MISUSE_FOREIGN;
    }
    bool starts = f->base == (uintptr_t)address;
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
        pt_pool_take_back(pt_drain_half);
    }
    return put == PT_MAGAZINE_PUT;
}

static int release(uint32_t manager, const struct pt_block *block, bool exactly, const void *caller)
{
    void *address = block->base;
    if (address == NULL) {
        return -ENOENT;
    }
    bool owner = pt_owner_owns();
    if (pt_table_forget_inherited(address, owner)) {
        return 0; /* as stock: struck out of the child's copy of the book, while the parent's block stays */
    }
    if (!owner) {
        return -ENOENT;
    }
    uint32_t site = pt_site_freeing(caller);
    struct pt_leftover left = {0};
    struct pt_misuse misuse = {0};
    if (pt_magazine_mine() && release_kept(manager, block, exactly, site)) {
        clean(&left);
        return 0;
    }
    pt_lock_lock();
    struct pt_found f = pt_table_find(address);
    struct pt_magazine *held = pt_drain_hold(pt_table_record(f.number));
    f = held != NULL ? pt_table_find(address) : f; /* it may have come or gone in between, but not elsewhere */
    int wrong = judge_release(manager, address, &f);
    if (exactly && f.number != 0 && (f.number != block->number || f.generation != block->generation)) {
        wrong = PT_MISUSE_STALE;
    }
    struct pt_record *r = pt_table_record(f.number);
    if (wrong != FINE) {
        misuse.kind = (uint32_t)wrong;
        misuse.alloc_site = f.number != 0 ? r->site : 0;
        misuse.release_site = f.number != 0 ? r->release_site : 0;
    } else {
        r->release_site = site;
        pt_counters_release(r);
        if ((r->flags & PT_TENSOR) == 0 ||
            ((r->flags & PT_DROPPED) != 0 && pt_option(PT_OPTION_RECLAIM) == PT_RECLAIM_FREE)) {
            left = end_block(f.number, false);
        } else {
            pt_table_mark_released(f.number);
        }
    }
    pt_drain_let_go(held);
    pt_lock_unlock();
    clean(&left);
    if (wrong != FINE) {
        misuse.site = pt_site_here(caller, PT_SITE_FULL); /* worth a closer look */
        pt_lock_lock();
        bool say = pt_misuse_count(&misuse);
        pt_lock_unlock();
        if (say) {
            pt_misuse_say(&misuse, address);
        }
    }
    return wrong == FINE ? 0 : wrong == PT_MISUSE_STALE ? -ESTALE : -ENOENT;
}

int pt_block_release(uint32_t manager, void *address, const void *caller)
{
    struct pt_block block = {.base = address};
    return release(manager, &block, false, caller);
}

int pt_block_release_block(uint32_t manager, const struct pt_block *block, const void *caller)
{
    return release(manager, block, true, caller);
}

void pt_block_close_manager(uint32_t manager)
{
    if (!pt_owner_owns() || manager == 0) {
        return;
    }
    pt_managers_forget(manager);
    pt_lock_lock();
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        struct pt_leftover left = {0};
        struct pt_magazine *held = pt_drain_hold(r);
        bool ours = r->state == PT_LIVE && r->manager == manager && (r->flags & PT_RELEASED) == 0;
        bool ends = ours && ((r->flags & PT_TENSOR) == 0 || (r->flags & PT_DROPPED) != 0);
        if (ours) {
            pt_counters_release(r);
        }
        if (ends) {
            left = end_block(number, false);
        } else if (ours) {
            pt_table_mark_released(number);
        }
        pt_drain_let_go(held);
        if (ends) {
            pt_lock_unlock();
            clean(&left);
            pt_lock_lock();
        }
    }
    pt_lock_unlock();
}
