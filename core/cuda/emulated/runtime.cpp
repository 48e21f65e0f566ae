// The emulator's device behind core/cuda/runtime.h. Its memory is the host's, filled with NaN
// before it is first used; its streams do their work when somebody waits for it.

#include "core/cuda/runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "core/cuda/emulated/emulated.h"
#include "core/error.h"
#include "kernels/device/emulate/activity.h"
#include "kernels/device/emulate/global_memory.h"
#include "kernels/device/emulate/stream.h"

namespace plinth::cuda {
namespace {

using emulate::GlobalRange;
using emulate::StreamQueue;
using Clock = std::chrono::steady_clock;

constexpr std::align_val_t kAlignment{256};  // cudaMalloc's

struct Memory {
  int64_t total = int64_t{1} << 30;
  int64_t used = 0;
  std::map<const void*, size_t> device, pinned;
  std::map<const void*, std::unique_ptr<GlobalRange>> pinned_ranges;  // kernels reach pinned memory
  std::map<const void*, std::unique_ptr<GlobalRange>> tensors;
  std::vector<StreamQueue*> streams;
  emulated::HostCalls calls;
  bool failed = false, busy = false;
};

// Never destroyed: tensors in static variables are freed after it would be.
Memory& memory() {
  static auto* const all = new Memory;
  return *all;
}

StreamQueue& queue(Stream stream) {
  check_device(stream.device);
  if (stream.handle == nullptr) throw Error(ErrorKind::Cuda, "stream", "got none");
  auto* const work = static_cast<StreamQueue*>(stream.handle);
  check(std::ranges::find(memory().streams, work) != memory().streams.end(), ErrorKind::Cuda,
        "stream", "cudaErrorInvalidResourceHandle: got one that is destroyed");
  return *work;
}

// The block of `blocks` that holds the address.
bool lies_in(const std::map<const void*, size_t>& blocks, const void* address) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return false;
  --next;
  return static_cast<const char*>(address) < static_cast<const char*>(next->first) + next->second;
}

struct Event {
  StreamQueue* stream = nullptr;
  uint64_t count = 0;  // of the stream's pieces of work that come before
  bool asked = false;
  std::shared_ptr<Clock::time_point> time;
};

Event& as_event(void* event) {
  return *static_cast<Event*>(event);
}

// What CUDA refuses to a thread that captures. (The emulator has one thread.)
void refuse_while_capturing(const char* call) {
  for (const StreamQueue* stream : memory().streams) {
    check(!stream->is_capturing(), ErrorKind::Cuda, call,
          "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing");
  }
}

// What waits for the device, or asks after it.
void check_wait(const char* call) {
  check(!memory().failed, ErrorKind::Cuda, call,
        "cudaErrorLaunchFailure: unspecified launch failure");
  refuse_while_capturing(call);
}

using Graph = std::deque<std::function<void()>>;

void* allocate(size_t bytes, std::map<const void*, size_t>& blocks) {
  void* block = ::operator new(bytes + 1, kAlignment);
  std::memset(block, 0xff, bytes);  // NaN in every dtype of floating point
  blocks[block] = bytes;
  return block;
}

void copy_now(void* to, const void* from, size_t bytes) {
  const emulate::ActivityTimer timer(emulate::ActivityKind::Copy, "copy", {}, bytes);
  std::memcpy(to, from, bytes);
}

}  // namespace

namespace emulated {
void set_memory(int64_t bytes) {
  memory().total = bytes;
}
void set_failed(bool failed) {
  memory().failed = failed;
}
void set_busy(bool busy) {
  memory().busy = busy;
}
HostCalls host_calls() {
  HostCalls calls = memory().calls;
  calls.kernel_launches = emulate::launches();
  return calls;
}
}  // namespace emulated

int device_count() {
  return 1;
}
std::string why_no_device() {
  return "";
}

void check_device(Device device) {
  check(device.is_cuda() && device.index == 0, ErrorKind::Device, "device", "got ", device,
        ", but there is only cuda:0");
}

void make_current(Device device) {
  check_device(device);
}

const DeviceProperties& properties(Device device) {
  check_device(device);
  static const DeviceProperties emulator{"emulator", 9, 0, 4, int64_t{1} << 30, 1 << 20, 227 << 10};
  return emulator;
}

MemoryInfo memory_info(Device device) {
  check_device(device);
  return {memory().total - memory().used, memory().total};
}

void* device_allocate(Device device, size_t bytes) {
  check_device(device);
  Memory& all = memory();
  if (all.used + static_cast<int64_t>(bytes) > all.total) return nullptr;
  all.used += static_cast<int64_t>(bytes);
  return allocate(bytes, all.device);
}

void device_free(Device, void* block) noexcept {
  Memory& all = memory();
  const auto found = all.device.find(block);
  if (found == all.device.end()) std::abort();
  for (StreamQueue* stream : all.streams) stream->run_all();  // as cudaFree waits for the device
  all.used -= static_cast<int64_t>(found->second);
  all.device.erase(found);
  ::operator delete(block, kAlignment);
}

