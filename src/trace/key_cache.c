#include "trace/key_cache.h"

#include "ledger/table.h"

#define SITE ((uint64_t)UINT32_MAX)

static size_t place_of(uint64_t key)
{
    return key >> 8 & (PT_KEY_CACHE_PLACES - 1);
}

uint32_t pt_key_cache_find(const struct pt_key_cache *c, uint64_t key)
{
    size_t at = place_of(key);
    for (size_t i = 0; i < 2; i++) {
        /* The site's row is filled before its number is entered here. */
        uint64_t entry = atomic_load_explicit(&c->places[at ^ i], memory_order_acquire);
        if (entry >> 32 == key >> 32 && entry != 0) {
            uint32_t site = (uint32_t)(entry & SITE);
            return pt_table_site_is(site) ? site : 0;
        }
    }
    return 0;
}

void pt_key_cache_enter(struct pt_key_cache *c, uint64_t key, uint32_t site)
{
    if (site == 0) {
        return;
    }
    size_t at = place_of(key);
    uint64_t before = atomic_exchange(&c->places[at], (key & ~SITE) | site);
    if (before != 0 && before >> 32 != key >> 32) {
        atomic_store(&c->places[at ^ 1], before);
    }
}
