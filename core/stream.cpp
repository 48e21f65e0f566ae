#include "core/stream.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/cuda/graph.h"
#include "core/cuda/runtime.h"
#include "core/index_check.h"

namespace plinth {
namespace {

constexpr std::string_view kWaits = "waits for the device";

std::map<int, Stream>& chosen() {
  thread_local std::map<int, Stream> of_thread;
  return of_thread;
}

// Not the legacy default stream, which no graph can capture.
Stream own_stream(Device device) {
  cuda::check_device(device);
  static std::mutex mutex;
  static auto* const streams = new std::map<int, Stream>;
  const std::lock_guard lock(mutex);
  const auto found = streams->find(device.index);
  if (found != streams->end()) return found->second;
  const Stream created{device, cuda::stream_create(device)};
  return streams->emplace(device.index, created).first->second;
}

}  // namespace

Stream current_stream(Device device) {
  if (device.is_cpu()) return {device, nullptr};
  const auto found = chosen().find(device.index);
  return found != chosen().end() ? found->second : own_stream(device);
}

void synchronize(Device device) {
  if (device.is_cpu()) return;
  cuda::refuse_capture(current_stream(device), kWaits);
  cuda::synchronize(device);
  raise_index_fault(device);
}

void synchronize(Stream stream) {
  if (stream.device.is_cpu()) return;
  cuda::refuse_capture(stream, kWaits);
  cuda::synchronize(stream);
  raise_index_fault(stream.device);
}

namespace {

// Streams without an owner, for the next one. None is destroyed, since blocks of memory and what
// libraries keep for a stream name it for as long as the process lives.
class IdleStreams {
 public:
  Stream take(Device device) {
    {
      const std::lock_guard lock(mutex_);
      std::vector<Stream>& idle = by_device_[device.index];
      if (!idle.empty()) {
        const Stream taken = idle.back();
        idle.pop_back();
        return taken;
      }
    }
    return {device, cuda::stream_create(device)};
  }
  void give_back(Stream stream) {
    const std::lock_guard lock(mutex_);
    by_device_[stream.device.index].push_back(stream);
  }

 private:
  std::mutex mutex_;
  std::map<int, std::vector<Stream>> by_device_;
};

IdleStreams& idle_streams() {
  static auto* const all = new IdleStreams;
  return *all;
}

}  // namespace

OwnedStream::OwnedStream(Device device)
    : stream_(device.is_cuda() ? idle_streams().take(device) : Stream{device, nullptr}) {}

OwnedStream::~OwnedStream() {
  if (stream_.handle) idle_streams().give_back(stream_);
}

StreamGuard::StreamGuard(Stream stream) : previous_(current_stream(stream.device)) {
  if (stream.device.is_cuda()) chosen()[stream.device.index] = stream;
}

StreamGuard::~StreamGuard() {
  if (previous_.device.is_cuda()) chosen()[previous_.device.index] = previous_;
}

Event::Event(Device device, bool timed)
    : device_(device), handle_(device.is_cuda() ? cuda::event_create(device, timed) : nullptr) {}

Event::~Event() {
  if (handle_) cuda::event_destroy(handle_);
}

Event::Event(Event&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(handle_, other.handle_);
  return *this;
}

void Event::record(Stream stream) {
  if (handle_) cuda::event_record(handle_, stream);
}

bool Event::is_done() const {
  return !handle_ || cuda::event_query(handle_);
}

void Event::synchronize() const {
  if (!handle_) return;
  cuda::refuse_capture(current_stream(device_), kWaits);
  cuda::event_synchronize(handle_);
  raise_index_fault(device_);
}

void Event::hold_back(Stream stream) const {
  if (handle_) cuda::stream_wait(stream, handle_);
}

double Event::elapsed_ms(const Event& later) const {
  return handle_ ? cuda::elapsed_ms(handle_, later.handle_) : 0;
}

}  // namespace plinth
