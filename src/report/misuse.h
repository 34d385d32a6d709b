/* Calls that asked for something impossible: counted in the table, said once for each place. */
#ifndef PT_MISUSE_H
#define PT_MISUSE_H

#include "ledger/table.h"

/* With the pool's lock held. True if this is new and should be said (after the lock is gone). */
bool pt_misuse_count(const struct pt_misuse *m);

/* One line on stderr. */
void pt_misuse_say(const struct pt_misuse *m, const void *address);

/* "freed twice", for the report. */
const char *pt_misuse_name(uint32_t kind);

#endif
