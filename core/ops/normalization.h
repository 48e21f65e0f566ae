#pragma once

// Normalisations over the last dimension. Statistics and sums are computed in float32 (float64 for
// float64); under autocast everything is float32, but for what `out` says. A second derivative is
// refused.
//
// `out` is the dtype of what is normed: by default x's (under autocast float32). From float32 it
// may be bfloat16 or float16, for matrix products that take no other: it is rounded once, to the
// bits that `to` gives, without a pass of its own, and its gradient comes back in that dtype.
//
// Errors: Shape unless weight and bias are [size of the last dimension] and residual has x's shape;
// DType unless all have x's floating dtype (but see AddNorm), or for an `out` that is neither that
// nor narrower than float32; Argument for a negative eps.

#include <optional>

#include "core/tensor.h"

namespace plinth {

// (x - mean) / sqrt(variance + eps) * weight + bias (Ba et al. 2016, arXiv 1607.06450). An
// undefined weight is ones, an undefined bias zeros.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5, std::optional<DType> out = {});
// x / sqrt(mean of x^2 + eps) * weight (Zhang & Sennrich 2019, arXiv 1910.07467).
Tensor rms_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-6,
                std::optional<DType> out = {});

// A residual stream and its normalisation, in one pass over memory. Beside a stream of float32 the
// branch x may have the narrower dtype `out`, in which its gradient then comes back. With any other
// x (under autocast converted to float32) a narrower `out` is a conversion of what is normed: x is
// not rounded.
struct AddNorm {
  Tensor sum;     // x + residual, in residual's dtype
  Tensor normed;  // of sum
};
AddNorm add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                       const Tensor& bias = {}, double eps = 1e-5, std::optional<DType> out = {});
AddNorm add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight = {},
                     double eps = 1e-6, std::optional<DType> out = {});

}  // namespace plinth
