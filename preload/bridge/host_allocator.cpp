// torch's allocator of pinned host memory, served by pintensor: the bridge. It is a library of its own, built against
// the headers of the torch it is for, since libtorch has no C form of this interface; it needs no CUDA header. Once it
// is started, pin_memory(), empty(pin_memory=True) and DataLoader's pin thread come here, since whoever asks for
// torch's allocator goes through the preload.
//
// What torch promises of its own blocks is kept: a block that a stream uses (record_event) is not reused before that
// stream's work up to the drop is done, and the dropping thread does not wait. What is pinned while a graph is captured
// into a private pool stays torch's own. Everything that is not about our blocks is passed on to torch's allocator.
//
// A process may fork while a thread is in here, and the child then drops what it inherited: so no lock on these ways.
#ifndef PRELOAD_BRIDGE_H // the preload carries these before this text, in one
#include "bridge.h"
#include "host_stats.h"
#include "old_torch.h"
#endif

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#if TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR < 8 || TORCH_VERSION_MINOR > 14
#error "the host allocator of this torch was not looked at"
#endif

// "2.13.0" of the headers is to be the "2.13.0+cu130" that is loaded: PT_TORCH_VERSION.
constexpr bool is_version(std::string_view headers, std::string_view loaded)
{
    std::string_view rest = loaded.substr(std::min(headers.size(), loaded.size()));
    return loaded.substr(0, headers.size()) == headers && (rest.empty() || rest[0] < '0' || rest[0] > '9');
}
static_assert(is_version(TORCH_VERSION, PT_TORCH_VERSION),
              "these are the headers of another torch than the one loaded");

#define TORCH_HAS_POOLS   (TORCH_VERSION_MINOR >= 11)
#define TORCH_HAS_HISTORY (TORCH_VERSION_MINOR >= 14)

namespace
{

const pintensor_bridge_calls *calls;

// The cudaStream_t behind a stream.
#if TORCH_VERSION_MINOR >= 11
bool can_see_streams()
{
    return true;
}

void *native(c10::Stream stream)
{
    return c10::impl::VirtualGuardImpl(stream.device_type()).getStreamNativeHandle(stream);
}
#else
// c10::cuda::CUDAStream, whose header wants CUDA's, is a c10::Stream and nothing else; this is its stream().
using Handle = void *(*)(const c10::Stream *);
Handle handle_of;

bool can_see_streams()
{
    handle_of = reinterpret_cast<Handle>(calls->symbol("libc10_cuda.so", "_ZNK3c104cuda10CUDAStream6streamEv"));
    return handle_of != nullptr;
}

void *native(c10::Stream stream)
{
    return handle_of(&stream);
}
#endif

void drop(void *data);

class Allocator final : public at::HostAllocator
{
  public:
    explicit Allocator(at::HostAllocator *stock) : stock_(stock)
    {
    }

    at::DataPtr allocate(size_t bytes) override
    {
        if (bytes == 0 || pool_takes_this()) {
            return stock_->allocate(bytes);
        }
        if (!has_context_) { // torch's first pinned block makes one; ours only uses what is there
            if (!calls->has_context()) {
                (void)stock_->allocate(1);
            }
            has_context_ = true;
        }
        pintensor_bridge_block block;
        const char *why;
        if (calls->alloc(bytes, __builtin_return_address(0), &block, &why) != 0) {
            TORCH_CHECK(why == nullptr, "pintensor: ", why);
            return stock_->allocate(bytes);
        }
        requests_.add(1);
        bytes_.add(static_cast<int64_t>(bytes));
        if (block.locking_us != 0) {
            lock_time_.add(static_cast<int64_t>(block.locking_us));
            buckets_[static_cast<size_t>(std::bit_width(bytes - 1))]++;
            locked();
        }
        at::DataPtr made(block.data, block.data, drop, at::DeviceType::CPU);
#if TORCH_HAS_HISTORY
        if (stock_->is_history_enabled()) {
            has_history_ = true;
            stock_->record_external_register(block.data, bytes);
        }
#endif
        return made;
    }

    void dropped(void *data)
    {
#if TORCH_HAS_HISTORY
        if (has_history_) {
            stock_->record_external_unregister(data);
        }
#endif
        if (size_t bytes = calls->drop(data)) {
            requests_.add(-1);
            bytes_.add(-static_cast<int64_t>(bytes));
        }
    }

    void copy_data(void *to, const void *from, std::size_t bytes) const override
    {
        default_copy_data(to, from, bytes);
    }

    bool record_event(void *p, void *context, c10::Stream stream) override
    {
        return calls->used(p, native(stream), stream.device_index()) || stock_->record_event(p, context, stream);
    }

