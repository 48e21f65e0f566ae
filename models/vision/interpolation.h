#pragma once

// Values on a grid, at another size: as PyTorch's interpolate() without aligned corners, edges
// repeated, nothing widened where a grid becomes smaller.

#include "core/ops/conv.h"
#include "core/tensor.h"

namespace plinth {

// x [..., rows * columns, dim] of a grid of size `from`, row by row, on one of size `to`: cubic
// convolution with a = -0.75 along each side (Keys 1981, "Cubic convolution interpolation for
// digital image processing"). x itself where the sizes are one. Throws Error(Shape) for another
// number of values than `from` has.
Tensor bicubic(const Tensor& x, Size2d from, Size2d to);
// Its weights: float32 [values of `to`, values of `from`].
Tensor bicubic_weights(Size2d from, Size2d to);

// x [..., rows, columns] at [..., to.height, to.width], linear along each side. Computed in float32
// at least. Throws Error(Shape) for fewer than two dimensions or a size below 1.
Tensor bilinear(const Tensor& x, Size2d to);

}  // namespace plinth
