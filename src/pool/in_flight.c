#include "pool/in_flight.h"

#include "base/options.h"
#include "device/driver.h"
#include "ledger/table.h"
#include "memory/owner.h"
#include "memory/pages.h"
#include "pool/drain.h"
#include "pool/lock.h"

#include <string.h>

#define PLACES_MOST 64
#define USES_MOST   ((uint32_t)1 << 20)
#define USES_MANY   8 /* of one block */

/* Blocks to look at in one go; and how many of them may turn out to be waiting still, since each look costs. */
#define LOOK_MOST 16
#define VAIN_MOST 2

/* One stream's use of one block. `next` links the uses of a block, or the spare ones of a place, which keep their
 * events. */
struct use {
    void *stream, *event;
    uint32_t next;
    uint64_t identity; /* of the stream: its handle may be another one's once it is destroyed, though it still works */
    uint16_t place;
    bool busy;       /* a thread is noting in it how far the stream is */
    bool marked;     /* the event says how far the stream has to get; else all that it is given until the drop counts */
    bool until_drop; /* somebody wants the latter, whatever others want */
};

/* The pool's lock guards it, but for the atomic ones. */
static struct {
    struct use *uses; /* number 0 is none */
    uint32_t used;
    struct pt_place places[PLACES_MOST];
    uint32_t place_count, spare[PLACES_MOST];
    uint32_t first, last;      /* blocks that wait, linked by `next` */
    _Atomic uint32_t waiting;  /* how many they are */
    _Atomic uint32_t strict;   /* of these, how many wait for all that the devices were given */
    uint64_t departures;       /* numbers such blocks, in `born_ns` */
    _Atomic uint64_t finished; /* what departed up to here was waited for */
} state;

static _Atomic int captures; /* under way; a capture may be older than the first block */

void pt_in_flight_reset(void)
{
    struct use *uses = state.uses;
    memset(&state, 0, sizeof state);
    state.uses = uses; /* in a forked child, its own copy */
}

/* ---- book-keeping ---- */

static uint32_t number_of_place(const struct pt_place *at)
{
    uint32_t i = 0;
    while (i < state.place_count && (state.places[i].context != at->context || state.places[i].number != at->number)) {
        i++;
    }
    if (i == state.place_count && i < PLACES_MOST) {
        state.places[state.place_count++] = *at;
    }
    return i;
}

static bool open_uses(void)
{
    size_t len = pt_pages_up(USES_MOST * sizeof(struct use), PT_PAGE);
    struct use *uses = pt_pages_reserve(len);
    if (uses != NULL && pt_pages_open(uses, len) == 0) {
        state.uses = uses;
    }
    return state.uses != NULL;
}

static uint32_t take_use(uint32_t place)
{
    uint32_t number = state.spare[place];
    if (number != 0) {
        state.spare[place] = state.uses[number].next;
    } else if ((state.uses != NULL || open_uses()) && state.used + 1 < USES_MOST) {
        number = ++state.used;
        state.uses[number] = (struct use){.place = (uint16_t)place};
    }
    return number;
}

static void give_uses(struct pt_record *r)
{
    while (r->uses != 0) {
        uint32_t number = r->uses;
        struct use *u = &state.uses[number];
        r->uses = u->next;
        u->next = state.spare[u->place];
        state.spare[u->place] = number;
    }
}

/* ---- uses ---- */

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

/* The block's use by that stream, made if need be; 0 if there is no room for it. `alone`: one that no other thread is
 * noting something in. `others`: how many were looked at. */
static uint32_t use_of(struct pt_record *r, const struct pt_place *at, void *stream, uint64_t identity, bool alone,
                       unsigned *others)
{
    uint32_t place = number_of_place(at), number = r->uses;
    if (place == PLACES_MOST) {
        return 0;
    }
    while (number != 0 && (state.uses[number].stream != stream || state.uses[number].place != place ||
                           state.uses[number].identity != identity || (alone && state.uses[number].busy))) {
        ++*others;
        number = state.uses[number].next;
    }
    if (number == 0 && (number = take_use(place)) != 0) {
        struct use *u = &state.uses[number];
        *u = (struct use){
            .stream = stream, .event = u->event, .next = r->uses, .identity = identity, .place = (uint16_t)place};
        r->uses = number;
    }
    return number;
}