    void empty_cache() override
    {
        auto begin = Duration::clock::now();
        unlock_time_.add_since(begin, static_cast<int64_t>(calls->trim()));
        stock_->empty_cache();
    }

    at::HostStats get_stats() override
    {
        at::HostStats stats = stock_->get_stats();
        locked();
#if TORCH_VERSION_MINOR >= 10
        requests_.add_to(stats.active_requests);
        bytes_.add_to(stats.active_bytes);
        locks_.add_to(stats.allocations);
        locked_.add_to(stats.allocated_bytes);
        stats.num_host_alloc = stats.allocations.allocated;
        stats.num_host_free = stats.allocations.freed;
        for (size_t i = 0; i < stats.bucket_allocation.size() && i < buckets_.size(); i++) {
            stats.bucket_allocation[i] += buckets_[i];
        }
#else
        requests_.add_to(stats.allocation);
        bytes_.add_to(stats.allocated_bytes);
        locks_.add_to(stats.segment);
        locked_.add_to(stats.reserved_bytes);
        stats.num_host_alloc = stats.segment.allocated;
        stats.num_host_free = stats.segment.freed;
#endif
        lock_time_.add_to(stats.host_alloc_time);
        unlock_time_.add_to(stats.host_free_time);
        return stats;
    }

    void reset_accumulated_stats() override
    {
        stock_->reset_accumulated_stats();
        for (Count *count : {&requests_, &bytes_, &locks_, &locked_}) {
            count->reset_accumulated();
        }
        lock_time_.reset_accumulated();
        unlock_time_.reset_accumulated();
        for (Number &bucket : buckets_) {
            bucket = 0;
        }
    }

    void reset_peak_stats() override
    {
        stock_->reset_peak_stats();
        locked();
        for (Count *count : {&requests_, &bytes_, &locks_, &locked_}) {
            count->reset_peak();
        }
        lock_time_.reset_peak();
        unlock_time_.reset_peak();
    }

#if TORCH_HAS_POOLS
    void begin_allocate_to_pool(c10::MempoolId_t id, std::function<bool(c10::Stream)> filter) override
    {
        stock_->begin_allocate_to_pool(id, filter);
        std::lock_guard<std::mutex> guard(pools_mutex_);
        pools_.emplace_back(id, std::move(filter));
        pools_count_++;
    }

    void end_allocate_to_pool(c10::MempoolId_t id) override
    {
        {
            std::lock_guard<std::mutex> guard(pools_mutex_);
            pools_count_ -= std::erase_if(pools_, [&](const auto &pool) { return pool.first == id; });
        }
        stock_->end_allocate_to_pool(id);
    }

    void release_pool(c10::MempoolId_t id) override
    {
        stock_->release_pool(id);
    }
#endif

    // torch's own history takes what others pinned, and shows it among its blocks: that is what ours are to it.
#if TORCH_HAS_HISTORY
    void record_history(bool enabled, c10::CachingDeviceAllocator::CreateContextFn recorder, size_t most,
                        c10::CachingDeviceAllocator::RecordContext when, bool clear) override
    {
        stock_->record_history(enabled, recorder, most, when, clear);
    }

    bool is_history_enabled() const override
    {
        return stock_->is_history_enabled();
    }

    std::vector<at::HostSegmentInfo> get_segments() override
    {
        return stock_->get_segments();
    }

    std::vector<c10::CachingDeviceAllocator::TraceEntry> get_traces() override
    {
        return stock_->get_traces();
    }

    void record_external_register(void *p, size_t bytes) override
    {
        stock_->record_external_register(p, bytes);
    }

    void record_external_unregister(void *p) override
    {
        stock_->record_external_unregister(p);
    }
#endif

  private:
    // Looks at what is locked now.
    void locked()
    {
        pintensor_bridge_stats now;
        calls->stats(&now);
        locked_.set(now.locked);
        locks_.set(now.registrations);
    }

    // Whether a graph is captured here whose private pool is to hold this.
    bool pool_takes_this()
    {
#if TORCH_HAS_POOLS
        if (pools_count_ > 0) {
            const c10::impl::VirtualGuardImpl guard(at::DeviceType::CUDA);
            c10::Stream stream = guard.getStream(guard.getDevice());
            std::lock_guard<std::mutex> lock(pools_mutex_);
            for (const auto &pool : pools_) {
                if (pool.second(stream)) {
                    return true;
                }
            }
        }
#endif
        return false;
    }

