#pragma once

// Reductions. `dims` may be negative; an empty list means all dimensions. With keepdim a reduced
// dimension stays with size 1. Sums are pairwise, the same on any number of threads.
//
// Errors: Shape for a dimension out of range or given twice, or a maximum of nothing; DType.

#include "core/tensor.h"

namespace plinth {

Tensor sum(const Tensor& x, const Shape& dims = {},
           bool keepdim = false);  // bool and integers give int64
Tensor mean(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
// Sum of squared deviations from the mean, over (count - correction).
Tensor var(const Tensor& x, const Shape& dims = {}, int64_t correction = 1, bool keepdim = false);
Tensor prod(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor amax(const Tensor& x, const Shape& dims = {},
            bool keepdim = false);  // ties share the gradient
Tensor amin(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor logsumexp(const Tensor& x, const Shape& dims, bool keepdim = false);
// Square root of the sum of squares.
Tensor norm(const Tensor& x, const Shape& dims = {}, bool keepdim = false);
Tensor cumsum(const Tensor& x, int64_t dim);

// No gradient: int64 position of the first largest element along dim; bool.
Tensor argmax(const Tensor& x, int64_t dim, bool keepdim = false);
Tensor any(const Tensor& x);
Tensor all(const Tensor& x);

struct TopK {
  Tensor values;
  Tensor indices;  // int64
};
// The k largest along the last dimension, largest first, equal ones by position, NaN before all.
TopK topk(const Tensor& x, int64_t k);

}  // namespace plinth
