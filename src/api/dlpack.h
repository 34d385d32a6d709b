/* Tensors by DLPack's ABI on blocks of ours: for numpy, JAX, torch and whoever else takes them, without a copy. No lock
 * held. */
#ifndef PT_DLPACK_H
#define PT_DLPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_DLPACK_DIMS 8 /* at most */

struct pt_dlpack_request {
    int dims;
    const int64_t *shape;
    int dtype;      /* c10::ScalarType */
    bool versioned; /* a DLManagedTensorVersioned, else a DLManagedTensor */
    const void *caller;
};

/* Bytes that a tensor of this shape takes; SIZE_MAX: no such shape or size, or no such type in DLPack. */
size_t pt_dlpack_bytes(const struct pt_dlpack_request *request);

/* A contiguous tensor on a block of its own, which ends with it. It belongs to no manager that anybody has: only the
 * consumer's call of the deleter ends it. Returns 0, -EINVAL, or an error of pt_block_alloc. */
int pt_dlpack_alloc(const struct pt_dlpack_request *request, void **out);

#endif
