#include "life/held.h"

#include "base/options.h"
#include "base/wait.h"
#include "ledger/counters.h"
#include "ledger/growth.h"
#include "ledger/history.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "pool/background.h"
#include "pool/drain.h"
#include "pool/lock.h"
#include "pool/upkeep.h"
#include "trace/python.h"

#include <stdint.h>
#include <string.h>

#define QUICK_MOST    ((size_t)64 << 20) /* bytes that are unlocked at the end: a millisecond or two */
#define COUNTING_MOST 120                /* ms that another thread's count is waited for, which itself waits for a lock */

/* Python tells that it exits before it takes modules apart, which frees what sits in globals; whether the process ends
 * with it shows later. What was held then counts, if it does. */
enum { RUNNING, PYTHON_ENDS, PYTHON_ENDED, ENDS };
static _Atomic int stage;
static _Atomic bool counted, finished;

void pt_held_reset(void)
{
    stage = RUNNING;
    counted = finished = false;
}

bool pt_held_begun(void)
{
    return atomic_load_explicit(&stage, memory_order_relaxed) != RUNNING;
}

/* Waits a tenth of a second for the lock at most, and then reads without it: usable in abort(). */
static void count_held(void)
{
    bool locked = pt_lock_enter_at_the_end();
    if (locked) {
        (void)pt_drain_stop(PT_DRAIN_AT_THE_END);
        pt_upkeep_drain_stopped();
        pt_history_note(pt_table()->exit_ns);
    }
    pt_counters_count_held(pt_table_site(0), atomic_load(&pt_table()->sites));
    if (locked) {
        pt_drain_go();
        pt_lock_leave();
    }
}

/* The copy lies behind the text's buffer. */
static void copy(struct pt_held_look *look)
{
    struct pt_table *t = pt_table();
    struct pt_held_copy *c = look->copy;
    struct pt_report *r = &look->report;
    pt_counters_copy(&t->counters, &c->counters);
    for (uint32_t i = 0; i < r->misuses; i++) {
        const struct pt_misuse *m = &t->misuse[i];
        c->misuse[i] = (struct pt_misuse){m->kind, PT_GET(m->count), m->site, m->alloc_site, m->release_site};
    }
    for (uint32_t row = 0; row < r->sites; row++) {
        pt_table_copy_site(pt_table_site(row), &c->site[row]);
    }
    r->counters = &c->counters;
    r->misuse = c->misuse;
    r->held_by = c->held_by;
    memcpy(c->held_by, t->held_by, sizeof c->held_by);
    r->site = c->site;
    r->now_ns = pt_table_now();
    if (!atomic_load(&counted)) {
        pt_counters_count_held(c->site, r->sites);
        pt_growth_judge_all(c->site, r->sites, r->now_ns);
    }
}

void pt_held_look(struct pt_held_look *look)
{
    pt_report_of_table(&look->report);
    look->bytes = sizeof *look->copy + look->report.sites * sizeof(struct pt_site);
    look->copy = pt_pages_scratch(look->bytes);
    look->report.ended = atomic_load(&counted);
    if (look->copy == NULL) { /* as good as can be: what was counted last */
        look->text = look->few;
        look->text_size = sizeof look->few;
        return;
    }
    look->text = look->copy->text;
    look->text_size = sizeof look->copy->text;
    bool locked = pt_lock_try();
    if (locked) {
        (void)pt_drain_stop(PT_DRAIN_TRY);
        pt_drain_fold();
    }
    copy(look);
    if (locked) {
        pt_drain_go();
        pt_lock_leave();
    }
}

void pt_held_look_end(struct pt_held_look *look)
{
    if (look->copy != NULL) {
        pt_pages_scratch_end(look->copy, look->bytes);
    }
}

static void judge(void)
{
    pt_growth_judge_all(pt_table_site(0), atomic_load(&pt_table()->sites), pt_table_now());
    atomic_store(&counted, true);
}

