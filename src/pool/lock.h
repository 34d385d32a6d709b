/* The manager's lock: it guards the table's records and counters, the cache, and the room. Nothing is taken under it, and no
 * call that may take long is made under it. A leaf. */
#ifndef PT_LOCK_H
#define PT_LOCK_H

#include <stdbool.h>

/* In a forked child another thread may have held it. */
void pt_lock_reset(void);

void pt_lock_lock(void);
void pt_lock_unlock(void);

/* The same, and counts how often this thread had to wait. */
void pt_lock_lock_noting(void);
extern __thread unsigned pt_lock_met;

/* In abort(), or in exit() called by a signal handler, this very thread may hold the lock: it is waited for a tenth of a
 * second, and not for ever. False: it was not taken. */
bool pt_lock_lock_at_the_end(void);

#endif
