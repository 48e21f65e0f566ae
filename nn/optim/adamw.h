#pragma once

#include "nn/optim/optimizer.h"

namespace plinth::nn {

// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), g the scaled gradient, t the step:
//
//   p *= 1 - lr weight_decay
//   m = beta1 m + (1 - beta1) g;   v = beta2 v + (1 - beta2) g g
//   p -= lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
//
// PyTorch's arithmetic, all tensors in one kernel. State: exp_avg, exp_avg_sq.
struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  NarrowUpdate narrow = NarrowUpdate::Master;
  uint64_t seed = 0;  // of stochastic rounding
};

class AdamW final : public Optimizer {
 public:
  // Throws Error(Argument) unless 0 <= beta < 1 and eps >= 0.
  AdamW(const std::vector<ParameterGroup>& groups, const AdamWOptions& options = {});
  bool steps_on_device() const override { return true; }
  std::string_view name() const override { return "AdamW"; }
  bool is_elementwise() const override { return true; }

 private:
  std::vector<State> states_of(const Slot& slot) const override;
  void update(const Bucket& bucket, double grad_scale, const DeviceInputs& inputs) override;
  DeviceScalars scalars(const Bucket& bucket, double grad_scale) const override;
  kernels::cpu::AdamWOptions step_options(const Bucket& bucket, double grad_scale) const;

  AdamWOptions options_;
};

}  // namespace plinth::nn