void mark_block(const void* block, size_t bytes, Stream stream) {
  queue(stream).push([=] {
    auto& range = memory().tensors[block];
    range.reset();  // the range that goes must go before the one that comes
    range = std::make_unique<GlobalRange>(block, bytes, true);
  });
}

void unmark_block(const void* block, Stream stream) noexcept {
  queue(stream).push([=] { memory().tensors.erase(block); });
}

void* host_allocate(size_t bytes) {
  void* const block = allocate(bytes, memory().pinned);
  memory().pinned_ranges[block] = std::make_unique<GlobalRange>(block, bytes, true);
  return block;
}
void host_free(void* block) noexcept {
  memory().pinned_ranges.erase(block);
  memory().pinned.erase(block);
  ::operator delete(block, kAlignment);
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  StreamQueue& work = queue(stream);
  Memory& all = memory();
  ++all.calls.copies;
  const auto is_late = [&](const void* address) {
    return lies_in(all.device, address) || lies_in(all.pinned, address);
  };
  check(!work.is_capturing() || (is_late(from) && is_late(to)), ErrorKind::Cuda, "copy",
        "memory that is not pinned would be read or written once, at the capture");
  if (!is_late(from)) {
    const auto* first = static_cast<const std::byte*>(from);
    work.push([to, kept = std::vector<std::byte>(first, first + bytes)] {
      copy_now(to, kept.data(), kept.size());
    });
  } else {
    work.push([=] { copy_now(to, from, bytes); });
    // From host memory to host memory the host waits, pinned or not.
    const bool stays = !lies_in(all.device, from) && !lies_in(all.device, to);
    if (!is_late(to) || (stays && !work.is_capturing())) work.run_all();
  }
}

void fill_bytes(void* to, unsigned char value, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  ++memory().calls.fills;
  queue(stream).push([=] {
    const emulate::ActivityTimer timer(emulate::ActivityKind::Fill, "fill", {}, bytes);
    std::memset(to, value, bytes);
  });
}

void* stream_create(Device device) {
  check_device(device);
  return memory().streams.emplace_back(new StreamQueue);
}

void stream_destroy(Stream stream) noexcept {
  auto* const work = static_cast<StreamQueue*>(stream.handle);
  for (StreamQueue* stream : memory().streams) stream->run_all();  // they may wait for this one
  std::erase(memory().streams, work);
  delete work;
}

void synchronize(Stream stream) {
  check_wait("synchronize");
  queue(stream).run_all();
}
void synchronize(Device device) {
  check_wait("synchronize");
  check_device(device);
  for (StreamQueue* stream : memory().streams) stream->run_all();
}

void* event_create(Device device, bool) {
  check_device(device);
  return new Event;
}
void event_destroy(void* event) noexcept {
  delete static_cast<Event*>(event);
}

void event_record(void* event, Stream stream) {
  StreamQueue& work = queue(stream);
  Event& recorded = as_event(event);
  recorded.time = std::make_shared<Clock::time_point>();
  work.push([time = recorded.time] { *time = Clock::now(); });
  recorded.stream = &work;
  recorded.count = work.pushed();
  recorded.asked = false;
}

bool event_query(void* event) {
  check_wait("event_query");
  Event& recorded = as_event(event);
  if (recorded.stream == nullptr || recorded.stream->done() >= recorded.count) return true;
  if (memory().busy) return false;
  // Late, but not for ever: who asks again finds it done.
  if (recorded.asked) recorded.stream->run_until(recorded.count);
  return std::exchange(recorded.asked, true);
}

void event_synchronize(void* event) {
  check_wait("event_synchronize");
  Event& recorded = as_event(event);
  if (recorded.stream != nullptr) recorded.stream->run_until(recorded.count);
}

void stream_wait(Stream stream, void* event) {
  const Event& recorded = as_event(event);
  StreamQueue& work = queue(stream);
  if (recorded.stream == nullptr || recorded.stream == &work) return;
  check(!work.is_capturing() && !recorded.stream->is_capturing(), ErrorKind::Cuda, "stream_wait",
        "the emulator captures one stream at a time");
  work.push([before = recorded.stream, count = recorded.count] { before->run_until(count); });
}

double elapsed_ms(void* start, void* end) {
  const Clock::duration elapsed = *as_event(end).time - *as_event(start).time;
  return std::chrono::duration<double, std::milli>(elapsed).count();
}

void begin_capture(Stream stream) {
  refuse_while_capturing("begin_capture");
  queue(stream).begin_capture();
}
void* end_capture(Stream stream) {
  return new Graph(queue(stream).end_capture());
}
void abandon_capture(Stream stream) noexcept {
  queue(stream).end_capture();
}
bool is_capturing(Stream stream) {
  return queue(stream).is_capturing();
}
void graph_launch(void* graph, Stream stream) {
  ++memory().calls.graph_launches;
  for (const auto& work : *static_cast<const Graph*>(graph)) queue(stream).push(work);
}
void graph_destroy(void* graph) noexcept {
  delete static_cast<Graph*>(graph);
}

}  // namespace plinth::cuda
