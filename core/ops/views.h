#pragma once

// Views share their input's storage; Tensor's methods (reshape, slice, transpose, ...) are views
// too. Errors: Shape for a geometry that does not fit.

#include "core/tensor.h"

namespace plinth {

// Element (i, j, ...) lies at offset + i strides[0] + j strides[1] + ... of x's own first element.
// x must be contiguous; elements may overlap, and their gradients add up.
Tensor as_strided(const Tensor& x, const Shape& shape, const Shape& strides, int64_t offset);

// Joins tensors along an existing dimension; all other sizes must agree. dtypes are promoted.
Tensor cat(const Tensors& tensors, int64_t dim = 0);
// Joins tensors of one shape along a new dimension.
Tensor stack(const Tensors& tensors, int64_t dim = 0);
// x repeated `times` along dim, each slice next to its copies (PyTorch's repeat_interleave).
Tensor repeat_interleave(const Tensor& x, int64_t times, int64_t dim);
// Zeros around: `before` and `after` elements along dim.
Tensor pad(const Tensor& x, int64_t dim, int64_t before, int64_t after);
// Lower triangle of the last two dimensions (column <= row + diagonal), zeros above.
Tensor tril(const Tensor& x, int64_t diagonal = 0);

}  // namespace plinth
