/* The pool: pinned memory for blocks. A request goes down once (pt_pool_take) and comes back with a live block; a block that
 * ends goes down once (pt_pool_give). Small blocks come from jemalloc's slabs, all others are parts of chunks. A record's memory is
 * written here and below alone; life/ adds who freed a block, and when. Nothing here knows of tensors' deleters or of
 * managers. */
#ifndef PT_POOL_H
#define PT_POOL_H

#include "ledger/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block as its holder knows it: the generation makes a late drop harmless. */
struct pt_block {
    void *base;
    uint32_t number, generation;
};

/* What a block is to be, and what its record says. */
struct pt_birth {
    size_t bytes; /* > 0 */
    uint32_t manager, site;
    int dtype;         /* PT_DTYPE_NONE for a raw block */
    enum pt_door door;
    bool tensor;       /* goes back when dropped, not at free() */
    uint64_t asked_ns; /* when it was asked for */
};

void pt_pool_reset(void);

/* A live block: 0, or a negative errno; then nothing has changed. Takes the lock once where memory of such a size is free. */
int pt_pool_take(const struct pt_birth *birth, struct pt_block *out);

/* The same, without a lock on its pages. */
int pt_pool_take_pageable(const struct pt_birth *birth, struct pt_block *out);

/* A live block ends: its memory waits for a device that uses it, or for reuse. `reclaimed`: without a free(). Called with the
 * pool's lock held and the record's owner's; returns without either. */
struct pt_magazine;
void pt_pool_give(uint32_t number, bool reclaimed, struct pt_magazine *owner);

#endif
