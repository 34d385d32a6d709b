/* The thread that gives idle memory back. It exists only while there is something to watch: Python 3.12 warns of a
 * fork in a process with threads. */
#ifndef PT_BACKGROUND_H
#define PT_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

/* `tick` gives back what has been idle for `seconds` and says whether anything is left to watch; `work` does what
 * pt_background_wake() was called for. */
void pt_background_init(bool (*tick)(void), void (*work)(void), uint64_t seconds);

/* Something became idle. Cheap when the thread runs already. With no lock held. */
void pt_background_watch(void);

/* There is something that this thread is not to wait for. False: no thread can be had for it. Once it was stopped, the
 * process ends, and nothing of the kind needs to be done any more. */
bool pt_background_wake(void);

void pt_background_stop(void);

/* After that: it may come again. */
void pt_background_resume(void);

#endif
