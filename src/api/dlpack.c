#include "api/dlpack.h"

#include "base/dtype.h"
#include "life/block.h"
#include "life/init.h"
#include "life/managers.h"
#include "memory/cells.h"
#include "pintensor/dlpack.h"

#include <errno.h>

/* What the consumer gets, with all that it points to. */
struct shell {
    union {
        DLManagedTensor old;
        DLManagedTensorVersioned versioned;
    };
    struct pt_block block; /* base NULL: a tensor without elements has none */
    int64_t shape[PT_DLPACK_DIMS], strides[PT_DLPACK_DIMS];
};
_Static_assert(sizeof(struct shell) <= PT_CELLS_BYTES, "a shell fits into a cell");

/* Of all these blocks, so that nobody can free() them under their consumer's hands. */
static uint32_t manager(void)
{
    static const char key;
    return pt_managers_of(&key, true);
}

static void end(struct shell *s)
{
    if (s->block.base != NULL) {
        (void)pt_block_end(&s->block); /* false in a forked child: the block is its parent's */
    }
    pt_cells_give(s);
}

static void delete_old(DLManagedTensor *self)
{
    if (self != NULL) {
        end(self->manager_ctx);
    }
}

static void delete_versioned(DLManagedTensorVersioned *self)
{
    if (self != NULL) {
        end(self->manager_ctx);
    }
}

size_t pt_dlpack_bytes(const struct pt_dlpack_request *q)
{
    if (q->dims < 0 || q->dims > PT_DLPACK_DIMS || (q->shape == NULL && q->dims > 0) || pt_dtype_dlpack(q->dtype) < 0) {
        return SIZE_MAX;
    }
    size_t bytes = pt_dtype_size(q->dtype);
    bool empty = false;
    for (int i = 0; i < q->dims; i++) {
        empty = empty || q->shape[i] == 0;
        if (q->shape[i] < 0 || __builtin_mul_overflow(bytes, q->shape[i] == 0 ? 1 : (size_t)q->shape[i], &bytes)) {
            return SIZE_MAX;
        }
    }
    return empty ? 0 : bytes;
}

static void fill(struct shell *s, const struct pt_dlpack_request *q)
{
    int64_t stride = 1;
    for (int i = q->dims - 1; i >= 0; i--) {
        s->shape[i] = q->shape[i];
        s->strides[i] = stride;
        stride *= q->shape[i] == 0 ? 1 : q->shape[i];
    }
    /* kDLCPU even where a GPU's driver has registered the memory: every consumer takes it, while torch refuses
     * kDLCUDAHost; and CUDA tells registered memory by its address, whatever it is called here. */
    DLTensor tensor = {.data = s->block.base,
                       .device = {.device_type = kDLCPU},
                       .ndim = q->dims,
                       .dtype = {.code = (uint8_t)pt_dtype_dlpack(q->dtype),
                                 .bits = (uint8_t)(8 * pt_dtype_size(q->dtype)),
                                 .lanes = 1},
                       .shape = s->shape,
                       .strides = s->strides};
    if (q->versioned) {
        s->versioned = (DLManagedTensorVersioned){
            .version = {.major = 1}, .manager_ctx = s, .deleter = delete_versioned, .dl_tensor = tensor};
    } else {
        s->old = (DLManagedTensor){.dl_tensor = tensor, .manager_ctx = s, .deleter = delete_old};
    }
}

int pt_dlpack_alloc(const struct pt_dlpack_request *q, void **out)
{
    size_t bytes = pt_dlpack_bytes(q);
    if (bytes > PTRDIFF_MAX) {
        return -EINVAL;
    }
    if (pt_init() != 0) {
        return -ENODEV;
    }
    struct shell *s = pt_cells_take();
    if (s == NULL) {
        return -ENOMEM;
    }
    s->block = (struct pt_block){0};
    if (bytes > 0) {
        struct pt_request request = {
            .manager = manager(), .bytes = bytes, .dtype = q->dtype, .door = PT_DOOR_C, .caller = q->caller};
        int error = pt_block_alloc(&request, &s->block);
        if (error != 0) {
            pt_cells_give(s);
            return error;
        }
    }
    fill(s, q);
    *out = s;
    return 0;
}
