#pragma once

// A stream of the emulated device: a queue of work that is done as late as CUDA allows, that is,
// when somebody waits for it. Code that reads a result without waiting sees that it is not there.

#include <cstdint>
#include <deque>
#include <functional>

namespace plinth::emulate {

class StreamQueue {
 public:
  // Adds work to the end.
  void push(std::function<void()> work);
  // Does the work in order until `count` pieces have been done since the start. An exception of a
  // piece is thrown on, and leaves the pieces after it undone.
  void run_until(uint64_t count);
  void run_all() { run_until(pushed_); }

  uint64_t pushed() const { return pushed_; }
  uint64_t done() const { return done_; }

  // Between the two, work is kept and not done: what a CUDA graph captures.
  void begin_capture();
  std::deque<std::function<void()>> end_capture();
  bool is_capturing() const { return capturing_; }

 private:
  std::deque<std::function<void()>> waiting_;
  std::deque<std::function<void()>> captured_;
  uint64_t pushed_ = 0;
  uint64_t done_ = 0;
  bool capturing_ = false;
};

// Kernels launched since the start.
int64_t launches();

// Puts a kernel's launch into the queue that `stream` points to; without one it is done at once.
void submit(void* stream, std::function<void()> work);

}  // namespace plinth::emulate