    at::HostAllocator *const stock_;
    std::atomic<bool> has_context_{false};
    Count requests_, bytes_, locks_, locked_;
    Duration lock_time_, unlock_time_;
    std::array<Number, 64> buckets_{};
#if TORCH_HAS_POOLS
    std::mutex pools_mutex_;
    std::vector<std::pair<c10::MempoolId_t, std::function<bool(c10::Stream)>>> pools_;
    std::atomic<size_t> pools_count_{0};
#endif
#if TORCH_HAS_HISTORY
    std::atomic<bool> has_history_{false}; // some block of ours is in torch's history
#endif
};

Allocator *allocator; // never destroyed: tensors may outlive everything

void drop(void *data)
{
    allocator->dropped(data);
}

// ---- trying it ----

struct Nothing final : at::HostAllocator { // in the place of torch's
    at::DataPtr allocate(size_t) override
    {
        return {};
    }
    void copy_data(void *, const void *, std::size_t) const override
    {
    }
    bool record_event(void *, void *, c10::Stream) override
    {
        return false;
    }
    void empty_cache() override
    {
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
#if TORCH_HAS_POOLS
    void begin_allocate_to_pool(c10::MempoolId_t, std::function<bool(c10::Stream)>) override
    {
    }
    void end_allocate_to_pool(c10::MempoolId_t) override
    {
    }
    void release_pool(c10::MempoolId_t) override
    {
    }
#endif
};

char trial_block[64];
int trial_alive;

const pintensor_bridge_calls trial = {
    .has_context = [] { return true; },
    .alloc =
        [](size_t bytes, const void *, pintensor_bridge_block *out, const char **why) {
            *why = nullptr;
            *out = {.data = trial_block, .locking_us = 1};
            trial_alive++;
            return bytes == sizeof trial_block ? 0 : -1;
        },
    .drop =
        [](void *data) {
            trial_alive--;
            return data == trial_block ? sizeof trial_block : 0;
        },
    .used = [](const void *p, void *, int) { return p == trial_block; },
    .trim = []() -> uint64_t { return 1; },
    .stats = [](pintensor_bridge_stats *out) { *out = {.locked = 4096, .registrations = 1}; },
    .symbol = [](const char *, const char *) -> void * { return nullptr; },
};

// All of its functions but record_event(), which wants a device.
const char *tried()
{
    static Nothing nothing;
    const char from[sizeof trial_block] = "a copy";
    calls = &trial;
    allocator = new Allocator(&nothing);
    at::HostAllocator *host = allocator;
    {
        at::DataPtr copy = host->clone(from, sizeof from); // torch's own code, which allocates and copies
        if (copy.get() != trial_block || trial_alive != 1 || std::memcmp(trial_block, from, sizeof from) != 0) {
            return "torch does not come to its functions";
        }
    }
    if (trial_alive != 0 || host->get_stats().host_alloc_time.count != 1) {
        return "what torch drops does not come back";
    }
    host->empty_cache();
    if (host->get_stats().host_free_time.count != 1) {
        return "its figures are wrong";
    }
    host->reset_accumulated_stats();
    host->reset_peak_stats();
#if TORCH_HAS_POOLS
    host->begin_allocate_to_pool({1, 0}, [](c10::Stream) { return false; });
    host->end_allocate_to_pool({1, 0});
    host->release_pool({1, 0});
#endif
#if TORCH_HAS_HISTORY
    host->record_external_register(trial_block, sizeof trial_block);
    host->record_external_unregister(trial_block);
    if (host->is_history_enabled() || !host->get_segments().empty() || !host->get_traces().empty()) {
        return "its history is wrong";
    }
#endif
    return nullptr;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const char *
pintensor_bridge_start(const pintensor_bridge_calls *given, pintensor_bridge_allocators *out)
{
    try {
        at::HostAllocator *stock = at::getHostAllocator(at::DeviceType::CUDA);
        if (allocator != nullptr) {
            return "it was started before";
        }
        if (stock == nullptr) {
            return "this torch has no allocator of pinned memory for CUDA";
        }
        calls = given;
        if (!can_see_streams()) {
            return "the streams of this torch cannot be seen";
        }
        allocator = new Allocator(stock);
        *out = {.torchs = stock, .ours = static_cast<at::HostAllocator *>(allocator)};
        return nullptr;
    } catch (...) {
        return "this torch has no allocator of pinned memory for CUDA";
    }
}

extern "C" __attribute__((visibility("default"))) const char *pintensor_bridge_try()
{
    try {
        return tried();
    } catch (const std::exception &error) {
        static char why[256];
        std::strncpy(why, error.what(), sizeof why - 1);
        return why;
    }
}
