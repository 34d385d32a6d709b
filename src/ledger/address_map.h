/* The index from addresses to record numbers. Writers hold the pool's lock, readers nothing. A leaf. */
#ifndef PT_ADDRESS_MAP_H
#define PT_ADDRESS_MAP_H

#include "memory/book.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One index: an entry a granule over a part of the range, opened as far as it is used. The low half of an entry is
 * the record's number; in the small region the high half is how many bytes of a live block follow from the granule's
 * start, so that one load tells whether an address is covered. */
struct pt_address_map {
    _Atomic uint64_t *entries;
    size_t granule;
    struct pt_book book;
};

/* An index over `span` bytes. Returns 0 or -ENOMEM. */
int pt_address_map_init(struct pt_address_map *l, size_t span, size_t granule);

/* Makes the entries up to an offset usable. Returns 0 or -errno. */
int pt_address_map_open(struct pt_address_map *l, size_t offset_end);

/* Fills in the granules of a block. `covered`: with the bytes that follow, else with none. */
void pt_address_map_set(struct pt_address_map *l, size_t offset, size_t len, uint32_t number, bool covered);

/* The entry of an offset; 0 where there is none. */
static inline uint64_t pt_address_map_get(const struct pt_address_map *l, size_t offset)
{
    size_t i = offset / l->granule;
    if (!pt_book_has(&l->book, (i + 1) * sizeof(uint64_t))) {
        return 0;
    }
    return atomic_load_explicit(&l->entries[i], memory_order_acquire);
}

static inline uint32_t pt_address_map_number(uint64_t entry)
{
    return (uint32_t)entry;
}

static inline size_t pt_address_map_left(uint64_t entry)
{
    return entry >> 32;
}

#endif
