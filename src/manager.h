/* The manager: the life of blocks, from the request to the last drop. With what lies below it (room, account, ending) the
 * only writer of the table's records and counters.
 *
 * Lock order: guard -> (nothing). jemalloc, system calls that may take long, Python and libtorch are all called with no
 * lock held. */
#ifndef PT_MANAGER_H
#define PT_MANAGER_H

#include "table.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_request {
    uint32_t manager; /* from pt_keys_new or pt_keys_of */
    size_t bytes;     /* > 0 */
    int dtype;        /* for the report; PT_DTYPE_NONE for a raw block */
    enum pt_door door;
    bool tensor;        /* goes back when dropped, not at free() */
    const void *caller; /* return address of the exported call */
};

/* A block as its holder knows it: the generation makes a late drop harmless. */
struct pt_block {
    void *base;
    uint32_t number, generation;
};

/* Whether pintensor is not switched off. For a door that has to know before the first block: reads the options if nobody
 * has, and sets nothing else up. */
bool pt_manager_wanted(void);

/* First use in this process (or in a forked child): options, range, arenas, table. Returns 0, or -ENODEV when
 * pintensor is off or cannot work here; then the caller does what stock does. Cheap when done already. */
int pt_manager_start(void);

/* Forgets everything, for a fresh range and table. */
void pt_manager_reset(void);

/* The manager goes, and its key: tensors' blocks are released, raw blocks given back. */
void pt_manager_close(uint32_t manager);

/* Returns 0, -ENOMEM (pt_lock_error() and pt_manager_explain say why) or -ENODEV. */
int pt_manager_alloc(const struct pt_request *request, struct pt_block *out);

/* Why the last pt_manager_alloc of this thread failed, in one sentence. */
void pt_manager_explain(size_t bytes, struct pt_text *out);

/* free(address): 0, or -ENOENT with the misuse counted. NULL is -ENOENT and no misuse. */
int pt_manager_release(uint32_t manager, void *address, const void *caller);

/* The same for one block and no other: -ESTALE if its memory is another block's by now. */
int pt_manager_release_block(uint32_t manager, const struct pt_block *block, const void *caller);

/* The last tensor of the block is gone. */
void pt_manager_drop(const struct pt_block *block);

#endif
