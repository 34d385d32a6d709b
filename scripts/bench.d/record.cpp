// Writes down what a program asks of torch's pinned memory: a host allocator that passes everything on to torch's own.
// Built and loaded by record.py, which says what a trace is.
#include <ATen/core/CachingHostAllocator.h>
#include <torch/version.h>

#include <cstdio>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace
{

class Recorder final : public at::HostAllocator
{
  public:
    explicit Recorder(at::HostAllocator *stock) : stock_(stock)
    {
        events_.reserve(1 << 20); // growing would hold up the threads that are recorded
    }

    // The block stays torch's own, with torch's context; only its end comes here first.
    at::DataPtr allocate(size_t bytes) override
    {
        at::DataPtr made = stock_->allocate(bytes);
        if (made.get_context() != nullptr) {
            std::lock_guard<std::mutex> guard(mutex_);
            c10::DeleterFnPtr theirs = made.get_deleter();
            if (made.compare_exchange_deleter(theirs, dropped)) {
                blocks_[made.get_context()] = {count_++, theirs, false};
                events_.emplace_back('+', bytes);
            }
        }
        return made;
    }

    bool record_event(void *p, void *context, c10::Stream stream) override
    {
        {
            std::lock_guard<std::mutex> guard(mutex_);
            auto found = blocks_.find(context);
            if (found != blocks_.end() && !found->second.used) {
                found->second.used = true;
                events_.emplace_back('~', found->second.number);
            }
        }
        return stock_->record_event(p, context, stream);
    }

    bool write(const char *path)
    {
        std::lock_guard<std::mutex> guard(mutex_);
        std::FILE *file = std::fopen(path, "w");
        for (size_t i = 0; file != nullptr && i < events_.size(); i++) {
            std::fprintf(file, "%c%zu\n", events_[i].first, events_[i].second);
        }
        return file != nullptr && std::fclose(file) == 0;
    }

    void copy_data(void *to, const void *from, std::size_t bytes) const override
    {
        stock_->copy_data(to, from, bytes);
    }

    void empty_cache() override
    {
        stock_->empty_cache();
    }

    at::HostStats get_stats() override
    {
        return stock_->get_stats();
    }

    void reset_accumulated_stats() override
    {
        stock_->reset_accumulated_stats();
    }

    void reset_peak_stats() override
    {
        stock_->reset_peak_stats();
    }

#if TORCH_VERSION_MINOR >= 11
    void begin_allocate_to_pool(c10::MempoolId_t id, std::function<bool(c10::Stream)> filter) override
    {
        stock_->begin_allocate_to_pool(id, std::move(filter));
    }

    void end_allocate_to_pool(c10::MempoolId_t id) override
    {
        stock_->end_allocate_to_pool(id);
    }

    void release_pool(c10::MempoolId_t id) override
    {
        stock_->release_pool(id);
    }
#endif

  private:
    static void dropped(void *context);

    struct Block {
        size_t number;
        c10::DeleterFnPtr theirs;
        bool used;
    };

    // Noted before torch has the block back: the next to get its context comes after that in the trace.
    c10::DeleterFnPtr end(void *context)
    {
        std::lock_guard<std::mutex> guard(mutex_);
        auto found = blocks_.find(context);
        c10::DeleterFnPtr theirs = found->second.theirs;
        events_.emplace_back('-', found->second.number);
        blocks_.erase(found);
        return theirs;
    }

    at::HostAllocator *const stock_;
    std::mutex mutex_;
    size_t count_ = 0;
    std::unordered_map<void *, Block> blocks_;
    std::vector<std::pair<char, size_t>> events_;
};

Recorder *recorder; // never destroyed: tensors may outlive everything

void Recorder::dropped(void *context)
{
    recorder->end(context)(context);
}

} // namespace

// After torch.cuda.init() and before the first pinned tensor; false if this torch pins nothing.
extern "C" bool record_start()
{
    try {
        at::HostAllocator *stock = at::getHostAllocator(at::DeviceType::CUDA);
        if (stock != nullptr && recorder == nullptr) {
            recorder = new Recorder(stock);
            at::setHostAllocator(at::DeviceType::CUDA, recorder, 1);
        }
    } catch (...) {
    }
    return recorder != nullptr;
}

// What came so far, a line an event; false if the file cannot be written.
extern "C" bool record_write(const char *path)
{
    return recorder->write(path);
}
