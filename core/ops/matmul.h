#pragma once

// Matrix products. Second derivatives exist.

#include "core/tensor.h"

namespace plinth {

// [..., m, k] x [..., k, n] -> [..., m, n], leading dimensions broadcast; a one-dimensional operand
// is a row (left) or column (right), and its dimension is dropped from the result. bfloat16 and
// float16 accumulate in float32. Errors: Shape where k disagrees, DType for integers or different
// dtypes.
Tensor matmul(const Tensor& a, const Tensor& b);

// x [..., in] times weight [out, in] transposed, plus bias [out] if defined: [..., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace plinth
