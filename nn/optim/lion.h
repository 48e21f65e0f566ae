#pragma once

#include "nn/optim/optimizer.h"

namespace plinth::nn {

// Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2), g the scaled gradient:
//
//   p *= 1 - lr weight_decay;   p -= lr sign(beta1 m + (1 - beta1) g)
//   m = beta2 m + (1 - beta2) g
//
// Learning rates are 3 to 10 times smaller than AdamW's, weight decay as much larger. State:
// exp_avg.
struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double weight_decay = 0;
  NarrowUpdate narrow = NarrowUpdate::Master;
  uint64_t seed = 0;  // of stochastic rounding
};

class Lion final : public Optimizer {
 public:
  // Throws Error(Argument) unless 0 <= beta < 1.
  Lion(const std::vector<ParameterGroup>& groups, const LionOptions& options = {});
  bool steps_on_device() const override { return true; }
  std::string_view name() const override { return "Lion"; }
  bool is_elementwise() const override { return true; }

 private:
  std::vector<State> states_of(const Slot& slot) const override;
  void update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) override;
  DeviceScalars scalars(const Bucket& bucket, double grad_scale) const override;
  kernels::cpu::LionOptions step_options(const Bucket& bucket, double grad_scale) const;

  LionOptions options_;
};

}  // namespace plinth::nn
