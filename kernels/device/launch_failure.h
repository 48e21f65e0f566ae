#pragma once

// Kernels that could not be started: the device has no image of them, or not what they ask for.
// CUDA tells that to the launch alone, and nothing that comes later on the stream.

#include <utility>

namespace plinth::device {

struct LaunchFailure {
  const char* kernel = nullptr;  // null: none
  const char* error = nullptr;   // in the runtime's words
};

namespace detail {
inline LaunchFailure& launch_failure() {
  static thread_local LaunchFailure failure;
  return failure;
}
}  // namespace detail

// Keeps the first of this thread until it is taken.
inline void note_launch_failure(const char* kernel, const char* error) {
  LaunchFailure& failure = detail::launch_failure();
  if (!failure.kernel) failure = {kernel, error};
}
inline LaunchFailure take_launch_failure() {
  return std::exchange(detail::launch_failure(), {});
}

}  // namespace plinth::device
