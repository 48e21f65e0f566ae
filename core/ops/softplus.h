#pragma once

// log(1 + exp(x)), and the logarithm of the sigmoid, for gates and decays that multiply over time.
// Without overflow and without loss of small values. Derivatives of any order.
//
// Errors: DType for other than floating point.

#include "core/tensor.h"

namespace plinth {

// log(1 + exp(x)) (Dugas et al. 2000, "Incorporating second-order functional knowledge for better
// option pricing"), computed in float32 at least.
Tensor softplus(const Tensor& x);
// log(sigmoid(x)) = -softplus(-x).
Tensor log_sigmoid(const Tensor& x);

// log(1 + exp(-|x|)), by which softplus is more than max(x, 0), for x of float32 or float64.
// Without a graph: for the forward passes of ops.
Tensor softplus_excess(const Tensor& x);

}  // namespace plinth
