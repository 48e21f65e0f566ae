#pragma once

#include "apps/bench/stopwatch.h"
#include "core/cuda/runtime.h"
#include "core/ops/factories.h"
#include "core/stream.h"

namespace plinth::apps {

// Times pieces of work on one device. On the CPU by the clock, with whatever lies in its caches. On
// a GPU by two events in the stream, behind a write of four times the second cache: operands come
// from memory, and the host has launched the work by the time that the write is done.
class DeviceTimer {
 public:
  explicit DeviceTimer(Device device) : device_(device) {
    if (device.is_cuda())
      flushed_ = Tensor::empty({4 * cuda::properties(device).l2_bytes}, {DType::UInt8, device});
  }

  template <class Work>
  double milliseconds(Work&& work) const {
    if (device_.is_cuda()) return between_events(work);
    const Stopwatch time;
    work();
    return time.milliseconds();
  }

 private:
  template <class Work>
  double between_events(Work&& work) const {
    const Stream stream = current_stream(device_);
    Event begin(device_, true), end(device_, true);
    cuda::fill_bytes(flushed_.raw_data(), 0, static_cast<size_t>(flushed_.numel()), stream);
    begin.record(stream);
    work();
    end.record(stream);
    end.synchronize();
    return begin.elapsed_ms(end);
  }

  Device device_;
  Tensor flushed_;
};

}  // namespace plinth::apps
