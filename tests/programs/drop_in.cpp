// Somebody's C++ in a module that Python loads: pintensor.hpp, and what was written for DeepSpeed's header of this
// name.
#include "deepspeed_pin_tensor.h"

#include <ATen/DLConvertor.h> // torch's DLPack beside ours
#include <cstdio>
#include <cstring>

static int failed;

static void ok(bool holds, const char *name)
{
    std::printf("%sok - %s\n", holds ? "" : "not ", name);
    failed += !holds;
}

static pintensor_stats stats()
{
    pintensor_stats s;
    pintensor_get_stats(&s, sizeof s);
    return s;
}

template <class Exception, class F> static bool throws(const char *text, F what)
{
    try {
        what();
    } catch (const Exception &e) {
        if (std::strstr(e.what(), text) == nullptr) {
            std::printf("# %s\n", e.what());
        }
        return std::strstr(e.what(), text) != nullptr;
    }
    return false;
}

static void tensors()
{
    at::Tensor t = pintensor::empty({3, 4, 5}, at::kDouble);
    ok(t.sizes() == at::IntArrayRef({3, 4, 5}) && t.dtype() == at::kDouble && t.is_contiguous() && t.is_cpu(),
       "empty() makes what was asked for");
    ok(pintensor::is_managed(t) && stats().live_bytes == 480, "exactly that is locked");
    at::Tensor view = t.transpose(0, 2)[1];
    t.fill_(2);
    t = at::Tensor();
    ok(stats().live_blocks == 1 && view.sum().item<double>() == 24, "a view keeps the memory");
    view = at::Tensor();
    ok(stats().live_blocks == 0, "which goes with it");
    at::Tensor none = pintensor::empty({0, 7});
    ok(none.numel() == 0 && none.size(1) == 7 && stats().live_blocks == 0, "no elements, no block");
    at::Tensor deep = pintensor::empty(std::vector<int64_t>(12, 1), at::kFloat8_e5m2);
    ok(deep.dim() == 12 && pintensor::is_managed(deep), "as many dimensions as torch allows");
    at::Tensor scalar = pintensor::empty({}, at::kLong);
    ok(scalar.dim() == 0 && pintensor::is_managed(scalar), "a scalar");
    at::Tensor leaf = pintensor::empty({8}).fill_(3).requires_grad_();
    (leaf * leaf).sum().backward();
    ok(leaf.grad().sum().item<float>() == 48, "autograd takes it as a leaf");
    ok(!pintensor::is_managed(at::empty({3})), "others' tensors are not ours");
    ok(throws<std::invalid_argument>("no tensor", [] { pintensor::empty({2, -1}); }), "a negative size throws");
    ok(throws<std::invalid_argument>("no tensor", [] { pintensor::empty({INT64_MAX, 2}); }), "so does an overflow");
    ok(throws<pintensor::error>("cannot lock",
                                [] {
                                    pintensor::empty({1, int64_t(1) << 46}, at::kByte);
                                }),
       "too much throws the sentence of the limit");
    ok(throws<pintensor::error>("out of range", [] { pintensor::empty({5}, at::kQInt8); }), "a quantized type throws");
}

static void dlpack()
{
    DLManagedTensor *made;
    int64_t shape[] = {6, 7};
    pintensor::check(pintensor_dlpack_alloc(2, shape, int(at::kHalf), &made));
    at::Tensor t = at::fromDLPack(made);
    ok(t.dtype() == at::kHalf && t.size(1) == 7 && pintensor::is_managed(t), "torch takes a DLPack tensor");
    t = at::Tensor();
    ok(stats().live_blocks == 0, "and ends it");
}

static void owners()
{
    pintensor::manager first;
    pintensor::block a = first.alloc(5000), b;
    void *data = a.data();
    b = std::move(a);
    ok(b.data() == data && b.size() == 5000 && a.data() == nullptr, "a block moves");
    a = pintensor::block();
    ok(stats().live_blocks == 1, "and is freed once");
    pintensor::manager second(std::move(first));
    first = pintensor::manager();
    b = pintensor::block();
    ok(stats().live_blocks == 0 && stats().misuses == 0, "a manager moves");
    at::Tensor t = second.tensor(1000, at::kInt);
    second = pintensor::manager();
    t.fill_(1);
    ok(stats().live_blocks == 1, "a tensor outlives its manager");
}

static void drop_in()
{
    auto manager = deepspeed_pin_tensor_t::shared();
    ok(manager == deepspeed_pin_tensor_t::shared(), "one manager for all who ask");
    torch::Tensor t = manager->alloc(1000, torch::kBFloat16);
    ok(t.dim() == 1 && t.numel() == 1000 && t.dtype() == torch::kBFloat16, "alloc() by type");
    torch::Tensor u = manager->alloc(10, torch::TensorOptions().dtype(torch::kInt8).device(torch::kCPU));
    ok(u.dtype() == torch::kInt8, "alloc() by options");
    ok(manager->is_managed(t) && manager->is_managed(t.slice(0, 5, 9)) && !manager->is_managed(torch::empty({3})),
       "is_managed()");
    std::unique_ptr<struct deepspeed_pin_tensor_t> other(new deepspeed_pin_tensor_t());
    ok(!other->free(t), "free() of another manager's");
    ok(manager->free(t) && !manager->is_managed(t) && !manager->free(t), "free() of a tensor, once");
    t.fill_(1);
    void *address = u.data_ptr();
    u.set_data(torch::ones({10}, torch::kInt8));
    ok(!manager->free(address), "set_data() has dropped the block");
    torch::Tensor v = other->alloc(100, torch::kFloat);
    ok(other->free(v.data_ptr()), "free() by address");
    ok(throws<c10::Error>("on the CPU", [&] { manager->alloc(5, torch::TensorOptions().device("meta")); }),
       "not for other devices");
    t = v = torch::Tensor();
    ok(stats().reclaimed_blocks == 1, "who drops without free() is told of"); // u's
}

extern "C" int test_all();
int test_all()
{
    tensors();
    dlpack();
    owners();
    drop_in();
    std::fflush(stdout);
    return failed != 0;
}
