#pragma once

#include "nn/module.h"

namespace plinth::nn {

struct LinearOptions {
  bool bias = true;
  Initializer weight_init = {};  // left out: uniform within 1 / sqrt(in)
  Initializer bias_init = {};    // left out: uniform within 1 / sqrt(in)
  TensorOptions options = {};
};

// y = x weight^T + bias, for x [..., in], weight [out, in], bias [out].
class Linear final : public Layer {
 public:
  Linear(int64_t in, int64_t out, const LinearOptions& options = {});
  // Shares the weight [out, in] of another module.
  explicit Linear(const Tensor& weight, const Tensor& bias = {});

  Tensor forward(const Tensor& x) override;
  // x weight^T, for a fused op that adds the bias.
  Tensor product(const Tensor& x) const;

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined if there is none

 private:
  Tensor weight_, bias_;
};

}  // namespace plinth::nn
