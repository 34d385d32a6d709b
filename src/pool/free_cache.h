/* The free cache: parts of chunks that nobody uses, by size and by age. Pure book-keeping over table records: no system
 * call, no jemalloc. Every call with the pool's lock held. */
#ifndef PT_FREE_CACHE_H
#define PT_FREE_CACHE_H

#include <stddef.h>
#include <stdint.h>

/* What a free part is: mlocked; registered with a device; registered, and of a chunk for small requests; or nothing but
 * addresses, which can be mlocked when they are needed. */
enum pt_free_kind { PT_FREE_MLOCKED, PT_FREE_REGISTERED, PT_FREE_SMALL, PT_FREE_HOLE, PT_FREE_KINDS };

void pt_free_cache_init(void);

/* The part, whose `capacity` is its size, waits since `born_ns`. */
void pt_free_cache_put(uint32_t number, enum pt_free_kind kind);
void pt_free_cache_remove(uint32_t number, enum pt_free_kind kind);

/* The best match for `need` bytes: the smallest that is large enough, as far as bins of an eighth of a doubling tell them
 * apart; the newest of equal ones. 0: none. It stays in the cache. */
uint32_t pt_free_cache_best(size_t need, enum pt_free_kind kind);

/* The mlocked part that waits longest, and the one that waits longest after it; 0 if there is none or it began to wait after
 * `before_ns`. */
uint32_t pt_free_cache_oldest(uint64_t before_ns);
uint32_t pt_free_cache_next_oldest(uint32_t number, uint64_t before_ns);

/* Bytes that wait. */
size_t pt_free_cache_bytes(enum pt_free_kind kind);

/* What waits locked, of all kinds. */
size_t pt_free_cache_locked(void);

#endif
