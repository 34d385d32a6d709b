/* Tensors of libtorch on blocks of ours, through libtorch's exported C functions found at run time. Calls here may run
 * libtorch and so Python: no lock held. */
#ifndef PT_TENSOR_H
#define PT_TENSOR_H

#include "base/elf.h"
#include "life/block.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An at::Tensor*, as libtorch's C functions call it AtenTensorHandle. */
typedef void *pt_tensor;

/* A library that has those of libtorch's functions that an older torch lacks: 0, -ENOENT (there is none), or -EBUSY
 * (not now). Asked until it knows, from the first tensor on, with no lock held, and takes its time. */
void pt_tensor_set_fallback(int (*library)(struct pt_elf *out));

/* Whether this process's libtorch can make tensors with deleters from C (2.11 or newer, or with that library). */
bool pt_tensor_usable(void);

size_t pt_tensor_element_size(int dtype); /* 0: unknown */

struct pt_tensor_request {
    uint32_t manager;
    int64_t elements;
    int dtype;                     /* c10::ScalarType */
    int device_type, device_index; /* passed through, so that libtorch itself refuses what it would have refused */
    enum pt_door door;
    const void *caller;
};

/* Bytes that so many elements take; SIZE_MAX if that is no size. */
size_t pt_tensor_bytes(int64_t elements, int dtype);

/* A one-dimensional strided tensor on a block of its own, which is dropped with it; with no elements, no block.
 * Returns 0, -EINVAL, -ENOSYS (no libtorch), -EIO (it refused), or an error of pt_block_alloc. */
int pt_tensor_alloc(const struct pt_tensor_request *request, pt_tensor *out);

/* Moves the one pointer that an at::Tensor is out of its shell, and frees the shell. */
void *pt_tensor_unwrap(pt_tensor tensor);

/* Where the tensor's elements are. -EIO: libtorch refused (a fake tensor, for one). */
struct pt_extent {
    void *data;
    size_t bytes;
    bool cpu;
};
int pt_tensor_extent(pt_tensor tensor, struct pt_extent *out);

/* libtorch's reason for the last failure in this thread, or a general one. */
const char *pt_tensor_error(void);

/* Throws c10::Error, which Python sees as RuntimeError. Returns only if libtorch cannot. */
void pt_tensor_raise(const char *function, const char *message);

#endif
