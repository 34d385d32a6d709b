/* Room for what stream_use.c notes: uses of blocks by streams, a million at most. Each keeps its event when it is given
 * back, for the next use in the same place, since to make one costs. A *place* is a context that streams lie in. */
#ifndef PT_USE_STORE_H
#define PT_USE_STORE_H

#include "device/runtime.h"

#include <stdbool.h>
#include <stdint.h>

enum { PT_PLACES_MOST = 64 };

/* One stream's use of one block. `next` links the uses of a block, or the spare ones of a place.
 *
 * The pool's lock guards all fields, and the record's `uses`, while the block lives and while the use is spare. In
 * between, once the block is dropped, they belong to whoever looks at it, and to no one else: see in_flight.h. */
struct pt_use {
    void *stream, *event;
    uint32_t next;
    uint64_t identity; /* of the stream: its handle may be another one's once it is destroyed, though it still works */
    uint16_t place;
    bool busy;       /* a thread asks the driver for it without the lock: no other one does, while the block lives */
    bool marked;     /* the event says how far the stream has to get; else all that it is given until the drop counts */
    bool until_drop; /* somebody wants the latter, whatever others want */
};

/* In line: number 0 is none. */
extern struct pt_use *pt_use_store;
static inline struct pt_use *pt_use(uint32_t number)
{
    return pt_use_store + number;
}

/* Forgets everything, for a fresh table. */
void pt_use_store_reset(void);

/* ---- with the pool's lock held ---- */

/* The number of a place; PT_PLACES_MOST: there is no room for one more. */
uint32_t pt_use_store_place(const struct pt_place *at);

/* A use in that place, in which nothing but `event` and `place` is set; 0: there is no room. */
uint32_t pt_use_store_take(uint32_t place);
void pt_use_store_give(uint32_t number);

/* An event whose use is gone is spare. */
void pt_use_store_give_event(const struct pt_place *at, void *event);

/* ---- for whoever has the use ---- */

const struct pt_place *pt_use_store_place_of(const struct pt_use *u);

#endif
