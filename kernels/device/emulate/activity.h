#pragma once

// What the emulated device did, for a profiler of the programs that run on it.

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/device/emulate/launch.h"

namespace plinth::emulate {

enum class ActivityKind { Kernel, Copy, Fill };

struct Activity {
  ActivityKind kind = ActivityKind::Kernel;
  std::string name;
  Shape shape;       // of a kernel
  size_t bytes = 0;  // of a copy or a fill
  const void* stream = nullptr;
  uint64_t scope = 0;    // that the listener named when the stream was given it
  int64_t begin_ns = 0;  // of std::chrono::steady_clock
  int64_t end_ns = 0;
};

struct ActivityListener {
  virtual ~ActivityListener() = default;
  // What the host does now, as it gives work to a stream.
  virtual uint64_t scope() = 0;
  virtual void done(const Activity& activity) = 0;
};

// Null takes it away.
void set_activity_listener(ActivityListener* listener);

// `work`, which remembers the stream and the host's scope for the activities in it.
std::function<void()> in_scope(const void* stream, std::function<void()> work);

// Tells the listener of an activity that lasts as long as this lives.
class ActivityTimer {
 public:
  ActivityTimer(ActivityKind kind, const std::string& name, const Shape& shape, size_t bytes);
  ~ActivityTimer();
  ActivityTimer(const ActivityTimer&) = delete;
  ActivityTimer& operator=(const ActivityTimer&) = delete;

 private:
  ActivityListener* const listener_;
  Activity activity_;
};

}  // namespace plinth::emulate
