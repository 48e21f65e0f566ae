#pragma once

#include "nn/optim/optimizer.h"

namespace plinth::nn {

// Adafactor (Shazeer & Stern 2018, arXiv 1804.04235): the second moments of a matrix [n, m] are
// kept as n row and m column means, those of a tensor with more dimensions over its last two. With
// g the scaled gradient, t the step, w = t^beta2_decay:
//
//   r += w (mean over columns of g^2 - r);   c += w (mean over rows of g^2 - c)
//   v[i, j] = r[i] / max(mean(r), eps1) c[j]             (a vector: v += w (g^2 - v))
//   u = g / sqrt(max(v, eps1^2));   u /= max(1, rms(u) / clip)
//   p *= 1 - lr weight_decay
//   p -= max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u        (rms(p) from before the decay)
//
// eps1 and eps1^2 are at least the smallest normal number. The steps of torch.optim.Adafactor.
// State: row_var and col_var, or variance.
struct AdafactorOptions {
  double lr = 1e-2;
  double beta2_decay = -0.8;
  double eps1 = 0;  // 0: the machine epsilon of the computation
  double eps2 = 1e-3;
  double clip = 1;
  double weight_decay = 0;
  NarrowUpdate narrow = NarrowUpdate::Master;  // not Stochastic
};

class Adafactor final : public Optimizer {
 public:
  // Throws Error(Argument) for stochastic rounding, beta2_decay above 0, or eps and clip that are
  // not positive.
  Adafactor(const std::vector<ParameterGroup>& groups, const AdafactorOptions& options = {});
  std::string_view name() const override { return "Adafactor"; }

 private:
  std::vector<State> states_of(const Slot& slot) const override;
  void update(const Bucket& bucket, double grad_scale, const DeviceInputs&) override;
  void update_one(Slot& slot, const Bucket& bucket, double grad_scale) const;

  AdafactorOptions options_;
};

}  // namespace plinth::nn