static bool alive(const struct pt_found *f)
{
    const struct pt_record *r = pt_table_record(f->number);
    return r->state == PT_LIVE && r->generation == f->generation;
}

/* The pool's lock, and what else guards the block's record. */
static struct pt_magazine *enter(const struct pt_found *f)
{
    pt_lock_enter();
    return pt_drain_hold(pt_table_record(f->number));
}

static void leave(struct pt_magazine *held)
{
    pt_drain_let_go(held);
    pt_lock_leave();
}

/* What nobody can say the end of is not handed out again. */
static void never_again(const struct pt_found *f)
{
    struct pt_magazine *held = enter(f);
    if (alive(f)) {
        struct pt_record *r = pt_table_record(f->number);
        pt_table_write_begin(r);
        r->flags |= PT_CAPTURED;
        pt_table_write_end(r);
    }
    leave(held);
}

/* An event, which says how far a stream is if that could be noted, becomes the use's. Its block may be gone by now:
 * that copy was over so soon that somebody saw its end. */
static void keep_event(const struct pt_found *f, uint32_t number, const struct pt_place *at, void *event, bool noted)
{
    struct use *u = &state.uses[number];
    struct pt_magazine *held = enter(f);
    if (alive(f)) {
        u->busy = false;
        u->event = event;
        u->marked = noted && !u->until_drop;
    } else if (event != NULL && state.used + 1 < USES_MOST) { /* else it is lost, as the place of a million others */
        uint32_t place = number_of_place(at), another = ++state.used;
        state.uses[another] = (struct use){.event = event, .next = state.spare[place], .place = (uint16_t)place};
        state.spare[place] = another;
    }
    leave(held);
}

/* Notes how far the stream is now. Meanwhile all that it is given counts. */
static bool mark_now(const struct pt_found *f, uint32_t number, const struct pt_place *at, void *stream)
{
    struct pt_magazine *held = enter(f);
    void *event = NULL;
    if (alive(f)) {
        event = state.uses[number].event;
        state.uses[number].event = NULL;
        state.uses[number].marked = false;
    }
    leave(held);
    bool noted = pt_driver_mark(at, stream, &event);
    keep_event(f, number, at, event, noted);
    return noted;
}

/* A block that outlives its streams would have uses without end: one that is over goes. */
static void retire_one(const struct pt_found *f)
{
    struct pt_record *r = pt_table_record(f->number);
    uint32_t number = 0, *link = &r->uses;
    struct pt_magazine *held = enter(f);
    for (uint32_t *at = link; alive(f) && *at != 0; at = &state.uses[*at].next) { /* the oldest */
        if (state.uses[*at].marked && !state.uses[*at].busy) {
            link = at;
            number = *at;
        }
    }
    if (number != 0) {
        *link = state.uses[number].next;
    }
    leave(held);
    if (number == 0) {
        return;
    }
    struct use *u = &state.uses[number];
    bool passed = pt_driver_passed(&state.places[u->place], u->event) == PT_PASSED;
    held = enter(f);
    uint32_t *list = !passed && alive(f) ? &r->uses : &state.spare[u->place];
    u->next = *list;
    *list = number;
    leave(held);
}

bool pt_in_flight_use(const void *p, void *stream, int device, bool until_drop)
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
    if (number != 0 && until_drop) {
        state.uses[number].until_drop = true;
        state.uses[number].marked = false;
    } else if (number != 0) {
        state.uses[number].busy = true;
    }
    leave(held);
    if (number == 0 ||
        (!until_drop && !mark_now(&f, number, &at, stream) && pt_driver_passed(&at, NULL) == PT_PENDING)) {
        never_again(&f);
    }
    if (others >= USES_MANY) {
        retire_one(&f);
    }
    return true;
}

/* ---- waiting ---- */

bool pt_in_flight_holds(const struct pt_record *r)
{
    return r->uses != 0 || (r->flags & PT_CAPTURED) != 0 ||
           (pt_option(PT_OPTION_REUSE) == PT_REUSE_STRICT && pt_driver_found());
}

