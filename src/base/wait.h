/* Waiting by the kernel's own time. Programs replace libc's clocks and sleeps, to stop or speed up the time for their
 * tests, and the wall clock may be put back; what waits here for so long waits that long all the same. A leaf but for
 * thread.
 *
 * The kernel's clock itself is not asked: that call is seldom made (the vDSO answers in its place), so a sandbox may
 * kill for it. */
#ifndef PT_WAIT_H
#define PT_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps so many nanoseconds. Shorter where a signal comes. */
void pt_wait_pause(int64_t ns);

/* How much longer to wait for something: until the clock says that it is over, or until so much was slept, should that
 * clock stand still. */
struct pt_patience {
    int64_t until_ns, unslept_ns;
};

struct pt_patience pt_patience_for(int64_t ns);
/* Until the monotonic clock (pt_thread_now()) is there. */
struct pt_patience pt_patience_until(int64_t until_ns);

/* Nanoseconds; 0: it is over. */
int64_t pt_patience_left(const struct pt_patience *p);

/* Counts what was slept elsewhere. */
void pt_patience_slept(struct pt_patience *p, int64_t ns);

/* Sleeps so many nanoseconds and counts them. False, without any sleep: it is over. */
bool pt_patience_pause(struct pt_patience *p, int64_t ns);

/* What one thread waits for and another rings. All zero at first. Rings are counted, so that none is missed between a
 * look at what it stands for and the waiting: take the count, look, wait for another count. */
struct pt_bell {
    _Atomic uint32_t rings;
};

uint32_t pt_bell_rings(const struct pt_bell *b);
void pt_bell_ring(struct pt_bell *b);

/* Waits for another count than that; for so many nanoseconds, and false: it is still the same. */
void pt_bell_await(struct pt_bell *b, uint32_t rings);
bool pt_bell_wait(struct pt_bell *b, uint32_t rings, int64_t most_ns);

#endif
