/* The history: how the counters went over the run, in moments of one length, which doubles whenever the run has
 * outgrown them. A change is seen up to the next one of the same kind late: what small blocks give back, and what
 * threads keep. */
#ifndef PT_HISTORY_H
#define PT_HISTORY_H

#include "ledger/table.h"

/* With the pool's lock held, before the counters change: they have been as they are until now. */
void pt_history_note(uint64_t now_ns);

/* A copy of the table's, up to `end_ns`. Who reads while somebody writes may meet some moments twice. */
void pt_history_copy(const struct pt_table *t, uint64_t end_ns, struct pt_history *out);

#endif
