#pragma once

// Linear layers in float8: operands in e4m3, gradients in e5m2, a scale for each tensor
// (Micikevicius et al. 2022, arXiv 2209.05433; NVIDIA's Transformer Engine). Sums are float32.

#include "core/tensor.h"

namespace plinth {

// How tensors are scaled: by the largest value of the tensor itself (current scaling), or by the
// largest of the last N tensors in its place (delayed scaling), which reads each tensor once less.
struct Float8Scaling {
  // The largest values of the last passes, float32 [N], the newest first, N at most 1024: of x, of
  // the weight, and of the gradient of y. Undefined: current scaling. A pass that records a graph
  // puts its own before them. While all are 0, the scale is 1.
  Tensor x_history, weight_history, gradient_history;
  // Room above the largest value, a factor of at least 1: 2 leaves one bit.
  double margin = 1;
};

// linear(x, weight, bias), of x [..., in] and weight [out, in] in float8; in and out are multiples
// of 16. Under autocast x is converted first, the weight is not: it goes to float8 from what it is.
// y has x's dtype, the weight's gradient the weight's. A second derivative is refused. On a GPU of
// compute capability below 8.9 it is slow, and a line on stderr says so.
Tensor linear_float8(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                     const Float8Scaling& scaling = {});

}  // namespace plinth
