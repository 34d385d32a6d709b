/* Address space in segments. In the SMALL region whole segments are locked before jemalloc carves blocks out of them;
 * in the EXACT region segments are only addresses, which may not be mapped yet, and each block's own pages are locked
 * by whoever made it. Called under jemalloc's locks too: allocates nothing. */
#ifndef PT_SEGMENTS_H
#define PT_SEGMENTS_H

#include "memory/windows.h"

#include <stdbool.h>
#include <stddef.h>

/* A fresh range, see windows.h. Returns 0 or -ENOMEM. */
int pt_segments_init(void);

const struct pt_range *pt_segments_range(void);

/* A new segment; NULL when locking failed (pt_pin_error says why) or the region is used up. */
void *pt_segments_take_small(size_t size, size_t align);

/* Addresses of the EXACT region for so many bytes, aligned to PT_HUGE; NULL: there are none. Given back as they were
 * taken. */
void *pt_segments_take_exact(size_t size);
void pt_segments_give_exact(void *p);

/* Part of an exact segment is to be used: it becomes readable and writable. -EEXIST: somebody else's memory lies there.
 */
int pt_segments_open(void *p, size_t len);

/* Pages in windows that others may have treated with mprotect, madvise or mbind are as they were when they were opened.
 * An error: they may not be. */
int pt_segments_plain(void *p, size_t len);

/* munlockall() was called: the SMALL region is locked again. */
void pt_segments_lock_again(void);

/* Whether an address of the range is ours; no lock. */
bool pt_segments_is_open(const void *p);

/* How many addresses of the EXACT region are worth taking at once, where they are to be opened part by part. */
size_t pt_segments_stride(void);

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
