#pragma once

// How much of a stream's work is done, for a thread that must not ask the device: that would break
// what another thread captures. After each piece of work the stream itself writes its number into
// pinned memory.

#include <atomic>
#include <cstdint>

#include "core/device.h"

namespace plinth::distributed {

class StreamProgress {
 public:
  // How many marks may be under way at once.
  static constexpr int64_t kMarks = 1024;

  // Throws Error(OutOfMemory).
  explicit StreamProgress(Stream stream);
  // Waits for the stream.
  ~StreamProgress();
  StreamProgress(const StreamProgress&) = delete;
  StreamProgress& operator=(const StreamProgress&) = delete;

  void mark();
  // The marks that the stream has come to. Any thread may call it.
  uint64_t done() const { return std::atomic_ref(*words_).load(std::memory_order_acquire); }

 private:
  const Stream stream_;
  uint64_t* const words_;  // what is done, then the numbers that are written there
  uint64_t marks_ = 0;
};

}  // namespace plinth::distributed
