/* Telling a leak that goes on from memory that is merely held. A site grows if, visit after visit, more of its blocks
 * stay alive than ever before, and this goes on until its last visits. What counts is its own visits and how many
 * blocks stayed, not bytes and, as far as can be, not the clock: docs/reading.md says the rule and what it cannot tell.
 *
 * A visit is a run of allocations by one site, ended by another site's turn, or once the program has spent
 * PT_GROWTH_PAUSE between them. The site keeps the history of its visits in windows of equally many: when all are full,
 * each two become one. */
#ifndef PT_GROWTH_H
#define PT_GROWTH_H

#include "ledger/table.h"

/* In ns. The clock used is coarse: a few ms. */
#define PT_GROWTH_PAUSE ((uint64_t)20000000)

/* Notes an allocation that is already among the site's live blocks; `order` counts all allocations.
 * Locking a large block takes long, which is no pause: hence both ends. */
void pt_growth_note(struct pt_site *s, struct pt_growth *g, uint64_t asked_ns, uint64_t now_ns, uint64_t order);

/* Notes many allocations of one site at once, which are already among its live blocks: from `asked_ns` on to `now_ns`,
 * in `visits` runs, the first of them the `order`th allocation of all, the last one the `last`th; meanwhile the fewest
 * alive before one of them were `low`, the most after one `high`. */
void pt_growth_note_many(struct pt_site *s, struct pt_growth *g, uint64_t asked_ns, uint64_t now_ns, uint64_t order,
                         uint64_t last, uint64_t visits, uint64_t low, uint64_t high);

/* The site gives its row up. */
void pt_growth_forget(uint32_t site);

/* Judges one site by its history at `now_ns`. */
bool pt_growth_judge(const struct pt_site *s, const struct pt_growth *g, uint64_t now_ns);

/* Judges every site of the table, or of a copy, as of now, into their `growing`. */
void pt_growth_judge_all(struct pt_site *all, uint32_t sites, uint64_t now_ns);

/* What rose in so many visits was not made at once: whether it is lost may have to be judged by somebody who knows. */
static inline bool pt_growth_rose_often(const struct pt_site *s)
{
    return s->rises > 3;
}

/* Bytes a visit that reached a new height, on average. */
uint64_t pt_growth_step(const struct pt_site *s);

#endif
