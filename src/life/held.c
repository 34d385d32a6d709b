#include "life/held.h"

#include "ledger/counters.h"
#include "ledger/growth.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "pool/background.h"
#include "pool/drain.h"
#include "pool/lock.h"
#include "pool/upkeep.h"
#include "trace/python.h"

static _Atomic bool exiting;

void pt_held_reset(void)
{
    exiting = false;
}

bool pt_held_begun(void)
{
    return exiting;
}

/* Counts the live blocks into their sites' held ones. Once exit has begun it waits a tenth of a second for the lock at
 * most, and then reads without it: usable in abort(). */
static void count_held(void)
{
    bool locked = true;
    if (exiting) {
        locked = pt_lock_enter_at_the_end();
    } else {
        pt_lock_enter();
    }
    if (locked) {
        (void)pt_drain_stop(exiting);
        pt_upkeep_drain_stopped();
    }
    struct pt_table *t = pt_table();
    uint32_t sites = atomic_load(&t->sites), records = atomic_load(&t->records);
    for (uint32_t number = 0; number < sites; number++) {
        struct pt_site *s = pt_table_site(number);
        s->held = s->held_bytes = s->held_locked = 0;
    }
    for (uint32_t number = 1; number < records; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE && (r->flags & PT_RELEASED) == 0) {
            pt_counters_held(r);
        }
    }
    if (locked) {
        pt_drain_go();
        pt_lock_leave();
    }
}

void pt_held_now(void)
{
    if (pt_table()->exit_ns == 0) {
        pt_table()->now_ns = pt_table_now();
        count_held();
        pt_growth_judge_all();
    }
}

void pt_held_begin(void)
{
    if (!pt_owner_owns_strictly() || atomic_exchange(&exiting, true)) {
        return;
    }
    pt_magazine_close();
    pt_background_stop(); /* a device's driver goes away before our destructor runs */
    pt_table()->exit_ns = pt_table()->now_ns = pt_table_now();
    count_held();
    pt_growth_judge_all();
    pt_python_gone();
}

void pt_held_finish(void)
{
    if (!pt_owner_owns_strictly()) {
        return;
    }
    if (!pt_lock_enter_at_the_end()) {
        return; /* the kernel unlocks what is left */
    }
    if (!pt_drain_stop(true)) { /* who is still inside may be in the middle of a record */
        pt_drain_go();
        pt_lock_leave();
        return;
    }
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE) {
            /* Other threads and transfers still run: the memory stays readable until the process is gone. */
            pt_counters_drop(r, false);
            if ((r->flags & PT_EXACT) != 0) {
                pt_pages_unlock_keep((void *)r->base, r->locked);
            }
            pt_table_write_begin(r);
            r->state = PT_BUSY; /* nobody's to take or to join with: other threads go on */
            pt_table_write_end(r);
        }
    }
    pt_segments_unlock_all();
    pt_drain_go();
    pt_lock_leave();
}
