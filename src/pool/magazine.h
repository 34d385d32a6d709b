/* Magazines: what a thread that met others at the pool's lock keeps for itself, so that the next block of a size it freed a
 * moment ago costs no lock and no line of memory that other threads write.
 *
 * A magazine holds a few freed exact blocks and a tally of what was done without the pool's lock. The record of such a block
 * is PT_CACHED like any other freed one, so whoever looks at the table, alive or after a crash, sees the truth. The
 * counters of the process still take it for alive: live bytes then only ever err upwards, what is locked stays within
 * the room whether a block waits here or is used, and an allocation from here can raise no peak. Before a peak would
 * rise, before anything fresh is locked, and before anybody is told a figure, all magazines are emptied into the cache,
 * and the counters are exact.
 *
 * Locks: a record's `owner` is the magazine of the thread that made it, or 0. With a owner, the owner's lock is what
 * guards the record; who comes through the pool's lock takes it under the pool's lock. The owner takes its own alone, and nothing
 * under it. `owner` itself changes with the pool's lock held, and the lock of the one it was.
 *
 * A program that never waits for the pool's lock has no magazines. */
#ifndef PT_MAGAZINE_H
#define PT_MAGAZINE_H

#include "ledger/counters.h"
#include "pool/lock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_MAGAZINE_BLOCKS 16

struct pt_magazine {
    pthread_mutex_t lock;
    bool taken;   /* by a thread; with the pool's lock held */
    bool stopped; /* the lock is held for pt_drain_stop() */
    uint16_t self, count;
    unsigned hits, strikes;               /* finds since a block was made the long way; how often those were too few */
    size_t bytes;                         /* locked for the blocks */
    uint32_t blocks[PT_MAGAZINE_BLOCKS];  /* the oldest first */
    uint32_t lengths[PT_MAGAZINE_BLOCKS]; /* their locked bytes: a search reads no records */
    uint64_t serial, serials;             /* the next number, and how many there are */
    struct pt_tally tally;
} __attribute__((aligned(128)));

/* Those that were ever taken are the first pt_magazines of them. */
extern struct pt_magazine pt_magazine_all[];
extern _Atomic uint32_t pt_magazines;

/* What a thread knows of its own: read in line, since most threads have no magazine and should pay next to nothing. */
extern __thread struct pt_magazine_thread {
    struct pt_magazine *magazine; /* one of the process that `epoch` says: a forked child inherits the pointer alone */
    uint32_t epoch;
    unsigned join_at; /* when it had to wait for the pool's lock so often, it wants one */
    unsigned patience;
    bool ended;
} pt_magazine_thread;

static inline bool pt_magazine_mine(void)
{
    return pt_magazine_thread.magazine != NULL;
}

static inline bool pt_magazine_any(void)
{
    return atomic_load_explicit(&pt_magazines, memory_order_relaxed) > 0;
}

/* A fresh process. `ends` is called in a thread that ends, with no lock held: it is to give the magazine up. */
void pt_magazine_reset(void (*ends)(void));

/* Exit has begun: from now on nobody keeps a block. */
void pt_magazine_close(void);

/* It was not the end after all. */
void pt_magazine_open(void);

/* ---- the owner; with no lock held unless it says so ---- */

/* Gives this thread a magazine. */
void pt_magazine_join(void);

/* Whether it met others often enough for that. */
static inline bool pt_magazine_wanted(void)
{
    return pt_lock_met > pt_magazine_thread.join_at;
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

/* ---- with the pool's lock held ---- */

/* This thread makes a block the long way: its tally is folded in. Returns the owner to enter into the block's record. */
uint16_t pt_magazine_owner(const struct pt_record *r);

/* Whether this thread had better give its magazine up: it finds nothing there. */
bool pt_magazine_useless(void);

/* This thread has none from now on; it is empty, and its lock is held. */
void pt_magazine_give_back(struct pt_magazine *m);

/* This thread's, or NULL; and without one of its blocks. */
struct pt_magazine *pt_magazine_own(void);
void pt_magazine_take_out(struct pt_magazine *m, unsigned i);

#endif
