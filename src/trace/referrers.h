/* Which Python objects hold blocks, and from which name of the program's they are reached. The search is Python's own
 * work (referrers.py), and bounded in time. */
#ifndef PT_REFERRERS_H
#define PT_REFERRERS_H

#include "ledger/table.h"

struct pt_referrers_block {
    uint64_t begin, end, row;
};

/* Fills in what is found, the most bytes first, at most a few of each row; returns how many. The seconds are this
 * thread's own time; twice as many by the clock, if it has to wait for a processor or the GIL. With the GIL, no error
 * on its way, and no lock of ours. */
uint32_t pt_referrers_find(const struct pt_referrers_block *block, size_t blocks, unsigned seconds,
                           struct pt_held_by *out, uint32_t most);

#endif
