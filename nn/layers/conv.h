#pragma once

#include "core/ops/conv.h"
#include "nn/module.h"

namespace plinth::nn {

// How a convolution's parameters are made. Left out, both are uniform within 1 / sqrt(fan_in), with
// fan_in = in / groups times the kernel's elements, as in PyTorch.
struct ConvParameters {
  bool bias = true;
  Initializer weight_init = {};
  Initializer bias_init = {};
  TensorOptions options = {};
};

// y = conv1d(x, weight, bias), for x [N, in, length], weight [out, in / groups, kernel], bias
// [out]. Errors: Argument for sizes below 1 or groups that divide neither in nor out; those of
// conv1d.
class Conv1d final : public Layer {
 public:
  Conv1d(int64_t in, int64_t out, int64_t kernel, const Conv1dOptions& conv = {},
         const ConvParameters& parameters = {});

  Tensor forward(const Tensor& x) override;

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined if there is none

 private:
  Conv1dOptions conv_;
  Tensor weight_, bias_;
};

// y = conv2d(x, weight, bias), for x [N, in, height, width], weight [out, in / groups, kernel
// height, kernel width], bias [out]. Errors as above.
class Conv2d final : public Layer {
 public:
  Conv2d(int64_t in, int64_t out, Size2d kernel, const Conv2dOptions& conv = {},
         const ConvParameters& parameters = {});

  Tensor forward(const Tensor& x) override;

  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }  // undefined if there is none

 private:
  Conv2dOptions conv_;
  Tensor weight_, bias_;
};

}  // namespace plinth::nn
