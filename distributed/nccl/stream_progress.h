#pragma once

// How much of a stream's work is done, for a thread that must not ask the device: that would break
// what another thread captures. After each piece of work the stream itself copies its number into
// pinned memory; from the device's, since the host would wait for a copy within its own.

#include <atomic>
#include <cstdint>

#include "core/cuda/staging.h"
#include "core/device.h"

namespace plinth::distributed {

class StreamProgress {
 public:
  // How many marks may be under way at once.
  static constexpr int64_t kMarks = 1024;

  // Throws Error(OutOfMemory), and Error(Cuda).
  explicit StreamProgress(Stream stream);
  StreamProgress(const StreamProgress&) = delete;
  StreamProgress& operator=(const StreamProgress&) = delete;

  void mark();
  // The marks that the stream has come to. Any thread may call it.
  uint64_t done() const {
    return std::atomic_ref(*words_.host<uint64_t>()).load(std::memory_order_acquire);
  }

 private:
  // Brings the numbers of the next kMarks marks to the device.
  void send_numbers();

  const Stream stream_;
  const cuda::Staging words_;  // what is done, then the numbers
  uint64_t marks_ = 0;
};

}  // namespace plinth::distributed
