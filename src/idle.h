/* The thread that gives idle memory back. It exists only while there is something to watch: Python 3.12 warns of a
 * fork in a process with threads. */
#ifndef PT_IDLE_H
#define PT_IDLE_H

#include <stdbool.h>
#include <stdint.h>

/* `tick` gives back what has been idle for `seconds` and says whether anything is left to watch. */
void pt_idle_init(bool (*tick)(void), uint64_t seconds);

/* Something became idle. Cheap when the thread runs already. With no lock held. */
void pt_idle_watch(void);

void pt_idle_stop(void);

#endif
