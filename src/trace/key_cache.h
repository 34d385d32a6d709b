/* Sites by a key of the stack. Old ones make room for new ones; one whose number has become another site's is not
 * found. No lock, any thread. */
#ifndef PT_KEY_CACHE_H
#define PT_KEY_CACHE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PT_KEY_CACHE_PLACES ((size_t)16 << 10)

struct pt_key_cache {
    _Atomic uint64_t places[PT_KEY_CACHE_PLACES]; /* half the key, and the site */
};

/* 0: not known. */
uint32_t pt_key_cache_find(const struct pt_key_cache *c, uint64_t key);
void pt_key_cache_enter(struct pt_key_cache *c, uint64_t key, uint32_t site);

#endif
