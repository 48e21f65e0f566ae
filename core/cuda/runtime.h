#pragma once

// What Plinth asks of the CUDA runtime: devices, memory, streams, events, graphs. The build picks
// one of three implementations:
//
//   runtime_cuda.cpp      libcudart, linked statically; it looks for the driver when it is first
//                         asked for a device, so that the program runs where there is none
//   runtime_absent.cpp    a build without the backend: no devices, and an error for all else
//   emulated/runtime.cpp  the emulator's device, in the host's memory, for tests: a stream's work
//   is
//                         done as late as CUDA allows
//
// Every function that can fail throws Error(Cuda) with the runtime's name and words of the error,
// or Error(Device) for a device that there is not.

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/device.h"

namespace plinth::cuda {

// ---- devices ----

// 0 where there is no backend, no driver or no GPU; never throws.
int device_count();
// Why device_count() is 0, in words: "no CUDA driver", ...
std::string why_no_device();
// Throws Error(Device) unless the device is one of device_count().
void check_device(Device device);

// Makes the device this thread's current one, which libraries that are called directly go by.
void make_current(Device device);

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t shared_bytes = 0;  // that a block may ask for
};
const DeviceProperties& properties(Device device);

struct MemoryInfo {
  int64_t free = 0;
  int64_t total = 0;
};
MemoryInfo memory_info(Device device);

// ---- memory ----

// Null where the device has not as much left. Also while this thread captures.
void* device_allocate(Device device, size_t bytes);
void device_free(Device device, void* memory) noexcept;
// Tell memory checkers that, in the order of the stream's work, `bytes` at `block` become a
// tensor's or stop to be: the emulator fails an access outside every tensor. Nothing on a GPU.
void mark_block(const void* block, size_t bytes, Stream stream);
void unmark_block(const void* block, Stream stream) noexcept;

// Pinned: the only host memory that is copied to and from a device while the host goes on; kernels
// reach it at the same address. Null where the system gives no more.
void* host_allocate(size_t bytes);
void host_free(void* memory) noexcept;

// From and to device or host memory, after the stream's earlier work. Host memory that is not
// pinned is read (or written) before the call returns.
void copy(void* to, const void* from, size_t bytes, Stream stream);
void fill_bytes(void* to, unsigned char value, size_t bytes, Stream stream);

// ---- streams and events ----

// OwnedStream and current_stream() are the way to use these: allocators keep a stream's blocks for
// it, and must not find it destroyed.
void* stream_create(Device device);
void stream_destroy(Stream stream) noexcept;
// Waits until all of the stream's work is done.
void synchronize(Stream stream);
void synchronize(Device device);

void* event_create(Device device, bool timed);
void event_destroy(void* event) noexcept;
void event_record(void* event, Stream stream);
// Whether what came before the record is done; true for an event never recorded.
bool event_query(void* event);
void event_synchronize(void* event);
// The stream's later work waits for the event.
void stream_wait(Stream stream, void* event);
// Between two timed events that are done.
double elapsed_ms(void* start, void* end);

// ---- graphs ----

// Between the two, work given to the stream, and to streams that wait for it, is recorded and not
// done; this thread must not wait for the device. core/cuda/graph.h is the way to use these.
void begin_capture(Stream stream);
void* end_capture(Stream stream);
// Ends a capture that failed, if one is under way.
void abandon_capture(Stream stream) noexcept;
bool is_capturing(Stream stream);
void graph_launch(void* graph, Stream stream);
void graph_destroy(void* graph) noexcept;

}  // namespace plinth::cuda
