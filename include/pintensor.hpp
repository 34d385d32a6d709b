/* pintensor for C++17: owners for what pintensor.h hands out, and at::Tensor on locked memory where torch's headers are
 * found. All of it is inline: link with pintensor, and with libtorch for tensors.
 *
 * Errors are thrown. Threads: as pintensor.h says of each call; two threads may use one manager, not one block object.
 *
 * Licence: Apache-2.0 */
#ifndef PINTENSOR_HPP
#define PINTENSOR_HPP

#if __has_include(<ATen/ATen.h>) && !defined(PINTENSOR_NO_TORCH)
#define PINTENSOR_TORCH_ 1
#include <ATen/ATen.h>
#include <ATen/dlpack.h> /* torch's, so that it may be included later too */
#endif

#include <pintensor.h>
#include <pintensor/dlpack.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <utility>

namespace pintensor
{

/* A call failed: its PINTENSOR_E* code; what() is the sentence with the details. */
class error : public std::runtime_error
{
  public:
    explicit error(int code, const char *details = pintensor_last_error()) : std::runtime_error(details), code_(code)
    {
    }
    int code() const noexcept
    {
        return code_;
    }

  private:
    int code_;
};

inline void check(int code)
{
    if (code != 0) {
        throw error(code);
    }
}

/* A raw block, given back at the end of its owner, which must come before its manager's. */
class block
{
  public:
    block() = default;
    block(pintensor_manager manager, std::size_t bytes) : manager_(manager)
    {
        check(pintensor_alloc(manager, bytes, &block_));
    }
    block(block &&other) noexcept : manager_(other.manager_), block_(std::exchange(other.block_, {}))
    {
    }
    block &operator=(block &&other) noexcept
    {
        std::swap(manager_, other.manager_);
        std::swap(block_, other.block_);
        return *this;
    }
    ~block()
    {
        (void)pintensor_free_block(manager_, &block_);
    }
    void *data() const noexcept
    {
        return block_.data;
    }
    std::size_t size() const noexcept
    {
        return block_.bytes;
    }

  private:
    pintensor_manager manager_ = 0;
    pintensor_block block_ = {};
};

/* Blocks that go together. At its end raw blocks go at once, blocks under tensors with their last tensor. */
class manager
{
  public:
    manager() : id_(pintensor_manager_create())
    {
        if (id_ == 0) {
            throw error(PINTENSOR_EOFF, "pintensor is off in this process, or 65,536 managers are alive");
        }
    }
    manager(manager &&other) noexcept : id_(std::exchange(other.id_, 0))
    {
    }
    manager &operator=(manager &&other) noexcept
    {
        std::swap(id_, other.id_);
        return *this;
    }
    ~manager()
    {
        pintensor_manager_destroy(id_);
    }
    pintensor_manager id() const noexcept
    {
        return id_;
    }
    block alloc(std::size_t bytes)
    {
        return block(id_, bytes);
    }

#ifdef PINTENSOR_TORCH_
    /* As DeepSpeed's manager makes them, of one dimension: free() says that the tensor is no longer needed, and who
     * drops it without is told of at exit. pintensor::empty() asks for no such thing. torch 2.11 or newer. */
    at::Tensor tensor(int64_t elements, at::ScalarType dtype)
    {
        pintensor_tensor made;
        check(pintensor_tensor_alloc(id_, elements, static_cast<int>(dtype), &made));
        std::unique_ptr<at::Tensor> shell(static_cast<at::Tensor *>(made));
        return std::move(*shell);
    }
    bool free(const at::Tensor &tensor)
    {
        return free(tensor.data_ptr());
    }
#endif
    /* By the block's address; false: there is none of this manager, and the call is counted as misuse. */
    bool free(void *data)
    {
        return pintensor_free(id_, data) == 0;
    }

  private:
    pintensor_manager id_;
};

#ifdef PINTENSOR_TORCH_
/* A contiguous CPU tensor on locked memory, which goes back with the last tensor or view on it: at::empty(), but
 * pinned, with or without a GPU. Any torch from 2.8 on. Not for quantized types and those of parts of a byte. */
inline at::Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype = at::kFloat)
{
    int64_t elements = 1;
    for (int64_t size : sizes) {
        if (size < 0 || __builtin_mul_overflow(elements, size, &elements)) {
            throw std::invalid_argument("pintensor::empty: no tensor has such sizes");
        }
    }
    if (elements == 0) {
        return at::empty(sizes, dtype);
    }
    DLManagedTensor *made;
    check(pintensor_dlpack_alloc(1, &elements, static_cast<int>(dtype), &made));
    std::shared_ptr<DLManagedTensor> owner(made, [](DLManagedTensor *t) { t->deleter(t); });
    /* The tensor's storage keeps the function, and so the owner. */
    return at::from_blob(
        made->dl_tensor.data, sizes, [owner](void *) {}, at::TensorOptions(dtype));
}

/* Whether all elements of a tensor or view lie in one live block. */
inline bool is_managed(const at::Tensor &tensor)
{
    return tensor.is_cpu() && pintensor_is_managed(tensor.data_ptr(), tensor.nbytes());
}
#endif

} // namespace pintensor

#endif
