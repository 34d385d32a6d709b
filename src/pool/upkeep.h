/* What keeps the pool in order beside taking and giving: what threads keep is gathered, what is idle or unwanted goes. With no lock held unless it says otherwise. */
#ifndef PT_UPKEEP_H
#define PT_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>

void pt_upkeep_reset(void);

/* What threads keep in magazines comes into the free cache: with the pool's lock held; and the same with the magazines stopped
 * already. */
void pt_upkeep_drain(void);
void pt_upkeep_drain_stopped(void);

/* The same for all of them, or by one of drain.h's functions. */
void pt_upkeep_take_back_all(void);
void pt_upkeep_take_back(size_t (*from)(void));

/* pt_counters_mark(), with what threads keep taken back. */
void pt_upkeep_mark(void);

/* Bytes locked and free: the free cache, free runs of the small region, what flies. */
size_t pt_upkeep_cached(void);

/* Gives back all that is not in use; returns the bytes. Waits for a device that is busy, as its driver does. */
size_t pt_upkeep_trim(void);

/* The small region has too much that is free: it goes, by the background thread where a device could be waited for. */
void pt_upkeep_purge_small(void);

/* Something became idle: has the background thread look after it if it is worth a thread, which a program of one thread
 * would notice: it may not unshare() any more, and Python warns of its forks. Cheap. */
void pt_upkeep_watch(void);

/* What the background thread does: what others left to it, and now and then a look at what has been idle for too long;
 * false when nothing is left to watch. */
void pt_upkeep_work(void);
bool pt_upkeep_tick(void);

#endif
