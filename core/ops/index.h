#pragma once

// Indexing by int64 tensors. Errors: DType unless indices are int64; Argument naming the first
// index out of range; Shape.

#include "core/tensor.h"

namespace plinth {

// Slices x[..., index[i], ...] of dim, for a one-dimensional index.
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
// x with source added at index: out[..., index[i], ...] = x + source[..., i, ...].
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
// out[i, j] = x[index[i, j], j] for dim 0, and so on; index has x's shape but along dim.
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
// x with source added at out[index[i, j], j] for dim 0, and so on.
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
// x with source written at out[index[i, j], j] for dim 0; where an index comes twice the last wins,
// and x's gradient there is 0. A source that requires grad must have distinct indices along dim.
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
// Rows of weight [vocab, dim] for indices of any shape: [..., dim] (x and its gradient by the
// sorted, deterministic embedding kernel).
Tensor embedding(const Tensor& weight, const Tensor& indices);
// The same where weight has rows [first, first + rows) of a table of `count`: an index of another
// row gives zeros. Over all parts of the table the results add up to embedding().
Tensor embedding_part(const Tensor& weight, const Tensor& indices, int64_t first, int64_t count);
// [..., classes] with 1 at each index. No gradient.
Tensor one_hot(const Tensor& indices, int64_t classes, DType dtype = DType::Float32);

}  // namespace plinth
