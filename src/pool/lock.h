/* The pool's lock: it guards the table's records and counters, chunks, free cache and budget. No call that may take long is made
 * under it.
 *
 * The order of all locks, here and nowhere else: the pool's lock; then one magazine's, or all of them (pt_drain_stop). A
 * thread's own magazine may be locked without the pool's lock, and nothing is taken under it then. Leaves: the
 * mutexes of gil_helper, site, site_store, code, foreign and background and, under jemalloc's locks, of segments. Around every call of jemalloc
 * arena's gate is held, shared. jemalloc, system calls that may take long, the driver, Python and libtorch are called without the
 * pool's lock. With --enable-debug it
 * is checked who holds the pool's lock. A leaf. */
#ifndef PT_LOCK_H
#define PT_LOCK_H

#include <stdbool.h>

/* In a forked child another thread may have held it. */
void pt_lock_reset(void);

void pt_lock_enter(void);
void pt_lock_leave(void);

/* The same as pt_lock_enter, and counts how often this thread had to wait. */
void pt_lock_enter_noting(void);
extern __thread unsigned pt_lock_met;

/* In abort(), or in exit() called by a signal handler, this very thread may hold the lock: it is waited for a tenth of a
 * second, and not for ever. False: it was not taken. */
bool pt_lock_enter_at_the_end(void);

/* Does not wait, and is usable in a signal handler: false if another has the lock, or this thread may have it. A handler that is
 * called a thousand times a second must not wait even a millisecond: the thread below it would not get on. */
bool pt_lock_try(void);

/* In builds for debugging (--enable-debug) these end the program with a line where a rule is broken: unless this thread holds
 * the lock; if it does; unless something else holds. */
#ifdef PT_DEBUG
void pt_lock_broken(const char *who, const char *rule);
bool pt_lock_is_mine(void);
#define PT_ASSERT(condition) ((condition) ? (void)0 : pt_lock_broken(__func__, #condition))
#define PT_ASSERT_LOCKED()   PT_ASSERT(pt_lock_is_mine())
#define PT_ASSERT_UNLOCKED() PT_ASSERT(!pt_lock_is_mine())
#else
#define PT_ASSERT(condition) ((void)0)
#define PT_ASSERT_LOCKED()   ((void)0)
#define PT_ASSERT_UNLOCKED() ((void)0)
#endif

#endif
