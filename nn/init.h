#pragma once

// Initialisers of parameters. A weight has shape [out, in, ...]; fan_in is in times the rest,
// fan_out is out times the rest.
//
// Random ones draw from the Philox stream of a key. A module's own parameters take the keys of
// their (seed, dotted name), so that a weight does not depend on what else is built, or when.

#include <cstdint>
#include <functional>
#include <string_view>

#include "core/tensor.h"
#include "kernels/philox.h"

namespace plinth::nn {

// Overwrites `parameter`.
using Initializer = std::function<void(Tensor& parameter, const kernels::PhiloxKey& key)>;

// While one lives, this thread's modules leave initialised parameters unwritten: for models whose
// weights are read from a file, or drawn by Module::reset_parameters.
class SkipInit {
 public:
  SkipInit();
  ~SkipInit();
  SkipInit(const SkipInit&) = delete;
  SkipInit& operator=(const SkipInit&) = delete;
  static bool active();

 private:
  bool previous_;
};

namespace init {

// The key of a parameter: its name stands for the step, and an op number that no run reaches keeps
// it apart from the run's dropout.
kernels::PhiloxKey key_of(uint64_t seed, std::string_view name);

Initializer constant(double value);
Initializer zeros();
Initializer ones();
Initializer uniform(double low, double high);
Initializer normal(double mean = 0, double stddev = 0.02);
// Normal, drawn again while outside [low, high]. Error(Argument) if less than a hundredth of the
// distribution lies inside.
Initializer trunc_normal(double mean, double stddev, double low, double high);

// Glorot & Bengio 2010: variance gain^2 * 2 / (fan_in + fan_out).
Initializer xavier_uniform(double gain = 1);
Initializer xavier_normal(double gain = 1);
// He et al. 2015 (arXiv 1502.01852): variance gain^2 / fan_in; gain is sqrt(2) for ReLU.
Initializer kaiming_uniform(double gain);
Initializer kaiming_normal(double gain);
// Uniform within 1 / sqrt(fan_in), the default of Linear.
Initializer uniform_fan_in();

// GPT-2's residual projections (Radford et al. 2019, section 2.3): stddev / sqrt(residual
// branches), of which a transformer has two a layer.
Initializer residual_normal(double stddev, int64_t layers);

}  // namespace init
}  // namespace plinth::nn
