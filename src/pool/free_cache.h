/* Freed blocks of the exact region that stay locked, to be found again by size or by age. Pure book-keeping over
 * table records: no system call, no jemalloc. Every call with the manager's lock held. */
#ifndef PT_FREE_CACHE_H
#define PT_FREE_CACHE_H

#include <stddef.h>
#include <stdint.h>

void pt_free_cache_init(void);

/* Adds a record whose state is PT_CACHED and which waits since then; its `locked` bytes count as cached. */
void pt_free_cache_put(uint32_t number, uint64_t since_ns);

/* Takes out the best match for `need` locked bytes: the same size, else a little larger, else a smaller one with
 * enough address space behind it that can be topped up; 0 if none. */
uint32_t pt_free_cache_take(size_t need);

/* Takes out the block that waits longest; 0 if there is none or it began to wait after `before_ns`. */
uint32_t pt_free_cache_take_oldest(uint64_t before_ns);

size_t pt_free_cache_bytes(void);

#endif
