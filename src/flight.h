/* Copies in flight: which streams of a device use a block, so that its memory is not handed out again before they are done
 * with it, and nobody waits for that. */
#ifndef PT_FLIGHT_H
#define PT_FLIGHT_H

#include <stdbool.h>

enum { PT_FLIGHT_CURRENT = -1 }; /* for `device`: that of the stream, or of the context that this thread has current */

/* A stream uses the block around `p`. `until_drop`: all that the stream is given until the block is dropped counts, as torch
 * promises, and the stream must outlive it; else what it was given so far. While the stream is being captured, the block
 * is marked: a graph may be replayed at any time, so it is never handed out again. False: `p` is in no live block of ours.
 * With no lock held. */
bool pt_flight_use(const void *p, void *stream, int device, bool until_drop);

#endif
