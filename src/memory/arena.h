/* jemalloc's arena for small blocks, whose segments are locked by its hooks. No other file calls jemalloc. */
#ifndef PT_ARENA_H
#define PT_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/* Around all of setting up: no fork() of another thread has a child meanwhile. Returns 0, or a negative errno where this
 * process was made past libc's fork(), or by a signal handler, while a thread of its parent's was inside jemalloc: then there is
 * nothing to end. */
int pt_arena_shut_out_forks(void);
void pt_arena_let_forks_in(void);

/* Creates a fresh arena on the current range (pt_segments_init). Returns 0 or a negative errno. */
int pt_arena_init(void);

/* Memory from the arena, locked; `usable` gets the size class. NULL: pt_pin_error() says why. */
void *pt_arena_small(size_t size, size_t align, size_t *usable);
void pt_arena_small_free(void *p);

/* The largest size that the arena serves without a page of padding. */
#define PT_ARENA_SLAB_MOST ((size_t)14 << 10)

/* Gives back free runs of the arena: those that have been idle for a while and are mlocked; or all, which waits for a
 * device that is busy. */
void pt_arena_small_decay(void);
void pt_arena_small_purge(void);
void pt_arena_small_idle(size_t seconds);

#endif
