#pragma once

// Softmax. Derivatives of any order; under autocast in float32.
// Errors: DType for other than floating point, Shape for a dimension out of range.

#include "core/tensor.h"

namespace plinth {

// exp(x_j) / sum_k exp(x_k) along dim, without overflow.
Tensor softmax(const Tensor& x, int64_t dim);
// The logarithm of softmax, without taking a logarithm of 0.
Tensor log_softmax(const Tensor& x, int64_t dim);

}  // namespace plinth
