/* The end of the process, as far as blocks are concerned: what was held, and giving everything back. */
#ifndef PT_HELD_H
#define PT_HELD_H

#include <stdbool.h>

void pt_held_reset(void);

/* Whether exit has begun. */
bool pt_held_begun(void);

/* For a report before exit has begun: what is alive now is held, and sites are judged. */
void pt_held_now(void);

/* Exit begins: what is alive now is held. Usable in abort(); later calls do nothing. */
void pt_held_begin(void);

/* The process ends: unlocks and frees every block that is left, without touching contents. */
void pt_held_finish(void);

#endif
