// c10's statistics in a form that any thread may change at any time, and a child that was forked meanwhile too: the
// bridge's.
#ifndef PRELOAD_HOST_STATS_H
#define PRELOAD_HOST_STATS_H

#include <ATen/core/CachingHostAllocator.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace
{

using c10::CachingAllocator::DurationStat;
using c10::CachingAllocator::Stat;
using Number = std::atomic<int64_t>;

void lift(Number &high, int64_t to)
{
    for (int64_t now = high; now < to && !high.compare_exchange_weak(now, to);) {
    }
}

// c10's Stat. What came and what went are counted, and nothing twice: each allocation pays for it.
class Count
{
  public:
    void add(int64_t n)
    {
        if (n > 0) {
            came_ += n;
            lift(peak_, current());
        } else {
            went_ -= n;
        }
    }

    // For what is looked at now and then: the difference came or went.
    void set(uint64_t now)
    {
        add(static_cast<int64_t>(now) - current());
    }

    void add_to(Stat &stat) const
    {
        stat.current += current();
        stat.peak += peak_;
        stat.allocated += came_ - came_before_;
        stat.freed += went_ - went_before_;
    }

    void reset_accumulated()
    {
        came_before_ = came_.load();
        went_before_ = went_.load();
    }

    void reset_peak()
    {
        peak_ = current();
    }

  private:
    int64_t current() const
    {
        return came_ - went_;
    }

    Number came_{0}, went_{0}, peak_{0}, came_before_{0}, went_before_{0};
};

// c10's DurationStat: what locking took.
class Duration
{
  public:
    using clock = std::chrono::steady_clock;

    // So many in one go, each as long as the others; none leaves no trace, as with torch's.
    void add_since(clock::time_point begin, int64_t times)
    {
        using std::chrono::microseconds;
        if (times > 0) {
            add(std::chrono::duration_cast<microseconds>(clock::now() - begin).count() / times, times);
        }
    }

    void add(int64_t us, int64_t times = 1)
    {
        total_ += us * times;
        count_ += times;
        lift(max_, us);
        lift(below_, -us);
    }

    void add_to(DurationStat &stat) const
    {
        if (below_ != none) {
            stat.min = stat.min == 0 ? -below_ : std::min<int64_t>(stat.min, -below_);
        }
        stat.max = std::max<int64_t>(stat.max, max_);
        stat.total += total_;
        stat.count += count_;
    }

    void reset_accumulated()
    {
        total_ = count_ = 0;
    }

    void reset_peak()
    {
        max_ = 0;
        below_ = none;
    }

  private:
    static constexpr int64_t none = INT64_MIN;
    Number total_{0}, count_{0}, max_{0}, below_{none}; // below: the least, negated
};

} // namespace

#endif
