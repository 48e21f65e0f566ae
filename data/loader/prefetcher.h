#pragma once

// Work done ahead of its use, by one thread.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace plinth {

// Gives make(first), make(first + 1), ... in order; a thread of its own keeps up to `depth` of them
// ready. One thread at a time uses it. If make throws, next() throws that, each time it is called
// again.
template <class Item>
class Prefetcher {
 public:
  Prefetcher(int64_t first, size_t depth, std::function<Item(int64_t)> make)
      : make_(std::move(make)), depth_(depth), thread_([this, first] { work(first); }) {}

  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // Waits for the item that is being made, if there is one, and for nothing else.
  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Item next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty() || failure_; });
    if (ready_.empty()) std::rethrow_exception(failure_);
    Item item = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return item;
  }

 private:
  void work(int64_t index) {
    try {
      for (;; ++index) {
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [this] { return stopping_ || ready_.size() < depth_; });
          if (stopping_) return;
        }
        Item item = make_(index);
        {
          const std::lock_guard lock(mutex_);
          ready_.push_back(std::move(item));
        }
        changed_.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    changed_.notify_all();
  }

  const std::function<Item(int64_t)> make_;
  const size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> ready_;
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::thread thread_;  // the last member: what it uses exists when it starts
};

}  // namespace plinth
