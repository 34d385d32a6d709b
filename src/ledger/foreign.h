/* What others pin in this process, served without us: by address, so that its end is noticed, and by line, in rows of
 * the table. Bounded; nothing of it is ever locked, freed or counted in a budget by us. With no lock held; the mutex is
 * a leaf.
 */
#ifndef PT_FOREIGN_H
#define PT_FOREIGN_H

#include "ledger/table.h"

/* From here on others have something worth a word; and whoever pins less before anything else was pinned is passed
 * over, so that a program's few flags make no report. */
#define PT_FOREIGN_LEAST ((size_t)1 << 20)

/* For a fresh table. */
void pt_foreign_reset(void);

/* Pinned at `p` by whom `site` says. What was known of that address is over: its end was not seen. `ours`: what we have
 * locked now. */
void pt_foreign_add(const void *p, size_t bytes, enum pt_foreign_call call, uint32_t site, uint64_t ours);

/* It is pinned no more: what was known of it, for who finds that it still is; `row` 0: nothing. */
struct pt_foreign_pin {
    uintptr_t at;
    uint64_t bytes;
    uint32_t row;
};
struct pt_foreign_pin pt_foreign_take(const void *p);
void pt_foreign_put_back(const struct pt_foreign_pin *pin);

/* All of it is gone. */
void pt_foreign_forget(void);

/* We have locked more: it may be now that most is pinned. In line: next to nothing where others have little. */
void pt_foreign_look(uint64_t ours);
static inline bool pt_foreign_counts(void)
{
    return PT_GET(pt_table()->foreign.live_bytes) >= PT_FOREIGN_LEAST;
}

/* What a row had when most was pinned. Needs no lock. */
struct pt_foreign_share {
    uint64_t blocks, bytes;
};
struct pt_foreign_share pt_foreign_at_peak(const struct pt_table *t, const struct pt_foreign *row);

/* A copy of a row; they go from PT_FOREIGN_OTHER to the table's `foreign.rows`. Needs no lock. */
struct pt_foreign pt_foreign_row(const struct pt_table *t, uint32_t row);

#endif
