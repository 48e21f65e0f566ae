#include "core/cuda/runtime.h"
#include "core/error.h"

namespace plinth::cuda {
namespace {

[[noreturn]] void refuse(Device device = {DeviceType::CUDA, 0}) {
  throw Error(ErrorKind::Device, "device",
              detail::concat("got ", device, ", but ", why_no_device()));
}

}  // namespace

int device_count() {
  return 0;
}
std::string why_no_device() {
  return "this build has no CUDA backend (configure with PLINTH_CUDA=ON)";
}
void check_device(Device device) {
  refuse(device);
}
void make_current(Device device) {
  refuse(device);
}
const DeviceProperties& properties(Device device) {
  refuse(device);
}
MemoryInfo memory_info(Device) {
  refuse();
}

void* device_allocate(Device, size_t) {
  refuse();
}
void device_free(Device, void*) noexcept {}
void mark_block(const void*, size_t, Stream) {
  refuse();
}
void unmark_block(const void*, Stream) noexcept {}
void* host_allocate(size_t) {
  refuse();
}
void host_free(void*) noexcept {}
void copy(void*, const void*, size_t, Stream) {
  refuse();
}
void fill_bytes(void*, unsigned char, size_t, Stream) {
  refuse();
}

void* stream_create(Device) {
  refuse();
}
void stream_destroy(Stream) noexcept {}
void synchronize(Stream) {
  refuse();
}
void synchronize(Device) {
  refuse();
}
void* event_create(Device, bool) {
  refuse();
}
void event_destroy(void*) noexcept {}
void event_record(void*, Stream) {
  refuse();
}
bool event_query(void*) {
  refuse();
}
void event_synchronize(void*) {
  refuse();
}
void stream_wait(Stream, void*) {
  refuse();
}
double elapsed_ms(void*, void*) {
  refuse();
}

void begin_capture(Stream) {
  refuse();
}
void* end_capture(Stream) {
  refuse();
}
void abandon_capture(Stream) noexcept {}
bool is_capturing(Stream) {
  return false;
}
void graph_launch(void*, Stream) {
  refuse();
}
void graph_destroy(void*) noexcept {}

}  // namespace plinth::cuda
