/* Magazines from outside: whoever holds the pool's lock reaches what threads keep for themselves. All calls with the pool's lock
 * held. */
#ifndef PT_DRAIN_H
#define PT_DRAIN_H

#include "pool/lock.h"
#include "pool/magazine.h"

/* Takes the lock of a record's owner, and folds its tally in; NULL if there is none. */
struct pt_magazine *pt_drain_lock(uint16_t owner);

static inline struct pt_magazine *pt_drain_hold(const struct pt_record *r)
{
    uint16_t owner = atomic_load_explicit(&r->owner, memory_order_relaxed);
    return owner != 0 ? pt_drain_lock(owner) : NULL;
}

static inline void pt_drain_let_go(struct pt_magazine *m)
{
    if (m != NULL) {
        pt_magazine_leave(m);
    }
}

/* The same, and the pool's lock. */
static inline void pt_drain_leave(struct pt_magazine *m)
{
    pt_drain_let_go(m);
    pt_lock_leave();
}

/* Nobody moves until pt_drain_go(). This very thread may be inside of its own: at the end of the process a magazine is waited
 * for a little only, and in a signal handler not at all. False if some are still moving. */
enum pt_drain_patience { PT_DRAIN_WAIT, PT_DRAIN_AT_THE_END, PT_DRAIN_TRY };
bool pt_drain_stop(enum pt_drain_patience how);
void pt_drain_go(void);

/* The tallies of those that stand still go into the counters; what they keep stays there. */
void pt_drain_fold(void);

/* The blocks of those that stand still go into the cache, their tallies into the counters. These four return the locked
 * bytes that no longer count as live. */
size_t pt_drain_all(void);

/* The same for the older half of this thread's; for all of it, and the thread has none from then on. */
size_t pt_drain_half(void);
size_t pt_drain_own(void);

/* The same for what waits since `before_ns`; *any: something is left. */
size_t pt_drain_idle(uint64_t before_ns, bool *any);

#endif
