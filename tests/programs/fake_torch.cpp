// The bridge without a GPU: a stand-in for torch's own allocator of pinned memory, which knows what it was asked, and what
// the bridge makes of calls: fake_torch BRIDGE.
#include "pintensor.h"

#include <ATen/core/CachingHostAllocator.h>

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

namespace {

int asked, recorded, emptied;

void drop(void *p)
{
    std::free(p);
}

struct Stock final : at::HostAllocator {
    at::DataPtr allocate(size_t bytes) override
    {
        asked++;
        void *p = std::malloc(bytes);
        return {p, p, drop, at::DeviceType::CPU};
    }
    void copy_data(void *to, const void *from, std::size_t bytes) const override
    {
        default_copy_data(to, from, bytes);
    }
    bool record_event(void *, void *, c10::Stream) override
    {
        recorded++;
        return false;
    }
    void empty_cache() override
    {
        emptied++;
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
};

void holds(const char *name, bool fact)
{
    std::printf("%s - %s\n", fact ? "ok" : "not ok", name);
}

} // namespace

int main(int, char **argv)
{
    static Stock stock;
    at::setHostAllocator(at::DeviceType::CUDA, &stock);
    void *bridge = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    auto start = reinterpret_cast<int (*)()>(bridge != nullptr ? dlsym(bridge, "pintensor_bridge_start") : nullptr);
    auto managed = reinterpret_cast<bool (*)(const void *, size_t)>(dlsym(RTLD_DEFAULT, "pintensor_is_managed"));
    if (start == nullptr || managed == nullptr) {
        std::printf("not ok - the bridge loads: %s\n", dlerror());
        return 1;
    }
    at::DataPtr old = stock.allocate(100);
    holds("the bridge starts", start() == 0);
    holds("once", start() != 0);
    at::HostAllocator *now = at::getHostAllocator(at::DeviceType::CUDA);
    holds("torch has it for its allocator", now != &stock);
    c10::Stream stream(c10::Stream::UNSAFE, c10::Device(at::DeviceType::CUDA, 0), 0);
    {
        at::DataPtr a = now->allocate(1 << 20), b = now->allocate(1 << 20);
        holds("its blocks are ours", managed(a.get(), 1 << 20) && managed(b.get(), 1 << 20) && asked == 1);
        holds("and lie on the CPU", a.device() == at::DeviceType::CPU);
        at::HostStats stats = now->get_stats();
        holds("they are counted", stats.active_requests.current == 2 && stats.active_bytes.current == 2 << 20);
        void *p = a.get();
        a.clear();
        holds("a dropped one is not managed any more", !managed(p, 1));
        a = now->allocate(1 << 20);
        holds("and is used again", a.get() == p);
        holds("a block that is not ours is asked of torch's", !now->record_event(old.get(), old.get(), stream) && recorded == 1);
    }
    holds("all is counted back", now->get_stats().active_bytes.current == 0);
    (void)now->allocate(0);
    holds("nothing of no bytes is torch's affair", asked == 2);
    now->empty_cache();
    holds("both caches are emptied", emptied == 1);
    try {
        (void)now->allocate((size_t)1 << 50);
        holds("too much is an error", false);
    } catch (const c10::Error &error) {
        holds("too much is an error", std::string(error.what()).find("pintensor: ") == 0);
    }
    return 0;
}
