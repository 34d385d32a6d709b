#include "ledger/address_map.h"

int pt_address_map_init(struct pt_address_map *l, size_t span, size_t granule)
{
    int error = pt_book_init(&l->book, span / granule * sizeof(uint64_t));
    l->granule = granule;
    l->entries = l->book.base;
    return error;
}

int pt_address_map_open(struct pt_address_map *l, size_t offset_end)
{
    size_t need = (offset_end / l->granule + 1) * sizeof(uint64_t);
    return pt_book_open(&l->book, need < l->book.most ? need : l->book.most);
}

void pt_address_map_set(struct pt_address_map *l, size_t offset, size_t len, uint32_t number, bool covered)
{
    size_t end = offset + len;
    for (size_t i = offset / l->granule; i * l->granule < end; i++) {
        uint64_t left = covered ? end - i * l->granule : 0;
        atomic_store_explicit(&l->entries[i], left << 32 | number, memory_order_release);
    }
}
