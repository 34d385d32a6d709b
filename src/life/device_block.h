/* Blocks in the place of what CUDA would have pinned: torch's, and what programs ask of cudaHostAlloc where
 * PINTENSOR_SERVE=all. They are the device's too, or there is none. With no lock held. */
#ifndef PT_DEVICE_BLOCK_H
#define PT_DEVICE_BLOCK_H

#include "life/block.h"

/* After pt_init(). Returns 0; -ENODEV: what would have served without us serves; else as pt_block_alloc(). */
int pt_device_block_alloc(const struct pt_request *request, struct pt_block *out);

/* cudaHostAlloc(): 0; -ENODEV as above, also where none of it is to be served; -ENOMEM: PINTENSOR_LIMIT refuses it. */
int pt_device_block_pin(size_t bytes, const void *caller, void **out);

/* cudaFreeHost(): waits for what the devices were given, unless a capture is under way: then the memory does. False:
 * `p` is not the start of such a block. */
bool pt_device_block_unpin(void *p);

#endif
