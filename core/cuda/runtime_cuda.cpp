#include <cuda_runtime.h>

#include <deque>
#include <mutex>

#include "core/cuda/runtime.h"
#include "core/error.h"
#include "kernels/device/launch_failure.h"

namespace plinth::cuda {
namespace {

[[noreturn]] void fail(const char* call, cudaError_t error) {
  cudaGetLastError();  // an error that is told once must not come back at the next call
  throw Error(ErrorKind::Cuda, call,
              detail::concat(cudaGetErrorName(error), ": ", cudaGetErrorString(error)));
}

void require(cudaError_t error, const char* call) {
  if (error != cudaSuccess) [[unlikely]]
    fail(call, error);
}

// The runtime keeps a device for each thread.
void use(Device device) {
  thread_local int current = -1;
  if (current == device.index) return;
  check_device(device);
  require(cudaSetDevice(device.index), "cudaSetDevice");
  current = device.index;
}

cudaStream_t of(Stream stream) {
  use(stream.device);
  return static_cast<cudaStream_t>(stream.handle);
}

cudaEvent_t as_event(void* event) {
  return static_cast<cudaEvent_t>(event);
}

struct Found {
  int count = 0;
  cudaError_t error = cudaSuccess;
};

const Found& found() {
  static const Found result = [] {
    Found devices;
    devices.error = cudaGetDeviceCount(&devices.count);
    if (devices.error != cudaSuccess) {
      devices.count = 0;
      cudaGetLastError();
    }
    return devices;
  }();
  return result;
}

int64_t attribute(cudaDeviceAttr which, Device device) {
  int value = 0;
  require(cudaDeviceGetAttribute(&value, which, device.index), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int device_count() {
  return found().count;
}

std::string why_no_device() {
  switch (found().error) {
    case cudaSuccess: return "the CUDA driver finds no GPU";
    case cudaErrorInsufficientDriver: return "there is no CUDA driver, or it is too old";
    default: return cudaGetErrorString(found().error);
  }
}

void check_device(Device device) {
  check(device.is_cuda(), ErrorKind::Device, "device", "got ", device, ", expected a CUDA device");
  check(device_count() > 0, ErrorKind::Device, "device", "got ", device, ", but ", why_no_device());
  check(device.index >= 0 && device.index < device_count(), ErrorKind::Device, "device", "got ",
        device, ", but there are only ", device_count(), " CUDA devices");
}

void make_current(Device device) {
  use(device);
}

const DeviceProperties& properties(Device device) {
  check_device(device);
  static std::mutex mutex;
  static auto* const known = new std::deque<DeviceProperties>(device_count());
  const std::lock_guard lock(mutex);
  DeviceProperties& result = (*known)[device.index];
  if (result.major == 0) {
    cudaDeviceProp all;
    require(cudaGetDeviceProperties(&all, device.index), "cudaGetDeviceProperties");
    result = {all.name,
              all.major,
              all.minor,
              all.multiProcessorCount,
              static_cast<int64_t>(all.totalGlobalMem),
              attribute(cudaDevAttrL2CacheSize, device),
              attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
  }
  return result;
}

MemoryInfo memory_info(Device device) {
  use(device);
  size_t free = 0, total = 0;
  require(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

// While it lives, this thread may call what a capture of its own would be broken by; new memory
// does not disturb it.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

void* device_allocate(Device device, size_t bytes) {
  use(device);
  const RelaxedCapture relaxed;
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  require(error, "cudaMalloc");
  return memory;
}

void device_free(Device device, void* memory) noexcept {
  try {
    use(device);  // and not past it: it knows which device is the thread's
  } catch (const Error&) {
    // A device that failed has told whoever waits for it.
  }
  cudaFree(memory);
}

void mark_block(const void*, size_t, Stream) {}
void unmark_block(const void*, Stream) noexcept {}

void* host_allocate(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  require(error, "cudaHostAlloc");
  return memory;
}

void host_free(void* memory) noexcept {
  cudaFreeHost(memory);
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes > 0)
    require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, of(stream)), "cudaMemcpyAsync");
}

void fill_bytes(void* to, unsigned char value, size_t bytes, Stream stream) {
  if (bytes > 0) require(cudaMemsetAsync(to, value, bytes, of(stream)), "cudaMemsetAsync");
}

void* stream_create(Device device) {
  use(device);
  cudaStream_t stream = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return stream;
}

void stream_destroy(Stream stream) noexcept {
  cudaStreamDestroy(static_cast<cudaStream_t>(stream.handle));
}

void synchronize(Stream stream) {
  require(cudaStreamSynchronize(of(stream)), "cudaStreamSynchronize");
}

void synchronize(Device device) {
  use(device);
  require(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

void* event_create(Device device, bool timed) {
  use(device);
  cudaEvent_t event = nullptr;
  require(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming),
          "cudaEventCreate");
  return event;
}

void event_destroy(void* event) noexcept {
  cudaEventDestroy(as_event(event));
}

void event_record(void* event, Stream stream) {
  require(cudaEventRecord(as_event(event), of(stream)), "cudaEventRecord");
}

bool event_query(void* event) {
  const cudaError_t state = cudaEventQuery(as_event(event));
  if (state == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  require(state, "cudaEventQuery");
  return true;
}

void event_synchronize(void* event) {
  require(cudaEventSynchronize(as_event(event)), "cudaEventSynchronize");
}

void stream_wait(Stream stream, void* event) {
  require(cudaStreamWaitEvent(of(stream), as_event(event), 0), "cudaStreamWaitEvent");
}

double elapsed_ms(void* start, void* end) {
  float milliseconds = 0;
  require(cudaEventElapsedTime(&milliseconds, as_event(start), as_event(end)),
          "cudaEventElapsedTime");
  return milliseconds;
}

void begin_capture(Stream stream) {
  require(cudaStreamBeginCapture(of(stream), cudaStreamCaptureModeThreadLocal),
          "cudaStreamBeginCapture");
}

void* end_capture(Stream stream) {
  cudaGraph_t graph = nullptr;
  require(cudaStreamEndCapture(of(stream), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  require(error, "cudaGraphInstantiate");
  return executable;
}

void abandon_capture(Stream stream) noexcept {
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(handle, &status);
  cudaGraph_t graph = nullptr;
  if (status != cudaStreamCaptureStatusNone) cudaStreamEndCapture(handle, &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();  // of a capture that is broken: it was told when it broke
  device::take_launch_failure();
}

bool is_capturing(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  require(cudaStreamIsCapturing(of(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

void graph_launch(void* graph, Stream stream) {
  require(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), of(stream)), "cudaGraphLaunch");
}

void graph_destroy(void* graph) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace plinth::cuda
