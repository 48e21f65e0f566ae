#pragma once

// Convolutions (kernels/conv/conv.h has the mathematics). Second derivatives exist.
//
// As PyTorch's conv1d and conv2d: x is padded with zeros, and split with the output's channels into
// `groups` that know nothing of each other. An output has (size + 2 padding - dilation (kernel - 1)
// - 1) / stride + 1 elements along each dimension, rounded down. x, weight and bias have one dtype:
// float64, float32, bfloat16 or float16 (the last two accumulate in float32); autocast converts
// them as it does linear's.
//
// Errors: Shape where sizes disagree or the kernel is larger than the padded input, Argument for an
// option out of range, DType for integers or different dtypes, Device.

#include "core/tensor.h"

namespace plinth {

struct Conv1dOptions {
  int64_t stride = 1;
  int64_t padding = 0;  // at either end
  int64_t dilation = 1;
  int64_t groups = 1;
};

// x [N, C, length], weight [out, C / groups, kernel], bias [out] or undefined: [N, out, length
// out].
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});

// Rows and columns; a lone number stands for both.
struct Size2d {
  int64_t height, width;
  Size2d(int64_t both) : height(both), width(both) {}
  Size2d(int64_t rows, int64_t columns) : height(rows), width(columns) {}
};

struct Conv2dOptions {
  Size2d stride = 1;
  Size2d padding = 0;  // at either end
  Size2d dilation = 1;
  int64_t groups = 1;
};

// x [N, C, height, width], weight [out, C / groups, kernel height, kernel width], bias [out] or
// undefined: [N, out, height out, width out].
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});

// Whether convolutions of float32 on a GPU may round their operands to TF32, that is, to 10 bits of
// mantissa, and so use its tensor cores: PyTorch's torch.backends.cudnn.allow_tf32. For all
// threads; not allowed at first. Gradients are computed as the forward pass was allowed to.
void allow_conv_tf32(bool allow);
bool conv_tf32_allowed();

}  // namespace plinth
