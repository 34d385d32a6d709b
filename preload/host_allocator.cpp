// torch's allocator of pinned host memory, served by pintensor: the bridge. It is a library of its own, built against the
// headers of the torch it is for, since libtorch has no C form of this interface; it needs no CUDA header. Once
// pintensor_bridge_start() is called, pin_memory(), empty(pin_memory=True) and DataLoader's pin thread come here.
//
// What torch promises of its own blocks is kept: a block that a stream uses (record_event) is not reused before that
// stream's work up to the drop is done, and the dropping thread does not wait. What is pinned while a graph is captured
// stays torch's own, with its private pools; a block of ours that a capture used is never reused.
//
// Everything that torch's allocator can be asked, and that is not about our blocks, is passed on to it.
#include "pintensor.h"

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#if TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR < 11 || TORCH_VERSION_MINOR > 13
#error "the interface of this torch's host allocator was not looked at"
#endif

namespace {

struct Block {
    pintensor_block memory;
    std::vector<c10::Stream> streams;
    bool captured = false;
};

void drop(void *block);

class Allocator final : public at::HostAllocator {
public:
    explicit Allocator(at::HostAllocator *stock) : stock_(stock), manager_(pintensor_manager_create())
    {
    }

    bool works() const
    {
        return manager_ != 0;
    }

    at::DataPtr allocate(size_t bytes) override
    {
        if (bytes == 0 || pool_takes_this()) {
            return stock_->allocate(bytes);
        }
        recycle();
        auto *block = new Block;
        if (pintensor_alloc(manager_, bytes, &block->memory) != 0) {
            delete block;
            TORCH_CHECK(false, "pintensor: ", pintensor_last_error());
        }
        std::lock_guard<std::mutex> guard(mutex_);
        live_[reinterpret_cast<uintptr_t>(block->memory.data)] = block;
        requests_.increase(1);
        bytes_.increase(static_cast<int64_t>(bytes));
        return {block->memory.data, block, drop, at::DeviceType::CPU};
    }

    at::DeleterFnPtr raw_deleter() const override
    {
        return nullptr; // as torch's own: a context is not a data pointer
    }

    void copy_data(void *to, const void *from, std::size_t bytes) const override
    {
        default_copy_data(to, from, bytes);
    }

    bool record_event(void *p, void *context, c10::Stream stream) override
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            if (Block *block = find(p)) {
                if (capturing(stream)) {
                    block->captured = true;
                } else if (std::find(block->streams.begin(), block->streams.end(), stream) == block->streams.end()) {
                    block->streams.push_back(stream);
                }
                return true;
            }
        }
        return stock_->record_event(p, context, stream);
    }

    void free(Block *block) noexcept
    {
        std::vector<c10::Event> events;
        {
            std::lock_guard<std::mutex> guard(mutex_);
            live_.erase(reinterpret_cast<uintptr_t>(block->memory.data));
            requests_.decrease(1);
            bytes_.decrease(static_cast<int64_t>(block->memory.bytes));
        }
        if (block->captured) {
            return; // its graph may be replayed at any time
        }
        try {
            for (const c10::Stream &stream : block->streams) {
                events.emplace_back(stream.device_type());
                events.back().record(stream);
            }
        } catch (...) {
            return; // the device is going away: nobody can say when the copy ends, so nobody gets the memory
        }
        if (events.empty()) {
            give_back(block);
        } else {
            std::lock_guard<std::mutex> guard(waiting_mutex_);
            waiting_.emplace_back(std::move(events), block);
            waiting_count_++;
        }
    }

    void empty_cache() override
    {
        recycle();
        (void)pintensor_trim();
        stock_->empty_cache();
    }

    at::HostStats get_stats() override
    {
        at::HostStats stats = stock_->get_stats();
        pintensor_stats ours;
        pintensor_get_stats(&ours, sizeof ours);
        std::lock_guard<std::mutex> guard(mutex_);
        add(stats.active_requests, requests_);
        add(stats.active_bytes, bytes_);
        stats.allocations.current += requests_.current;
        stats.allocated_bytes.current += static_cast<int64_t>(ours.live_locked + ours.cached_bytes);
        stats.allocated_bytes.peak += static_cast<int64_t>(ours.peak_locked);
        stats.num_host_alloc += static_cast<int64_t>(ours.allocated_blocks - ours.reused_blocks);
        return stats;
    }

    void reset_accumulated_stats() override
    {
        stock_->reset_accumulated_stats();
        std::lock_guard<std::mutex> guard(mutex_);
        requests_.reset_accumulated();
        bytes_.reset_accumulated();
    }

    void reset_peak_stats() override
    {
        stock_->reset_peak_stats();
        std::lock_guard<std::mutex> guard(mutex_);
        requests_.reset_peak();
        bytes_.reset_peak();
    }

    void begin_allocate_to_pool(c10::MempoolId_t id, std::function<bool(c10::Stream)> filter) override
    {
        {
            std::lock_guard<std::mutex> guard(pools_mutex_);
            pools_.emplace_back(id, filter);
            pools_count_++;
        }
        stock_->begin_allocate_to_pool(id, std::move(filter));
    }

    void end_allocate_to_pool(c10::MempoolId_t id) override
    {
        {
            std::lock_guard<std::mutex> guard(pools_mutex_);
            for (auto at = pools_.begin(); at != pools_.end(); ++at) {
                if (at->first == id) {
                    pools_.erase(at);
                    pools_count_--;
                    break;
                }
            }
        }
        stock_->end_allocate_to_pool(id);
    }

    void release_pool(c10::MempoolId_t id) override
    {
        stock_->release_pool(id);
    }

