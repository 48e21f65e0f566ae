#pragma once

#include "nn/optim/optimizer.h"

namespace plinth::nn {

// Stochastic gradient descent with momentum (Polyak 1964; Nesterov's as in Sutskever et al. 2013),
// g the scaled gradient plus weight_decay p:
//
//   m = momentum m + g;   p -= lr (nesterov ? g + momentum m : m)
//
// PyTorch's arithmetic. State: momentum_buffer, if momentum is not 0.
struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  NarrowUpdate narrow = NarrowUpdate::Master;
  uint64_t seed = 0;  // of stochastic rounding
};

class Sgd final : public Optimizer {
 public:
  // Throws Error(Argument) unless 0 <= momentum < 1, and for nesterov without momentum.
  Sgd(const std::vector<ParameterGroup>& groups, const SgdOptions& options = {});
  bool steps_on_device() const override { return true; }
  std::string_view name() const override { return "SGD"; }
  bool is_elementwise() const override { return true; }

 private:
  std::vector<State> states_of(const Slot& slot) const override;
  void update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) override;
  DeviceScalars scalars(const Bucket& bucket, double grad_scale) const override;
  kernels::cpu::SgdOptions step_options(const Bucket& bucket, double grad_scale) const;

  SgdOptions options_;
};

}  // namespace plinth::nn
