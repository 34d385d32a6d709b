/* Address space: one reserved range with two regions. In the SMALL region whole segments are locked before
 * jemalloc carves blocks out of them; in the EXACT region segments are only addresses, and each block's own
 * pages are locked by whoever made it. Called under jemalloc's locks: allocates nothing. */
#ifndef PT_SEGMENTS_H
#define PT_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>

struct pt_range {
    char *base;
    size_t small; /* [base, base + small) is the SMALL region, the rest EXACT */
    size_t size;
};

/* Reserves a fresh range and forgets an older one, which stays mapped (a forked child keeps its parent's).
 * Returns 0 or -ENOMEM. */
int pt_segments_init(void);

const struct pt_range *pt_segments_range(void);

/* A new segment; NULL when locking failed (pt_pin_error says why) or the region is used up. */
void *pt_segments_take_small(size_t size, size_t align);
void *pt_segments_take_exact(size_t size, size_t align);

/* A part of the SMALL region is given back, to be unlocked, or is needed again. While there are too many holes already
 * it stays locked until a sweep finds it next to others. Registered chunks go by a sweep alone, and by one that is told to:
 * it waits for the device. */
void pt_segments_unlock(void *p, size_t len);
int pt_segments_relock(void *p, size_t len);
void pt_segments_sweep(bool registered_too);

/* The chunks that are registered are registered once more: the device's driver may have forgotten them. */
void pt_segments_register_again(void);

/* Whether a block of the SMALL region may lie across this address. */
bool pt_segments_joined(const void *border);

/* Unlocks what was locked ahead of need. */
void pt_segments_unlock_ahead(void);

/* Whether the page of the SMALL region was registered with a device rather than mlocked. */
bool pt_segments_registered(const void *p);

/* Bytes of the SMALL region that are locked now; of these, what is left of the latest registered chunk, which can only go
 * back whole. */
size_t pt_segments_small_locked(void);
size_t pt_segments_small_spare(void);

/* At exit: unlocks the SMALL region without touching its contents. */
void pt_segments_unlock_all(void);

#endif