private:
    using Stat = c10::CachingAllocator::Stat;

    static void add(Stat &to, const Stat &what)
    {
        to.current += what.current;
        to.peak += what.peak;
        to.allocated += what.allocated;
        to.freed += what.freed;
    }

    Block *find(const void *p) const
    {
        auto at = live_.upper_bound(reinterpret_cast<uintptr_t>(p));
        if (at == live_.begin()) {
            return nullptr;
        }
        --at;
        return reinterpret_cast<uintptr_t>(p) - at->first < at->second->memory.bytes ? at->second : nullptr;
    }

    static bool capturing(c10::Stream stream)
    {
        using Question = int (*)(void *, int *);
        static const Question question = [] {
            void *driver = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_LAZY);
            return reinterpret_cast<Question>(driver != nullptr ? dlsym(driver, "cuStreamIsCapturing") : nullptr);
        }();
        int status = 0;
        const c10::impl::VirtualGuardImpl guard(stream.device_type());
        return question != nullptr && question(guard.getStreamNativeHandle(stream), &status) == 0 && status != 0;
    }

    bool pool_takes_this()
    {
        if (pools_count_ == 0) {
            return false;
        }
        const c10::impl::VirtualGuardImpl guard(at::DeviceType::CUDA);
        c10::Stream stream = guard.getStream(guard.getDevice());
        std::lock_guard<std::mutex> lock(pools_mutex_);
        for (const auto &pool : pools_) {
            if (pool.second(stream)) {
                return true;
            }
        }
        return false;
    }

    void give_back(Block *block) noexcept
    {
        (void)pintensor_free_block(manager_, &block->memory);
        delete block;
    }

    /* Blocks whose streams are done. What one slow stream holds up does not keep the others. */
    void recycle() noexcept
    {
        constexpr size_t most = 16;
        std::vector<Block *> done;
        if (waiting_count_ == 0) {
            return;
        }
        {
            std::lock_guard<std::mutex> guard(waiting_mutex_);
            for (size_t i = 0, looked = 0; i < waiting_.size() && looked < most; looked++) {
                if (finished(waiting_[i].first)) {
                    done.push_back(waiting_[i].second);
                    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
                    waiting_count_--;
                    looked = 0;
                } else {
                    i++;
                }
            }
        }
        for (Block *block : done) {
            give_back(block);
        }
    }

    static bool finished(const std::vector<c10::Event> &events) noexcept
    {
        try {
            for (const c10::Event &event : events) {
                if (!event.query()) {
                    return false;
                }
            }
        } catch (...) {
            return false;
        }
        return true;
    }

    at::HostAllocator *const stock_;
    const pintensor_manager manager_;

    std::mutex mutex_; // live_ and the counts
    std::map<uintptr_t, Block *> live_;
    Stat requests_, bytes_;

    std::mutex waiting_mutex_;
    std::deque<std::pair<std::vector<c10::Event>, Block *>> waiting_;
    std::atomic<size_t> waiting_count_{0};

    std::mutex pools_mutex_;
    std::vector<std::pair<c10::MempoolId_t, std::function<bool(c10::Stream)>>> pools_;
    std::atomic<size_t> pools_count_{0};
};

Allocator *allocator; // never destroyed: tensors may outlive everything

void drop(void *block)
{
    allocator->free(static_cast<Block *>(block));
}

} // namespace

// Takes torch's pinned memory over from here on; blocks that torch made before stay torch's. Returns 0, or -1 if pintensor is
// off or torch has no host allocator for CUDA. To be called once, after torch's CUDA library was loaded.
extern "C" PINTENSOR_API int pintensor_bridge_start()
{
    try {
        at::HostAllocator *stock = at::getHostAllocator(at::DeviceType::CUDA);
        if (stock == nullptr || allocator != nullptr) {
            return -1;
        }
        auto *made = new Allocator(stock);
        if (!made->works()) {
            return -1;
        }
        allocator = made;
        at::setHostAllocator(at::DeviceType::CUDA, made, 1);
        return 0;
    } catch (...) {
        return -1;
    }
}
