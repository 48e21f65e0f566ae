#pragma once

// A transformer's feed-forward layer as one op (Vaswani et al. 2017, arXiv 1706.03762, with GELU).

#include "core/ops/activation.h"
#include "core/tensor.h"

namespace plinth {

// linear(gelu(linear(x, up, up_bias)), down, down_bias), for x [..., in], up [hidden, in] and down
// [out, hidden]; down_bias may be undefined. On a GPU, GELU in the form with tanh, its gradient and
// that of up_bias are parts of the products, where cuBLASLt takes them. Derivatives of any order.
// Errors: those of linear.
Tensor gelu_mlp(const Tensor& x, const Tensor& up, const Tensor& up_bias, const Tensor& down,
                const Tensor& down_bias = {}, GeluForm form = GeluForm::Exact);

}  // namespace plinth
