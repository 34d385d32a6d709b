// What src/api/tensor.c needs and torch before 2.11 does not have, under the names and with the arguments that later ones
// have it (torch/csrc/stable/c/shim.h): the bridge's. The deleter is not called when this fails.
#ifndef PRELOAD_OLD_TORCH_H
#define PRELOAD_OLD_TORCH_H

#include <torch/version.h>

#if TORCH_VERSION_MINOR < 11
#include <ATen/ops/from_blob.h>

extern "C" __attribute__((visibility("default"))) int32_t
torch_from_blob(void *data, int64_t dims, const int64_t *sizes, const int64_t *strides, int64_t offset, int32_t dtype,
                int32_t device_type, int32_t device_index, at::Tensor **out, int32_t layout, const uint8_t *, int64_t,
                void (*deleter)(void *, void *), void *context)
{
    try {
        auto maker = at::for_blob(data, at::IntArrayRef(sizes, static_cast<size_t>(dims)));
        maker.strides(at::IntArrayRef(strides, static_cast<size_t>(dims))).storage_offset(offset);
        maker.options(at::TensorOptions()
                          .dtype(static_cast<at::ScalarType>(dtype))
                          .layout(static_cast<at::Layout>(layout))
                          .device(at::Device(static_cast<at::DeviceType>(device_type),
                                             static_cast<at::DeviceIndex>(device_index))));
        if (deleter != nullptr) {
            maker.deleter([=](void *p) { deleter(p, context); });
        }
        *out = new at::Tensor(maker.make_tensor());
        return 0;
    } catch (...) {
        return 1;
    }
}

extern "C" __attribute__((visibility("default"))) int32_t torch_get_mutable_data_ptr(const at::Tensor *tensor,
                                                                                     void **out)
{
    try {
        *out = tensor->mutable_data_ptr();
        return 0;
    } catch (...) {
        return 1;
    }
}
#endif

#endif
