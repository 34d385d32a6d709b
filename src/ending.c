#include "ending.h"

#include "account.h"
#include "gather.h"
#include "growth.h"
#include "guard.h"
#include "idle.h"
#include "pages.h"
#include "process.h"
#include "python.h"
#include "room.h"

static _Atomic bool exiting;

void pt_ending_reset(void)
{
    exiting = false;
}

bool pt_ending_begun(void)
{
    return exiting;
}

void pt_ending_count_held(void)
{
    bool locked = true;
    if (exiting) {
        locked = pt_guard_lock_at_the_end();
    } else {
        pt_guard_lock();
    }
    if (locked) {
        (void)pt_gather_stop(exiting);
        pt_room_gather();
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
            pt_account_held(r);
        }
    }
    if (locked) {
        pt_gather_go();
        pt_guard_unlock();
    }
}

void pt_ending_begin(void)
{
    if (!pt_process_owns_strictly() || atomic_exchange(&exiting, true)) {
        return;
    }
    pt_magazine_close();
    pt_idle_stop(); /* a device's driver goes away before our destructor runs */
    pt_table()->exit_ns = pt_table_now();
    pt_ending_count_held();
    pt_growth_judge_all();
    pt_python_gone();
}

void pt_ending_finish(void)
{
    if (!pt_process_owns_strictly()) {
        return;
    }
    if (!pt_guard_lock_at_the_end()) {
        return; /* the kernel unlocks what is left */
    }
    if (!pt_gather_stop(true)) { /* who is still inside may be in the middle of a record */
        pt_gather_go();
        pt_guard_unlock();
        return;
    }
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE) {
            /* Other threads and transfers still run: the memory stays readable until the process is gone. */
            pt_account_drop(r, false);
            if ((r->flags & PT_EXACT) != 0) {
                pt_pages_unlock_keep((void *)r->base, r->locked);
            }
            pt_table_write_begin(r);
            r->state = PT_CACHED;
            pt_table_write_end(r);
        }
    }
    pt_segment_unlock_all();
    pt_gather_go();
    pt_guard_unlock();
}