/* Whether all uses of a block that waits are over. Its uses are this thread's alone meanwhile. */
static bool over(const struct pt_record *r)
{
    bool all = r->born_ns <= atomic_load(&state.finished);
    for (uint32_t number = r->uses; number != 0; number = state.uses[number].next) {
        struct use *u = &state.uses[number];
        const struct pt_place *at = &state.places[u->place];
        /* Whatever happens on the legacy stream ends the capture of any stream that waits for it (seen). */
        bool may_ask = (uintptr_t)u->stream > (uintptr_t)PT_LEGACY_STREAM || atomic_load(&captures) <= 0;
        if (!u->marked && may_ask && !pt_driver_captured(u->stream)) {
            u->marked = pt_driver_mark(at, u->stream, &u->event);
        }
        all = all && pt_driver_passed(at, u->marked ? u->event : NULL) == PT_PASSED;
    }
    return all;
}

/* With the pool's lock held. */
static void append(uint32_t number)
{
    pt_table_record(number)->next = 0;
    if (state.last != 0) {
        pt_table_record(state.last)->next = number;
    } else {
        state.first = number;
    }
    state.last = number;
}

void pt_in_flight_depart(uint32_t number)
{
    struct pt_record *r = pt_table_record(number);
    if ((r->flags & PT_CAPTURED) != 0) {
        pt_lock_enter();
        give_uses(r);
        pt_lock_leave();
        return;
    }
    bool strict = pt_option(PT_OPTION_REUSE) == PT_REUSE_STRICT;
    r->born_ns = 0;
    (void)over(r); /* marks how far the streams are */
    pt_lock_enter();
    if (strict) {
        r->born_ns = ++state.departures;
        atomic_fetch_add(&state.strict, 1);
    }
    append(number);
    atomic_fetch_add(&state.waiting, 1);
    pt_lock_leave();
}

/* Up to LOOK_MOST blocks off the list. */
static uint32_t take_some(uint32_t *some)
{
    uint32_t count = 0;
    pt_lock_enter();
    for (; count < LOOK_MOST && state.first != 0; count++) {
        some[count] = state.first;
        state.first = pt_table_record(state.first)->next;
    }
    state.last = state.first != 0 ? state.last : 0;
    pt_lock_leave();
    return count;
}

static void finish(void)
{
    pt_lock_enter();
    uint64_t departed = state.departures;
    pt_lock_leave();
    if (atomic_load(&captures) <= 0 && pt_driver_finish()) {
        uint64_t before = atomic_load(&state.finished);
        while (before < departed && !atomic_compare_exchange_weak(&state.finished, &before, departed)) {
        }
    }
}

uint32_t pt_in_flight_landed(enum pt_in_flight_effort effort)
{
    uint32_t landed = 0, vain = 0, some[LOOK_MOST], looks = atomic_load_explicit(&state.waiting, memory_order_relaxed);
    if (looks == 0) {
        return 0;
    }
    bool all = effort != PT_IN_FLIGHT_FEW;
    if (effort == PT_IN_FLIGHT_WAIT) {
        finish();
    }
    while (looks > 0 && (all || vain < VAIN_MOST)) {
        bool is_over[LOOK_MOST];
        uint32_t count = take_some(some), looked = 0;
        for (; looked < count && (all || vain < VAIN_MOST); looked++) {
            is_over[looked] = over(pt_table_record(some[looked]));
            vain += !is_over[looked];
        }
        looks = count > 0 && looks > looked ? looks - looked : 0;
        pt_lock_enter();
        for (uint32_t i = count; i-- > looked;) { /* their turn is next */
            pt_table_record(some[i])->next = state.first;
            state.first = some[i];
            state.last = state.last != 0 ? state.last : some[i];
        }
        for (uint32_t i = 0; i < looked; i++) {
            struct pt_record *r = pt_table_record(some[i]);
            if (!is_over[i]) {
                append(some[i]); /* behind the others: a slow stream holds nobody else up */
                continue;
            }
            give_uses(r);
            atomic_fetch_sub(&state.waiting, 1);
            atomic_fetch_sub(&state.strict, r->born_ns > 0);
            r->next = landed;
            landed = some[i];
        }
        pt_lock_leave();
    }
    return landed;
}

void pt_in_flight_capture(int change)
{
    atomic_fetch_add(&captures, change);
}

bool pt_in_flight_waiting(void)
{
    return atomic_load_explicit(&state.waiting, memory_order_relaxed) > 0;
}

bool pt_in_flight_strict(void)
{
    return atomic_load_explicit(&state.strict, memory_order_relaxed) > 0;
}