static void snapshot(void)
{
    pt_magazine_close();
    pt_background_stop(); /* a device's driver goes away before our destructor runs */
    pt_table()->exit_ns = pt_table()->now_ns = pt_table_now();
    count_held();
    judge();
    pt_python_gone();
}

/* Another thread is at it; or this one was, and a signal came: then nobody finishes it but this. */
static void await_count(void)
{
    for (unsigned ms = 0; ms < COUNTING_MOST && !atomic_load(&counted); ms++) {
        pt_wait_pause(1000000);
    }
    if (!atomic_load(&counted)) {
        pt_counters_count_held(pt_table_site(0), atomic_load(&pt_table()->sites));
        judge();
    }
}

void pt_held_begin(void)
{
    if (!pt_owner_owns_strictly()) {
        return;
    }
    if (atomic_exchange(&stage, ENDS) == RUNNING) {
        snapshot();
    } else {
        await_count();
    }
}

void pt_held_python_ends(void)
{
    int running = RUNNING;
    if (pt_owner_owns_strictly() && atomic_compare_exchange_strong(&stage, &running, PYTHON_ENDS)) {
        snapshot();
    }
}

void pt_held_python_ended(void)
{
    int ends = PYTHON_ENDS;
    (void)atomic_compare_exchange_strong(&stage, &ends, PYTHON_ENDED);
}

void pt_held_goes_on(void)
{
    int ended = PYTHON_ENDED;
    if (atomic_load_explicit(&stage, memory_order_relaxed) == PYTHON_ENDED && pt_owner_owns_strictly() &&
        atomic_compare_exchange_strong(&stage, &ended, RUNNING)) {
        pt_table()->exit_ns = 0;
        atomic_store(&counted, false);
        atomic_store(&pt_table()->held_bys, 0);
        pt_background_resume();
        pt_magazine_open();
    }
}

void pt_held_ended_well(const struct pt_record *r)
{
    struct pt_site *s = pt_table_site(r->site);
    if (atomic_load_explicit(&stage, memory_order_relaxed) == PYTHON_ENDED && r->born_ns <= pt_table()->exit_ns &&
        s->held > 0) {
        PT_PUT(s->held, s->held - 1);
        PT_PUT(s->held_bytes, s->held_bytes - r->asked);
        PT_PUT(s->held_locked, s->held_locked - r->locked);
    }
}

bool pt_held_finished(void)
{
    return finished;
}

/* The kernel unlocks all that is left in any case, the moment after. To do it here takes time in which other threads
 * still run: as much as nobody notices is done, unless all is asked for. */
static size_t unlock(size_t most, const struct pt_record *r)
{
    if ((r->flags & (PT_EXACT | PT_REGISTERED)) != PT_EXACT || r->locked > most) {
        return 0;
    }
    pt_pages_unlock_keep((void *)r->base, r->locked);
    return r->locked;
}

void pt_held_finish(void)
{
    if (!pt_owner_owns_strictly()) {
        return;
    }
    if (!pt_lock_enter_at_the_end()) {
        return; /* the kernel unlocks what is left */
    }
    if (!pt_drain_stop(PT_DRAIN_AT_THE_END)) { /* who is still inside may be in the middle of a record */
        pt_drain_go();
        pt_lock_leave();
        return;
    }
    size_t left = pt_option(PT_OPTION_AT_EXIT) == PT_EXIT_UNLOCK ? SIZE_MAX : QUICK_MOST;
    uint32_t count = atomic_load(&pt_table()->records);
    for (uint32_t number = 1; number < count; number++) {
        struct pt_record *r = pt_table_record(number);
        if (r->state == PT_LIVE) {
            /* Other threads and transfers still run: the memory stays readable until the process is gone. */
            pt_counters_drop(r, false);
            left -= unlock(left, r);
            pt_table_write_begin(r);
            PT_PUT(r->state, PT_BUSY); /* nobody's to take or to join with: other threads go on */
            pt_table_write_end(r);
        }
    }
    finished = true;
    if (pt_segments_small_locked() <= left) {
        pt_segments_unlock_all();
    }
    pt_drain_go();
    pt_lock_leave();
}
