#include "kernels/device/emulate/activity.h"

#include <chrono>
#include <utility>

namespace plinth::emulate {
namespace {

ActivityListener* active = nullptr;

// Of the work that runs now.
thread_local const void* current_stream = nullptr;
thread_local uint64_t current_scope = 0;

int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

void set_activity_listener(ActivityListener* listener) {
  active = listener;
}

std::function<void()> in_scope(const void* stream, std::function<void()> work) {
  if (!active) return work;
  return [stream, scope = active->scope(), work = std::move(work)] {
    const void* const outer_stream = std::exchange(current_stream, stream);
    const uint64_t outer_scope = std::exchange(current_scope, scope);
    work();
    current_stream = outer_stream;
    current_scope = outer_scope;
  };
}

ActivityTimer::ActivityTimer(ActivityKind kind, const std::string& name, const Shape& shape,
                             size_t bytes)
    : listener_(active) {
  if (listener_) activity_ = {kind, name, shape, bytes, current_stream, current_scope, now_ns(), 0};
}

ActivityTimer::~ActivityTimer() {
  if (!listener_) return;
  activity_.end_ns = now_ns();
  listener_->done(activity_);
}

}  // namespace plinth::emulate
