/* Threads of our own, and the clock that nobody sets: the wall clock may be put back or stand still. A leaf. */
#ifndef PT_THREAD_H
#define PT_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* pthread_atfork(), whose own code asks for more than some libcs have. */
int pt_thread_at_fork(void (*before)(void), void (*parent)(void), void (*child)(void));

/* Starts a thread with a stack of its own size, whatever the program's default, and with all signals blocked: those are the
 * program's business. `out` NULL: nobody waits for its end. False: none could be had. */
bool pt_thread_start(pthread_t *out, void *(*run)(void *), void *argument);

/* Around work that must not end in the middle: a thread that is cancelled ends after it. Nests. */
int pt_thread_forbid_cancel(void);
void pt_thread_allow_cancel(int before);

/* Nanoseconds of the monotonic clock. */
int64_t pt_thread_now(void);

#endif
