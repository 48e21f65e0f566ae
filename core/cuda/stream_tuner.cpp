#include "core/cuda/stream_tuner.h"

#ifdef PLINTH_CUDA_BACKEND

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "core/cuda/algorithm_file.h"
#include "core/cuda/runtime.h"
#include "core/stream.h"
#include "core/tensor.h"

namespace plinth::cuda {
namespace {

using kernels::cuda::lt::Algorithm;

bool searches() {
  static const bool on = [] {
    const char* value = std::getenv("PLINTH_MATMUL_SEARCH");
    return !value || std::string_view(value) != "off";
  }();
  return on;
}

struct Files {
  std::mutex mutex;
  std::map<std::string, AlgorithmFile> by_device;  // by its name
};

// Calls f(the file of the device), for one thread at a time.
template <class F>
auto with_file(Device device, F f) {
  static auto* const files = new Files;
  const std::string& name = properties(device).name;
  const std::lock_guard lock(files->mutex);
  auto found = files->by_device.find(name);
  if (found == files->by_device.end()) {
    const size_t version = kernels::cuda::lt::library().version();
    found =
        files->by_device.emplace(name, AlgorithmFile(algorithm_path(name), name, version)).first;
  }
  return f(found->second);
}

}  // namespace

int StreamTuner::capability() {
  const DeviceProperties& known = properties(stream_.device);
  return known.major * 10 + known.minor;
}

std::optional<Algorithm> StreamTuner::kept(std::string_view problem) {
  if (!searches()) return {};
  return with_file(stream_.device, [&](AlgorithmFile& file) { return file.find(problem); });
}

void StreamTuner::keep(std::string_view problem, const Algorithm& algorithm) {
  with_file(stream_.device, [&](AlgorithmFile& file) { file.keep(problem, algorithm); });
}

bool StreamTuner::may_time() {
  return searches() && !is_capturing(stream_);
}

double StreamTuner::milliseconds(const std::function<void()>& give) {
  constexpr double kLeast = 1e-4;  // the clock's resolution is about five times that
  Event start(stream_.device, true), end(stream_.device, true);
  start.record(stream_);
  give();
  end.record(stream_);
  end.synchronize();
  return std::max(kLeast, start.elapsed_ms(end));
}

std::shared_ptr<void> StreamTuner::scratch(size_t bytes) {
  const auto memory = std::make_shared<Tensor>(
      Tensor::empty({static_cast<int64_t>(bytes)}, {DType::UInt8, stream_.device}));
  return {memory, memory->raw_data()};
}

}  // namespace plinth::cuda

#endif
