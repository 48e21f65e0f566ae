#pragma once

#include "core/ops/normalization.h"
#include "nn/layers/share.h"
#include "nn/module.h"

namespace plinth::nn {

struct LayerNormOptions {
  double eps = 1e-5;
  bool weight = true;
  bool bias = true;
  // What is normed goes into matrix products alone: under autocast it comes in their dtype, rounded
  // as they would round it. For one product, since gradients of several would be added in it.
  bool feeds_products = false;
  TensorOptions options = {};
};

// (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension, `dim` (Ba et al. 2016,
// arXiv 1607.06450). Statistics are computed in float32 or wider.
class LayerNorm final : public Layer {
 public:
  explicit LayerNorm(int64_t dim, const LayerNormOptions& options = {});
  Tensor forward(const Tensor& x) override;
  // {x + residual, its norm}, in one pass over memory.
  AddNorm add(const Tensor& x, const Tensor& residual) const;
  // Weight and bias are used as `parameter` gives them.
  void share(TensorMap parameter) { parameter_ = std::move(parameter); }

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  int64_t dim_;
  double eps_;
  bool feeds_products_;
  Tensor weight_, bias_;
  TensorMap parameter_;
};

struct RMSNormOptions {
  double eps = 1e-6;
  bool feeds_products = false;  // as LayerNormOptions has it
  TensorOptions options = {};
};

// x / sqrt(mean of x^2 + eps) * weight over the last dimension, `dim` (Zhang & Sennrich 2019, arXiv
// 1910.07467).
class RMSNorm final : public Layer {
 public:
  explicit RMSNorm(int64_t dim, const RMSNormOptions& options = {});
  Tensor forward(const Tensor& x) override;
  // {x + residual, its norm}, in one pass over memory.
  AddNorm add(const Tensor& x, const Tensor& residual) const;
  // The weight is used as `parameter` gives it.
  void share(TensorMap parameter) { parameter_ = std::move(parameter); }

  const Tensor& weight() const { return weight_; }

 private:
  double eps_;
  bool feeds_products_;
  Tensor weight_;
  TensorMap parameter_;
};

}  // namespace plinth::nn
