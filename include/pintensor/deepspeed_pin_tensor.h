/* For C++ that includes DeepSpeed's header of this name: put the folder of this file before DeepSpeed's in the include
 * path, or include <pintensor/deepspeed_pin_tensor.h>. The manager has the members that DeepSpeed's has; its blocks are
 * pintensor's. torch 2.11 or newer.
 *
 * A program is linked with pintensor. A module that Python loads is not: it is run under `pintensor run`, whose preload
 * has all the calls. libpintensor.so itself can only be loaded when a program starts.
 *
 * It is a class of its own that only goes by the same name, so one process may hold both. Hence what differs: there are
 * no _locked_tensors and _mutex to look into, nor deepspeed_pin_tensor_mgr_holder(), by which DeepSpeed's ops find
 * their own manager; is_managed() knows the blocks of every manager of the process; and where memory cannot be locked
 * alloc() throws. Include it before anything that only declares the struct.
 *
 * Licence: Apache-2.0 */
#ifndef PINTENSOR_DEEPSPEED_PIN_TENSOR_H
#define PINTENSOR_DEEPSPEED_PIN_TENSOR_H

#if __has_include(<Python.h>)
#include <torch/extension.h> /* as DeepSpeed's does */
#else
#include <torch/types.h>
#endif

#include <pintensor.hpp>

#include <cstdint>
#include <memory>

namespace pintensor
{

struct deepspeed_pin_tensor_t {
    /* One for all who ask. */
    static std::shared_ptr<deepspeed_pin_tensor_t> shared()
    {
        static const auto one = std::make_shared<deepspeed_pin_tensor_t>();
        return one;
    }

    at::Tensor alloc(const int64_t num_elem, const at::ScalarType &elem_type)
    {
        return manager_.tensor(num_elem, elem_type);
    }

    at::Tensor alloc(const int64_t num_elem, const at::TensorOptions &options)
    {
        TORCH_CHECK(options.device().is_cpu() && options.layout() == at::kStrided,
                    "pintensor: locked memory is for strided tensors on the CPU");
        return alloc(num_elem, at::typeMetaToScalarType(options.dtype()));
    }

    bool free(at::Tensor &locked_tensor)
    {
        return manager_.free(locked_tensor);
    }

    /* By the address of its block, whatever the tensor's storage is by now. */
    bool free(void *addr)
    {
        return manager_.free(addr);
    }

    bool is_managed(const at::Tensor &buffer)
    {
        return pintensor::is_managed(buffer);
    }

  private:
    manager manager_;
};

} // namespace pintensor

using pintensor::deepspeed_pin_tensor_t;

#endif
