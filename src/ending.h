/* The end of the process, as far as blocks are concerned: what was held, and giving everything back. */
#ifndef PT_ENDING_H
#define PT_ENDING_H

#include <stdbool.h>

void pt_ending_reset(void);

/* Whether exit has begun. */
bool pt_ending_begun(void);

/* Counts the live blocks into their sites' held ones. Once exit has begun it waits a tenth of a second for the guard at most,
 * and then reads without it: usable in abort(). */
void pt_ending_count_held(void);

/* Exit begins: what is alive now is held. Usable in abort(); later calls do nothing. */
void pt_ending_begin(void);

/* The process ends: unlocks and frees every block that is left, without touching contents. */
void pt_ending_finish(void);

#endif
