#pragma once

#include "nn/optim/adamw.h"
#include "nn/optim/optimizer.h"

namespace plinth::nn {

// The factor on a matrix's update, which orthogonalisation leaves at a size of its own.
enum class MuonScale {
  Original,   // sqrt(max(1, rows / columns)) (Jordan et al. 2024)
  MatchAdamW  // 0.2 sqrt(max(rows, columns)): the update's root mean square is that of AdamW, whose
              // learning rate and weight decay then fit (Liu et al. 2025, arXiv 2502.16982)
};

// Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), for the hidden matrices of a
// network; AdamW for the rest. Of a matrix, g the scaled gradient:
//
//   m += (1 - momentum) (g - m);   u = nesterov ? g + momentum (m - g) : m
//   p *= 1 - lr weight_decay;      p -= lr scale newton_schulz(u)
//
// PyTorch's arithmetic (torch.optim.Muon). State: momentum_buffer of matrices; AdamW's of the rest.
struct MuonOptions {
  double lr = 1e-3;
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0.1;
  MuonScale scale = MuonScale::MatchAdamW;
  int64_t iterations = 5;
  DType iteration_dtype = DType::Float32;  // of the Newton-Schulz products
  // Of the parameters that are no hidden matrices. They take lr times their group's lr_scale.
  double adamw_beta1 = 0.9;
  double adamw_beta2 = 0.95;
  double adamw_eps = 1e-8;
  NarrowUpdate narrow = NarrowUpdate::Master;
  uint64_t seed = 0;  // of stochastic rounding
};

// The quintic Newton-Schulz iteration: x [rows, columns] with its singular values brought close to
// 1 (between 0.7 and 1.2 after five iterations, but for those below a thousandth of the norm):
//
//   x = x / |x|;   repeat: A = x x^T;   x = a x + (b A + c A A) x,   a, b, c = 3.4445,
//   -4.7750, 2.0315
//
// on x^T where it has fewer rows. 4 min^2 max + 2 min^3 operations an iteration for sides min, max.
Tensor newton_schulz(const Tensor& x, int64_t iterations = 5);

class Muon final : public Optimizer {
 public:
  // Throws Error(Shape) if a parameter of `matrices` has not two dimensions.
  Muon(const std::vector<ParameterGroup>& matrices, const std::vector<ParameterGroup>& others,
       const MuonOptions& options = {});
  std::string_view name() const override { return "Muon"; }

 private:
  std::vector<State> states_of(const Slot& slot) const override;
  void update(const Bucket& bucket, double grad_scale, const DeviceInputs&) override;
  void update_matrices(const Bucket& bucket, double grad_scale);
  void update_others(const Bucket& bucket, double grad_scale);

  MuonOptions options_;
  size_t matrix_groups_;
};

}  // namespace plinth::nn
