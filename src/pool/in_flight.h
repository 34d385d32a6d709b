/* Copies in flight: which streams of a device use a block, so that its memory is not handed out again before they are done
 * with it, and the thread that drops it does not wait for that.
 *
 * What is seen: torch's record_event, and the copies that callers of a dynamic CUDA runtime make. Not seen: a runtime that
 * is linked statically, the driver's own functions, kernels that read pinned memory directly (PINTENSOR_REUSE=strict). */
#ifndef PT_IN_FLIGHT_H
#define PT_IN_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Forgets everything, for a fresh table. */
void pt_in_flight_reset(void);

enum { PT_IN_FLIGHT_CURRENT = -1 }; /* for `device`: that of the stream, or of the context that this thread has current */

/* A stream uses the block around `p`. `until_drop`: all that the stream is given until the block is dropped counts, as torch
 * promises, and the stream must outlive it; else what it was given so far. While the stream is being captured, the block
 * is marked: a graph may be replayed at any time, so it is never handed out again. False: `p` is in no live block of ours.
 * With no lock held. */
bool pt_in_flight_use(const void *p, void *stream, int device, bool until_drop);

/* Whether the block that ends now has to wait. With the pool's lock held. */
struct pt_record;
bool pt_in_flight_holds(const struct pt_record *r);

/* A block that has to wait, PT_FLYING since, begins to. With no lock held. */
void pt_in_flight_depart(uint32_t number);

/* Blocks whose devices are done with them, chained by `next`; 0 if there are none. FEW: looks at some that wait; ALL: at all
 * of them; WAIT: once the devices have finished, unless a capture runs. With no lock held; cheap when nothing waits. */
enum pt_in_flight_effort { PT_IN_FLIGHT_FEW, PT_IN_FLIGHT_ALL, PT_IN_FLIGHT_WAIT };
uint32_t pt_in_flight_landed(enum pt_in_flight_effort effort);

bool pt_in_flight_waiting(void);

/* A capture begins (1) or ends (-1): meanwhile nobody waits for a device, since that would end the capture (seen with CUDA 13, in
 * any mode of the waiting thread). */
void pt_in_flight_capture(int change);

/* Whether any block waits for more than the streams that are known of. */
bool pt_in_flight_strict(void);

#endif
