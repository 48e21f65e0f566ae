#include "kernels/device/emulate/stream.h"

#include <utility>

#include "kernels/device/emulate/activity.h"

namespace plinth::emulate {

void StreamQueue::push(std::function<void()> work) {
  if (capturing_) {
    captured_.push_back(std::move(work));
    return;
  }
  waiting_.push_back(in_scope(this, std::move(work)));
  ++pushed_;
}

void StreamQueue::run_until(uint64_t count) {
  while (done_ < count && !waiting_.empty()) {
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    ++done_;
    work();
  }
}

void StreamQueue::begin_capture() {
  capturing_ = true;
}

std::deque<std::function<void()>> StreamQueue::end_capture() {
  capturing_ = false;
  return std::exchange(captured_, {});
}

namespace {
int64_t submitted = 0;
}

int64_t launches() {
  return submitted;
}

void submit(void* stream, std::function<void()> work) {
  ++submitted;
  if (stream == nullptr) {
    work();
  } else {
    static_cast<StreamQueue*>(stream)->push(std::move(work));
  }
}

}  // namespace plinth::emulate
