/* The life of a block, from the request to the last drop: whose it is, who may free it, and when it really ends. Its memory is
 * the pool's business. With no lock held. */
#ifndef PT_BLOCK_H
#define PT_BLOCK_H

#include "base/text.h"
#include "ledger/table.h"
#include "pool/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_request {
    uint32_t manager; /* from pt_managers_new or pt_managers_of */
    size_t bytes;     /* > 0 */
    int dtype;        /* for the report; PT_DTYPE_NONE for a raw block */
    enum pt_door door;
    bool tensor;        /* goes back when dropped, not at free() */
    const void *caller; /* return address of the exported call */
};

/* Returns 0, -ENOMEM (pt_pin_error() and pt_block_explain say why) or -ENODEV. */
int pt_block_alloc(const struct pt_request *request, struct pt_block *out);

/* Whether the last pt_block_alloc of this thread failed for PINTENSOR_LIMIT alone. */
bool pt_block_limited(void);

/* Why it failed, in one sentence. */
void pt_block_explain(size_t bytes, struct pt_text *out);

/* free(address): 0, or -ENOENT with the misuse counted. NULL is -ENOENT and no misuse. */
int pt_block_release(uint32_t manager, void *address, const void *caller);

/* The same for one block and no other: -ESTALE if its memory is another block's by now. */
int pt_block_release_block(uint32_t manager, const struct pt_block *block, const void *caller);

/* Its only holder gives the block back: what pt_block_release_block and pt_block_drop do together, in one go. False: it was not
 * alive. */
bool pt_block_end(const struct pt_block *block);

/* The last tensor of the block is gone. */
void pt_block_drop(const struct pt_block *block);

/* The manager goes, and its key: tensors' blocks are released, raw blocks given back. */
void pt_block_close_manager(uint32_t manager);

#endif
