/* Giving parts and chunks back. mlocked memory goes at once. A registration is taken back by the background thread, since the
 * driver waits for all that the device was given and holds up other threads' launches meanwhile; only who asks for memory back,
 * or for memory where there is none, does it himself. With no lock held. */
#ifndef PT_EVICTION_H
#define PT_EVICTION_H

#include <stddef.h>
#include <stdint.h>

void pt_eviction_reset(void);

/* Busy parts, chained by `next`, go: chunks that are registered whole, parts of mlocked ones. Returns their bytes. */
size_t pt_eviction_now(uint32_t first);

/* The same, but registered ones are left to the background thread. */
void pt_eviction_later(uint32_t first);

/* The background thread's share of it, or that of who wants the memory back now. Returns the bytes. */
size_t pt_eviction_left(void);

/* With the pool's lock held: mlocked parts that are more than the budget allows, as busy ones chained by `next`. */
uint32_t pt_eviction_choose_mlocked(void);

/* A busy part of an mlocked chunk that is not locked becomes a hole. Once there is nothing else in the chunk, its addresses go
 * back. */
void pt_eviction_hole(uint32_t number);

/* Lets the background thread get on with what it was left, since memory was locked in its place: for a moment, and for 20 ms at
 * most if it is much. Or for 20 ms with all of it. */
void pt_eviction_give_way(void);
void pt_eviction_give_way_to_all(void);

#endif
