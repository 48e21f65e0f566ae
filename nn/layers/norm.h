#pragma once

#include <optional>

#include "core/ops/normalization.h"
#include "nn/layers/share.h"
#include "nn/module.h"
#include "nn/residual.h"

namespace plinth::nn {

// A norm over the last dimension.
class Norm : public Layer {
 public:
  // {x.sum(), its norm}: in one pass over memory, but where the branch would have to be converted
  // for that, or there is none.
  AddNorm add(const Residual& x);
  // Weight and bias are used as `parameter` gives them.
  void share(TensorMap parameter) { parameter_ = std::move(parameter); }

 protected:
  explicit Norm(bool feeds_products) : feeds_products_(feeds_products) {}
  // The dtype of what is normed of x, where it is not the op's own choice.
  std::optional<DType> normed_dtype(const Tensor& x) const;
  // x + residual and its norm, in that dtype.
  virtual AddNorm add_norm(const Tensor& x, const Tensor& residual) const = 0;
  Tensor shared(const Tensor& parameter) const { return mapped(parameter_, parameter); }

 private:
  bool feeds_products_;
  TensorMap parameter_;
};

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
class LayerNorm final : public Norm {
 public:
  explicit LayerNorm(int64_t dim, const LayerNormOptions& options = {});
  Tensor forward(const Tensor& x) override;

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  AddNorm add_norm(const Tensor& x, const Tensor& residual) const override;

  int64_t dim_;
  double eps_;
  Tensor weight_, bias_;
};

struct RMSNormOptions {
  double eps = 1e-6;
  bool feeds_products = false;  // as LayerNormOptions has it
  TensorOptions options = {};
};

// x / sqrt(mean of x^2 + eps) * weight over the last dimension, `dim` (Zhang & Sennrich 2019, arXiv
// 1910.07467).
class RMSNorm final : public Norm {
 public:
  explicit RMSNorm(int64_t dim, const RMSNormOptions& options = {});
  Tensor forward(const Tensor& x) override;

  const Tensor& weight() const { return weight_; }

 private:
  AddNorm add_norm(const Tensor& x, const Tensor& residual) const override;

  double eps_;
  Tensor weight_;
};

}  // namespace plinth::nn
