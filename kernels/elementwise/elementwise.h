#pragma once

// Elementwise kernels over strided, broadcast operands.
//
// Shapes       one Loop for all operands (loop.h); operand 0 is the output.
// Dtypes       all but float8; bfloat16 and float16 compute in float32 and round once. copy() is
//              between any two dtypes, float8 too.
// Aliasing     the output may be an input with the same strides, and overlaps nothing else.
// Determinism  each element is computed alone.
// Cost         one read an input element, one write an output element: bound by memory, but for the
//              transcendental functions on data in cache.

#include "kernels/dtype.h"
#include "kernels/elementwise/loop.h"

namespace plinth::kernels {

// Functions of one float. Sign, Floor, Round (half to even) have derivative 0.
enum class UnaryOp {
  Neg,
  Abs,
  Exp,
  Log,
  Sqrt,
  Rsqrt,
  Reciprocal,
  Sin,
  Cos,
  Tanh,
  Sigmoid,
  Erf,
  Square,
  Sign,
  Floor,
  Round
};
enum class BinaryOp { Add, Sub, Mul, Div, Pow, Maximum, Minimum };
enum class CompareOp { Eq, Ne, Lt, Le, Gt, Ge };
enum class LogicalOp { And, Or, Xor };

namespace cpu {

// T: the floating-point types; Neg, Abs, Square and Sign also on integers.
template <class T>
void unary(UnaryOp op, const Loop<2>& loop, const T* x, T* out);

// T: the floating-point and integer types. Integer Div truncates, and a zero divisor gives 0;
// Maximum and Minimum hand NaN on.
template <class T>
void binary(BinaryOp op, const Loop<3>& loop, const T* x, const T* y, T* out);

// out = x + alpha * y. Y: T, or BFloat16 or Float16 beside float.
template <class T, class Y>
void add_scaled(const Loop<3>& loop, const T* x, const Y* y, double alpha, T* out);

template <class T>
void compare(CompareOp op, const Loop<3>& loop, const T* x, const T* y, bool* out);

void logical(LogicalOp op, const Loop<3>& loop, const bool* x, const bool* y, bool* out);

// out = condition ? x : y.
template <class T>
void where(const Loop<4>& loop, const bool* condition, const T* x, const T* y, T* out);

// out = x, converted. Float to integer truncates; anything to bool is x != 0.
template <class From, class To>
void copy(const Loop<2>& loop, const From* x, To* out);

}  // namespace cpu
}  // namespace plinth::kernels
