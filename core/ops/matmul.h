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

// Whether products of float32 on a GPU may round their operands to TF32, that is, to 10 bits of
// mantissa, and so use its tensor cores: PyTorch's torch.backends.cuda.matmul.allow_tf32. For all
// threads; false at first.
void set_allow_tf32(bool allow);
bool allow_tf32();

}  // namespace plinth
