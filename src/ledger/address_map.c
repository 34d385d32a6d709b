#include "ledger/address_map.h"

#include "memory/pages.h"

#include <errno.h>

int pt_address_map_init(struct pt_address_map *l, size_t span, size_t granule)
{
    l->granule = granule;
    l->bytes = pt_pages_up(span / granule * sizeof(uint64_t), PT_PAGE);
    l->entries = pt_pages_reserve(l->bytes);
    atomic_store(&l->opened, 0);
    return l->entries != NULL ? 0 : -ENOMEM;
}

int pt_address_map_open(struct pt_address_map *l, size_t offset_end)
{
    size_t need = pt_pages_up((offset_end / l->granule + 1) * sizeof(uint64_t), PT_HUGE);
    size_t opened = atomic_load(&l->opened);
    need = need < l->bytes ? need : l->bytes;
    if (need <= opened) {
        return 0;
    }
    int error = pt_pages_open((char *)l->entries + opened, need - opened);
    if (error == 0) {
        pt_pages_want_huge((char *)l->entries + opened, need - opened); /* lookups jump: spare them TLB misses */
        atomic_store_explicit(&l->opened, need, memory_order_release);
    }
    return error;
}

void pt_address_map_set(struct pt_address_map *l, size_t offset, size_t len, uint32_t number, bool covered)
{
    size_t end = offset + len;
    for (size_t i = offset / l->granule; i * l->granule < end; i++) {
        uint64_t left = covered ? end - i * l->granule : 0;
        atomic_store_explicit(&l->entries[i], left << 32 | number, memory_order_release);
    }
}
