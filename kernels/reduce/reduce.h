#pragma once

// Reductions over some dimensions of a strided tensor.
//
// Shapes       `kept` walks the output's elements (operand 0: output, operand 1: input), `reduced`
//              the elements that go into each (input strides only).
// Dtypes       bfloat16 and float16 are computed in float32, and rounded once.
// Determinism  a sum is a tree whose shape depends on the sizes only, neither on threads nor on
//              strides: blocks of 128 elements in row-major order, joined pairwise (error grows
//              with the logarithm of the count: Higham 1993).
// Cost         one read an input element.

#include <array>
#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/elementwise/loop.h"

namespace plinth::kernels {

// Norm is the square root of the sum of squares.
enum class ReduceOp { Sum, Mean, Norm, Prod, Max, Min };

struct Reduction {
  Loop<2> kept;
  Loop<1> reduced;
};

namespace cpu {

// T: the floating-point types, int64, int32, uint8. An empty sum is 0, an empty product 1; Max and
// Min hand NaN on and need at least one element.
template <class T>
void reduce(ReduceOp op, const Reduction& shape, const T* x, T* out);

// Position (in row-major order of the reduced dimensions) of the first largest element; NaN is
// largest.
template <class T>
void argmax(const Reduction& shape, const T* x, int64_t* out);

// out = any (or all) of x.
void any(const Reduction& shape, const bool* x, bool* out);
void all(const Reduction& shape, const bool* x, bool* out);

// Inclusive sums along rows of `length` elements; element i of row r is x[r * length + i].
template <class T>
void cumsum(int64_t rows, int64_t length, const T* x, T* out);

}  // namespace cpu
}  // namespace plinth::kernels
