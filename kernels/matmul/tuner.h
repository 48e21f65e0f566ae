#pragma once

// What the choice of an algorithm for a matrix product needs from outside: the device, a clock, and
// a memory of earlier choices. core/cuda implements it with CUDA's events and a file.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/library/cublaslt.h"

namespace plinth::kernels::cuda {

class MatmulTuner {
 public:
  virtual ~MatmulTuner() = default;

  // The number of the device, which is the thread's current one, and its compute capability: 90 for
  // sm_90.
  virtual int device() = 0;
  virtual int capability() = 0;

  // The algorithm that was kept for a problem, on this kind of device and with this version of the
  // library. `problem` is a word without spaces.
  virtual std::optional<lt::Algorithm> kept(std::string_view problem) = 0;
  virtual void keep(std::string_view problem, const lt::Algorithm& algorithm) = 0;

  // Whether candidates may be timed now: not while the stream's work is captured into a graph.
  virtual bool may_time() = 0;
  // How long the work takes that `give` gives to the stream.
  virtual double milliseconds(const std::function<void()>& give) = 0;
  // Device memory for the stream's work, until it is dropped.
  virtual std::shared_ptr<void> scratch(size_t bytes) = 0;
};

}  // namespace plinth::kernels::cuda
