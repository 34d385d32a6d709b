/* Magazines: what a thread that met others at the guard keeps for itself, so that the next block of a size it freed a
 * moment ago costs no lock and no line of memory that other threads write.
 *
 * A magazine holds a few freed exact blocks and a tally of what was done without the guard. The record of such a block
 * is PT_CACHED like any other freed one, so whoever looks at the table, alive or after a crash, sees the truth. The
 * counters of the process still take it for alive: live bytes then only ever err upwards, what is locked stays within
 * the room whether a block waits here or is used, and an allocation from here can raise no peak. Before a peak would
 * rise, before anything fresh is locked, and before anybody is told a figure, all magazines are emptied into the cache,
 * and the counters are exact.
 *
 * Locks: a record's `keeper` is the magazine of the thread that made it, or 0. With a keeper, the keeper's lock is what
 * guards the record; who comes through the guard takes it under the guard. The owner takes its own alone, and nothing
 * under it. `keeper` itself changes with the guard held, and the lock of the one it was.
 *
 * A program that never waits for the guard has no magazines. */
#ifndef PT_MAGAZINE_H
#define PT_MAGAZINE_H

#include "guard.h"
#include "table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a thread knows of its own: read in line, since most threads have no magazine and should pay next to nothing. */
extern __thread struct pt_magazine_thread {
    struct pt_magazine *magazine; /* one of the process that `epoch` says: a forked child inherits the pointer alone */
    uint32_t epoch;
    unsigned join_at; /* when it had to wait for the guard so often, it wants one */
    unsigned patience;
    bool ended;
} pt_magazine_thread;

static inline bool pt_magazine_mine(void)
{
    return pt_magazine_thread.magazine != NULL;
}

/* How many were ever taken. */
extern _Atomic uint32_t pt_magazines;

static inline bool pt_magazine_any(void)
{
    return atomic_load_explicit(&pt_magazines, memory_order_relaxed) > 0;
}

/* A fresh process. `ends` is called in a thread that ends, with no lock held: it is to give the magazine up. */
void pt_magazine_reset(void (*ends)(void));

/* Exit has begun: from now on nobody keeps a block. */
void pt_magazine_close(void);

/* ---- the owner; with no lock held unless it says so ---- */

/* Gives this thread a magazine. */
void pt_magazine_join(void);

/* Whether it met others often enough for that. */
static inline bool pt_magazine_wanted(void)
{
    return pt_guard_met > pt_magazine_thread.join_at;
}

/* This thread's magazine with its lock taken; NULL if it has none. */
struct pt_magazine *pt_magazine_enter(void);
void pt_magazine_leave(struct pt_magazine *m);

/* Inside: a block that has `bytes` locked and was not alive, to be made live for `site` and then counted; 0 if none.
 * Its serial number is in *serial. */
uint32_t pt_magazine_take(struct pt_magazine *m, size_t bytes, uint32_t site, uint64_t *serial);
void pt_magazine_count(struct pt_magazine *m, const struct pt_record *r, uint64_t asked_ns);

/* Inside: whether a record is this magazine's to change. */
bool pt_magazine_keeps(const struct pt_magazine *m, const struct pt_record *r);

/* Inside: free() of a block that a tensor still holds. */
void pt_magazine_release(struct pt_magazine *m, const struct pt_record *r);

/* Inside: a live block ends here, and waits here. FULL: when some room is made it could. */
enum pt_magazine_put { PT_MAGAZINE_PUT, PT_MAGAZINE_FULL, PT_MAGAZINE_UNFIT };
enum pt_magazine_put pt_magazine_put(struct pt_magazine *m, uint32_t number);

/* For a thread that has one: a site it looked up before, by its key; 0 if it did not. No lock is needed. */
uint32_t pt_magazine_site(uint64_t key);
void pt_magazine_remember_site(uint64_t key, uint32_t site);

/* ---- whoever holds the guard ---- */

/* This thread makes a block the long way: its tally is folded in. Returns the keeper to enter into the block's record.
 */
uint16_t pt_magazine_keeper(const struct pt_record *r);

/* Takes the lock of a record's keeper, and folds its tally in; NULL if there is none. */
struct pt_magazine *pt_magazine_lock_of(uint16_t keeper);

static inline struct pt_magazine *pt_magazine_hold(const struct pt_record *r)
{
    uint16_t keeper = atomic_load_explicit(&r->keeper, memory_order_relaxed);
    return keeper != 0 ? pt_magazine_lock_of(keeper) : NULL;
}

static inline void pt_magazine_let_go(struct pt_magazine *m)
{
    if (m != NULL) {
        pt_magazine_leave(m);
    }
}

/* Nobody moves until pt_magazine_go(). At the end of the process a magazine is waited for a little only, since this
 * very thread may be inside: false if some are still moving. */
bool pt_magazine_stop(bool at_the_end);
void pt_magazine_go(void);

/* The blocks of those that stand still go into the cache, their tallies into the counters. These four return the locked
 * bytes that no longer count as live. */
size_t pt_magazine_empty(void);

/* The same for the older half of this thread's; for all of it, and the thread has none from then on. */
size_t pt_magazine_spill(void);
size_t pt_magazine_give_up(void);

/* Takes out what waits since `before_ns`, chained by `next` in *victims; *any: something is left. */
size_t pt_magazine_take_idle(uint64_t before_ns, uint32_t *victims, bool *any);

/* Whether this thread had better give its magazine up: it finds nothing there. */
bool pt_magazine_useless(void);

#endif
