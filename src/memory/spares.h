/* The small regions that were freed last, one of each size class, kept for the next request. jemalloc would give an
 * empty slab back and make it anew for each block of a program that has one at a time, which takes longer than all the
 * rest of a cycle. No lock: a region belongs to whoever takes it out of its place. */
#ifndef PT_SPARES_H
#define PT_SPARES_H

#include <stdbool.h>
#include <stddef.h>

/* Forgets all: a forked child's arena is another. */
void pt_spares_init(void);

/* `usable` is a size class of the arena. NULL: none, or none that is so aligned. */
void *pt_spares_take(size_t usable, size_t align);

/* False: that class has one already. */
bool pt_spares_put(void *p, size_t usable);

/* One of any class, to be freed; NULL: there are no more. */
void *pt_spares_take_any(void);

#endif
