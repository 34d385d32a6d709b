/* Which streams of a device use a block, so that its memory is not handed out again before they are done with it:
 * in_flight.h has the blocks that wait for that.
 *
 * What is seen: torch's record_event, and the copies that callers of a dynamic CUDA runtime make. Not seen: a runtime
 * that is linked statically, the driver's own functions, kernels that read pinned memory directly
 * (PINTENSOR_REUSE=strict). */
#ifndef PT_STREAM_USE_H
#define PT_STREAM_USE_H

#include <stdbool.h>
#include <stdint.h>

/* Forgets everything, for a fresh table. */
void pt_stream_use_reset(void);

enum {
    PT_STREAM_USE_CURRENT = -1
}; /* for `device`: that of the stream, or of the context that this thread has current */

/* A stream uses the block around `p`. `until_drop`: all that the stream is given until the block is dropped counts, as
 * torch promises, and the stream must outlive it; else what it was given so far. While the stream is being captured,
 * the block is marked: a graph may be replayed at any time, so it is never handed out again. False: `p` is in no live
 * block of ours. With no lock held. */
bool pt_stream_use_note(const void *p, void *stream, int device, bool until_drop);

/* A block that was dropped, and is the caller's alone: how far its streams are by now is noted, as far as it is not
 * yet; and whether they all got that far. With no lock held: the driver is asked. */
struct pt_record;
void pt_stream_use_mark(const struct pt_record *r);
bool pt_stream_use_is_over(const struct pt_record *r);

/* The block has no uses any more. With the pool's lock held, and the block the caller's. */
void pt_stream_use_end(struct pt_record *r);

/* A capture begins (1) or ends (-1): meanwhile nobody waits for a device, since that would end the capture (seen with
 * CUDA 13, in any mode of the waiting thread). And whether any is under way. */
void pt_stream_use_capture(int change);
bool pt_stream_use_captures(void);

#endif
