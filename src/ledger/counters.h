/* The counters: what is alive, what was at the peak, and what the same requests would have cost elsewhere. Every call
 * with the pool's lock held. */
#ifndef PT_COUNTERS_H
#define PT_COUNTERS_H

#include "ledger/table.h"

/* `asked_ns`: when it was asked for; the record says when it was there. */
void pt_counters_alloc(struct pt_record *r, bool reused, uint64_t asked_ns);

/* free() was called, or its manager is gone: stock DeepSpeed's memory goes back here. */
void pt_counters_release(struct pt_record *r);

/* The block is gone. `reclaimed`: without a free(). */
void pt_counters_drop(struct pt_record *r, bool reclaimed);

/* As they are at this moment, or nearly. Needs no lock. */
void pt_counters_copy(const struct pt_counters *from, struct pt_counters *to);

/* Adds a live block to its site's held ones, or to those of a copy of its site. Needs no lock. */
void pt_counters_held(struct pt_site *s, const struct pt_record *r);

/* Counts all live blocks into their sites' held ones, or into those of a copy of the sites. Needs no lock. */
void pt_counters_count_held(struct pt_site *all, uint32_t sites);

/* What a site had alive when peak_bytes was reached. Blocks in a thread's magazine count for the site that had them
 * when the thread last told. */
struct pt_at_peak {
    uint64_t blocks, bytes, locked;
};
struct pt_at_peak pt_counters_at_peak(const struct pt_counters *c, const struct pt_site *s);

/* From here on the mark's own peak is counted anew. With what threads keep drained, else it would count for alive. */
void pt_counters_mark(void);

/* Whether the counters' peaks would rise if such a block went live. */
bool pt_counters_raises_peak(uint64_t asked, uint64_t locked);

/* The latest serial number of a block that was handed out. */
extern uint64_t pt_counters_serial;

/* ---- what one thread did without the pool's lock, until it is folded into the counters ----
 *
 * A block that waits in the thread's hands is not alive for its site any more, but stays alive for the counters of the
 * process, which so are never below the truth while blocks come and go unseen; pt_counters_kept_drop() ends that. */

#define PT_TALLY_SITES 8

struct pt_tally {
    uint64_t allocated;
    uint64_t bytes, stock, pow2; /* what to add to the counters, modulo 2^64 */
    uint32_t sites, latest;      /* used ones of `site`; the site that allocated last, */
    uint64_t latest_ns;          /* and when */
    struct pt_tally_site {
        uint32_t site;
        int8_t dtype;
        uint8_t door;
        uint64_t allocated, visits, smallest, largest, first_ns, asked_ns, last_ns;
        uint64_t idle_ns;             /* between the allocations of a visit: growth.h */
        uint64_t live, bytes, locked; /* modulo 2^64 */
        int64_t low, high;            /* the least of `live` before an allocation, the most after one */
    } site[PT_TALLY_SITES];
};

/* Whether there is room for what happens to a site. */
bool pt_counters_has_place(const struct pt_tally *t, uint32_t site);

/* A block that waits in the thread's hands is about to be used for `bytes`; false if that could raise a peak unseen. */
bool pt_counters_kept_take(struct pt_tally *t, const struct pt_record *r, uint64_t bytes);

/* The calls above, for blocks that are or will be in the thread's hands. */
void pt_counters_kept_alloc(struct pt_tally *t, const struct pt_record *r, uint64_t asked_ns);
void pt_counters_kept_release(struct pt_tally *t, const struct pt_record *r);
void pt_counters_kept_end(struct pt_tally *t, const struct pt_record *r);

/* With the pool's lock held: adds it to the counters, and starts anew. */
void pt_counters_fold(struct pt_tally *t);

/* With the pool's lock held: a block leaves the thread's hands for the cache. The tally is folded in. */
void pt_counters_kept_drop(const struct pt_record *r);

#endif
