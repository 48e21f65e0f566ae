#pragma once

// Normalisations over the last dimension. Statistics and sums are computed in float32 (float64 for
// float64); under autocast everything is float32. A second derivative is refused.
//
// Errors: Shape unless weight and bias are [size of the last dimension] and residual has x's shape;
// DType unless all have x's floating dtype; Argument for a negative eps.

#include "core/tensor.h"

namespace plinth {

// (x - mean) / sqrt(variance + eps) * weight + bias (Ba et al. 2016, arXiv 1607.06450). An
// undefined weight is ones, an undefined bias zeros.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
// x / sqrt(mean of x^2 + eps) * weight (Zhang & Sennrich 2019, arXiv 1910.07467).
Tensor rms_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-6);

// A residual stream and its normalisation, in one pass over memory.
struct AddNorm {
  Tensor sum;     // x + residual
  Tensor normed;  // of sum
};
AddNorm add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                       const Tensor& bias = {}, double eps = 1e-5);
AddNorm add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                     double eps = 1e-6);

}  // namespace plinth
