#include "pool/stream_use.h"

#include "device/driver.h"
#include "ledger/table.h"
#include "memory/owner.h"
#include "pool/drain.h"
#include "pool/lock.h"
#include "pool/use_store.h"

#define USES_MANY 8 /* of one block */

static _Atomic int captures; /* under way; a capture may be older than the first block */

void pt_stream_use_reset(void)
{
    pt_use_store_reset();
}

/* ---- with the lock held ---- */

void pt_stream_use_end(struct pt_record *r)
{
    while (r->uses != 0) {
        uint32_t number = r->uses;
        r->uses = pt_use(number)->next;
        pt_use_store_give(number);
    }
}

/* The block's use by that stream, made if need be; 0 if there is no room for it. `alone`: one that no other thread is
 * noting something in. `others`: how many were looked at. */
static uint32_t use_of(struct pt_record *r, const struct pt_place *at, void *stream, uint64_t identity, bool alone,
                       unsigned *others)
{
    uint32_t place = pt_use_store_place(at), number = r->uses;
    if (place == PT_PLACES_MOST) {
        return 0;
    }
    while (number != 0 && (pt_use(number)->stream != stream || pt_use(number)->place != place ||
                           pt_use(number)->identity != identity || (alone && pt_use(number)->busy))) {
        ++*others;
        number = pt_use(number)->next;
    }
    if (number == 0 && (number = pt_use_store_take(place)) != 0) {
        struct pt_use *u = pt_use(number);
        u->stream = stream;
        u->identity = identity;
        u->next = r->uses;
        r->uses = number;
    }
    return number;
}

static bool alive(const struct pt_found *f)
{
    const struct pt_record *r = pt_table_record(f->number);
    return r->state == PT_LIVE && r->generation == f->generation;
}

/* ---- a live block: what is asked of the driver, without the lock, is about a use that is busy ---- */

/* Which of many streams by the name of cudaStreamPerThread, or by the same handle one after the other. */
static uint64_t identity_of(void *stream)
{
    static _Atomic uint32_t threads;
    static __thread uint32_t mine;
    uint64_t identity = pt_driver_identity(stream);
    if (identity == 0 && stream == PT_PER_THREAD_STREAM) { /* an old driver */
        mine = mine != 0 ? mine : atomic_fetch_add(&threads, 1) + 1;
        identity = mine;
    }
    return identity;
}

/* The pool's lock, and what else guards the block's record. */
static struct pt_magazine *enter(const struct pt_found *f)
{
    pt_lock_enter();
    return pt_drain_hold(pt_table_record(f->number));
}

/* What nobody can say the end of is not handed out again. */
static void never_again(const struct pt_found *f)
{
    struct pt_magazine *held = enter(f);
    if (alive(f)) {
        struct pt_record *r = pt_table_record(f->number);
        pt_table_write_begin(r);
        PT_PUT(r->flags, r->flags | PT_CAPTURED);
        pt_table_write_end(r);
    }
    pt_drain_leave(held);
}

/* Notes how far the stream is now, in an event that was taken out of the use, so that nobody else notes in it.
 * Meanwhile all that the stream is given counts. The block may be gone in the end: that copy was over so soon that
 * somebody saw its end. */
static bool mark_now(const struct pt_found *f, uint32_t number, const struct pt_place *at, void *stream, void *event)
{
    bool noted = pt_driver_mark(at, stream, &event);
    struct pt_use *u = pt_use(number);
    struct pt_magazine *held = enter(f);
    if (alive(f)) {
        u->busy = false;
        u->event = event;
        u->marked = noted && !u->until_drop;
    } else if (event != NULL) {
        pt_use_store_give_event(at, event);
    }
    pt_drain_leave(held);
    return noted;
}

/* With the lock held: the block's oldest use that can be asked for; 0: there is none. */
static uint32_t oldest_of(const struct pt_record *r)
{
    uint32_t oldest = 0;
    for (uint32_t number = r->uses; number != 0; number = pt_use(number)->next) {
        if (pt_use(number)->marked && !pt_use(number)->busy) {
            oldest = number;
        }
    }
    return oldest;
}

/* With the lock held: the use goes, or else it passes for the newest, so that another one is asked for next. */
static void unlink_or_renew(struct pt_record *r, uint32_t number, bool goes)
{
    uint32_t *at = &r->uses;
    while (*at != number) {
        at = &pt_use(*at)->next;
    }
    *at = pt_use(number)->next;
    if (goes) {
        pt_use_store_give(number);
    } else {
        pt_use(number)->next = r->uses;
        r->uses = number;
    }
}

