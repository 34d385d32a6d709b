/* The budget: what may be locked, and how large the next chunk is. Everything that is locked and nobody uses has to
 * find room under the highest use so far (the peak): a twentieth more, or up to a quarter more for a program whose
 * sizes would otherwise cost it a registration a request, or up to half of it while such a program's peak grows
 * (PINTENSOR_CACHE moves all three). Policy and book-keeping only; every call with the pool's lock held.
 *
 * What a program shows is told by the debt: bytes that were registered and had to go for others, paid back by growth of
 * the peak. One that only builds up its state has none: its chunks are as large as its requests, in huge pages. One
 * whose sizes vary gets into debt, and with it larger chunks, a quarter of the peak, which serve any size, and more
 * room.
 */
#ifndef PT_BUDGET_H
#define PT_BUDGET_H

#include "ledger/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pt_budget_reset(void);

/* A record's locked bytes are in use from now on, or not any more; and the same for a dropped one that a device still
 * uses. `pending` ones are being locked for somebody at this moment. */
void pt_budget_use(const struct pt_record *r);
void pt_budget_unuse(const struct pt_record *r);
void pt_budget_fly(const struct pt_record *r);
void pt_budget_land(const struct pt_record *r);
void pt_budget_expect(size_t pending);
void pt_budget_expect_less(size_t pending);

/* Blocks that threads keep in magazines count as used until they are told here. */
void pt_budget_unkeep(size_t bytes);

/* Whether so many bytes more in use are a new peak. */
bool pt_budget_raises_peak(size_t more);

/* Bytes of dropped blocks that a device still uses; of these, small ones. */
size_t pt_budget_flying(void);
size_t pt_budget_flying_small(void);

/* Bytes of the small region that are locked and nobody's: free runs, and what was locked ahead of need. And whether it
 * is worth purging now: sooner where that takes no registration back. */
size_t pt_budget_small_unused(void);
bool pt_budget_small_is_too_much(bool registers);

/* Whether a request is small beside all that is in use: it is sent to chunks for such ones first. */
bool pt_budget_is_small(size_t need);

/* Whether a request had better get fresh memory than the free part: a small one would keep a large part from its like,
 * and there is room. */
bool pt_budget_spares(size_t need, uint32_t part);

/* How to register fresh memory for a request, which is pending: what waits and is of no use to it has to go first, so
 * many bytes; then a chunk of such a size. `apart`: the request was spared a large part. */
struct pt_plan {
    size_t len, evict;
    bool small; /* for small requests in general */
};
struct pt_plan pt_budget_plan(size_t need, bool apart);

/* The chunk's size again, after the eviction: less went than was hoped for. */
size_t pt_budget_fit(size_t need, size_t len);

/* A chunk of so many bytes had to go for room. */
void pt_budget_evicted(size_t bytes);

/* By how much mlocked memory that waits is too much, while so many bytes are pending. */
size_t pt_budget_mlocked_over(void);

/* By how much all that is locked is too much, if nothing grows any more. */
size_t pt_budget_over(void);

#endif
