#pragma once

// Chooses the algorithms of a stream's matrix products: times candidates with events, and keeps
// the choice in the file of the stream's device (algorithm_file.h). Where the environment variable
// PLINTH_MATMUL_SEARCH is "off", nothing is timed, read or kept: the first of the heuristics is
// taken.

#include "core/device.h"
#include "kernels/matmul/tuner.h"

namespace plinth::cuda {

class StreamTuner final : public kernels::cuda::MatmulTuner {
 public:
  explicit StreamTuner(Stream stream) : stream_(stream) {}

  int device() override { return stream_.device.index; }
  int capability() override;
  std::optional<kernels::cuda::lt::Algorithm> kept(std::string_view problem) override;
  void keep(std::string_view problem, const kernels::cuda::lt::Algorithm& algorithm) override;
  bool may_time() override;
  double milliseconds(const std::function<void()>& give) override;
  std::shared_ptr<void> scratch(size_t bytes) override;

 private:
  Stream stream_;
};

}  // namespace plinth::cuda
