/* Telling a leak that goes on from memory that is merely held: a site grows if its live bytes reached new heights in
 * several separate visits, spread over a good part of the run, the last of them not long before the end. Buffers
 * made at the start reach their height early, however many they are; buffers reused reach it once.
 *
 * A visit is a run of allocations by one site, ended by another site's turn or by a pause. */
#ifndef PT_GROWTH_H
#define PT_GROWTH_H

#include "ledger/table.h"

#define PT_GROWTH_VISITS 4 /* heights it takes: the first ones may be warm-up */

/* Notes an allocation that is already in the site's live bytes; `order` counts all allocations. Locking a large block
 * takes long, which is no pause: hence both ends. */
void pt_growth_note(struct pt_site *s, uint64_t asked_ns, uint64_t now_ns, uint64_t order);

/* A pause, in ns: what comes after it is another visit. */
#define PT_GROWTH_PAUSE ((uint64_t)20000000) /* the clock used is that coarse: a few ms */

/* Notes many allocations of one site at once, from `asked_ns` on to `now_ns`: `visits` runs of them, the first of them the
 * `order`th allocation of all, the last one the `last`th; meanwhile its live bytes reached `high`. */
void pt_growth_note_many(struct pt_site *s, uint64_t asked_ns, uint64_t now_ns, uint64_t order, uint64_t last,
                         uint64_t visits, uint64_t high);

/* Judges one site at `now_ns`, in a run whose first block was at `start_ns`. */
bool pt_growth_judge(const struct pt_site *s, uint64_t start_ns, uint64_t now_ns);

/* Judges every site of the table, or of a copy, as of now, into their `growing`. */
void pt_growth_judge_all(struct pt_site *all, uint32_t sites);

/* Bytes a visit, on average. */
uint64_t pt_growth_step(const struct pt_site *s);

#endif
