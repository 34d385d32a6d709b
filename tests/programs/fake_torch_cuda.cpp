// Stands in for libtorch_cuda.so: torch's own allocator of pinned memory, which knows what it was asked, a device
// without work, and CUDA initialised by the fake driver.
#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/version.h>

#include <cstdlib>
#include <cstring>
#include <set>

extern "C" void fake_start(int device);

namespace
{

struct {
    int allocated, recorded, emptied, pools, noted;
} asked;
std::set<void *> external;

void drop(void *p)
{
    std::free(p);
}

struct Stock final : at::HostAllocator {
    at::DataPtr allocate(size_t bytes) override
    {
        asked.allocated++;
        fake_start(0); // as torch's own first block makes a context
        void *p = std::malloc(bytes);
        return {p, p, drop, at::DeviceType::CPU};
    }
    void copy_data(void *to, const void *from, std::size_t bytes) const override
    {
        default_copy_data(to, from, bytes);
    }
    bool record_event(void *, void *, c10::Stream) override
    {
        asked.recorded++;
        return false;
    }
    void empty_cache() override
    {
        asked.emptied++;
    }
    at::HostStats get_stats() override
    {
        return {};
    }
    void reset_accumulated_stats() override
    {
    }
    void reset_peak_stats() override
    {
    }
#if TORCH_VERSION_MINOR >= 11
    void begin_allocate_to_pool(c10::MempoolId_t, std::function<bool(c10::Stream)>) override
    {
        asked.pools++;
    }
    void end_allocate_to_pool(c10::MempoolId_t) override
    {
        asked.pools++;
    }
    void release_pool(c10::MempoolId_t) override
    {
        asked.pools++;
    }
#endif
#if TORCH_VERSION_MINOR >= 14
    bool is_history_enabled() const override
    {
        return true;
    }
    void record_external_register(void *p, size_t) override
    {
        asked.noted += external.insert(p).second;
    }
    void record_external_unregister(void *p) override
    {
        asked.noted -= static_cast<int>(external.erase(p));
    }
#endif
} stock, other;

#if TORCH_VERSION_MINOR >= 11
struct Guard final : c10::impl::NoOpDeviceGuardImpl<at::DeviceType::CUDA> {
    c10::Device getDevice() const override
    {
        return {at::DeviceType::CUDA, 0};
    }
    c10::Stream getStream(c10::Device device) const noexcept override
    {
        return c10::Stream(c10::Stream::DEFAULT, device);
    }
    void *getStreamNativeHandle(c10::Stream) const override
    {
        return nullptr;
    }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)
#endif

__attribute__((constructor)) void load()
{
    at::setHostAllocator(at::DeviceType::CUDA, &stock);
    fake_start(-1);
}

} // namespace

extern "C" __attribute__((visibility("default"))) at::HostAllocator *fake_other_allocator()
{
    return &other;
}

extern "C" __attribute__((visibility("default"))) int fake_asked(const char *what)
{
    return what[0] == 'a'   ? asked.allocated
           : what[0] == 'r' ? asked.recorded
           : what[0] == 'e' ? asked.emptied
           : what[0] == 'p' ? asked.pools
                            : asked.noted;
}