/* A block that outlives its streams would have uses without end: one that is over goes.
 *
 * The use stays the block's while the driver is asked, and busy. Another thread may drop the block in between: then it
 * waits for this use too, and whose the use is by the time of the answer, or what its event says, is none of this
 * thread's business. As long as the block lives, a busy use's event stays what it was asked for, and the use stays in
 * the block's list; only `marked` may be taken from it, by who wants all to count until the drop. */
static void retire_one(const struct pt_found *f)
{
    struct pt_record *r = pt_table_record(f->number);
    struct pt_magazine *held = enter(f);
    uint32_t number = alive(f) ? oldest_of(r) : 0;
    struct pt_use *u = pt_use(number);
    struct pt_place at = {0};
    void *event = NULL;
    if (number != 0) {
        u->busy = true;
        event = u->event;
        at = *pt_use_store_place_of(u);
    }
    pt_drain_leave(held);
    if (number == 0) {
        return;
    }
    bool passed = pt_driver_passed(&at, event) == PT_PASSED;
    held = enter(f);
    if (alive(f)) {
        u->busy = false;
        unlink_or_renew(r, number, passed && u->marked);
    }
    pt_drain_leave(held);
}

bool pt_stream_use_note(const void *p, void *stream, int device, bool until_drop)
{
    struct pt_found f = {0};
    struct pt_place at;
    if (pt_table_ours(p) && pt_owner_owns()) {
        f = pt_table_find(p);
    }
    if (f.number == 0 || f.state != PT_LIVE) {
        return false;
    }
    if ((f.flags & PT_PAGEABLE) != 0) {
        return true; /* copied by way of memory of the driver's, and never kept for reuse */
    }
    until_drop = until_drop && stream != PT_PER_THREAD_STREAM; /* who drops it has another stream of that name */
    (void)pt_driver_look();
    if (pt_driver_captured(stream)) {
        never_again(&f);
        return true;
    }
    if (!pt_driver_place(stream, device, &at)) {
        if (pt_driver_ready()) { /* else nothing is under way */
            never_again(&f);
        }
        return true;
    }
    uint64_t identity = identity_of(stream);
    unsigned others = 0;
    struct pt_magazine *held = enter(&f);
    uint32_t number = alive(&f) ? use_of(pt_table_record(f.number), &at, stream, identity, !until_drop, &others) : 0;
    void *event = NULL;
    if (number != 0) {
        struct pt_use *u = pt_use(number);
        u->marked = false;
        u->until_drop = u->until_drop || until_drop;
        if (!until_drop) {
            u->busy = true;
            event = u->event;
            u->event = NULL;
        }
    }
    pt_drain_leave(held);
    if (number == 0 ||
        (!until_drop && !mark_now(&f, number, &at, stream, event) && pt_driver_passed(&at, NULL) == PT_PENDING)) {
        never_again(&f);
    }
    if (others >= USES_MANY) {
        retire_one(&f);
    }
    return true;
}

/* ---- a dropped block ---- */

void pt_stream_use_mark(const struct pt_record *r)
{
    for (uint32_t number = r->uses; number != 0; number = pt_use(number)->next) {
        struct pt_use *u = pt_use(number);
        /* Whatever happens on the legacy stream ends the capture of any stream that waits for it (seen). */
        bool may_ask = (uintptr_t)u->stream > (uintptr_t)PT_LEGACY_STREAM || !pt_stream_use_captures();
        if (!u->marked && may_ask && !pt_driver_captured(u->stream)) {
            u->marked = pt_driver_mark(pt_use_store_place_of(u), u->stream, &u->event);
        }
    }
}

bool pt_stream_use_is_over(const struct pt_record *r)
{
    bool all = true;
    pt_stream_use_mark(r);
    for (uint32_t number = r->uses; number != 0 && all; number = pt_use(number)->next) {
        const struct pt_use *u = pt_use(number);
        all = pt_driver_passed(pt_use_store_place_of(u), u->marked ? u->event : NULL) == PT_PASSED;
    }
    return all;
}

/* ---- captures ---- */

void pt_stream_use_capture(int change)
{
    atomic_fetch_add(&captures, change);
}

bool pt_stream_use_captures(void)
{
    return atomic_load(&captures) > 0;
}
