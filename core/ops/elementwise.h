#pragma once

// Elementwise ops. Two operands are broadcast against each other, and their dtypes promoted, as in
// NumPy and PyTorch; a double stands for a scalar that takes the tensor's dtype. All differentiable
// ones have derivatives of any order.
//
// Errors: Shape where shapes do not broadcast; DType for a dtype that the op does not take.

#include "core/tensor.h"

namespace plinth {

// ---- arithmetic ----
Tensor add(const Tensor& a, const Tensor& b);
Tensor add(const Tensor& a, double b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, double b);
Tensor div(const Tensor& a, const Tensor& b);  // integers truncate
Tensor pow(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, double b);
Tensor maximum(const Tensor& a, const Tensor& b);  // at a tie half the gradient goes to each
Tensor minimum(const Tensor& a, const Tensor& b);

inline Tensor operator+(const Tensor& a, const Tensor& b) {
  return add(a, b);
}
inline Tensor operator-(const Tensor& a, const Tensor& b) {
  return sub(a, b);
}
inline Tensor operator*(const Tensor& a, const Tensor& b) {
  return mul(a, b);
}
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return div(a, b);
}
inline Tensor operator+(const Tensor& a, double b) {
  return add(a, b);
}
inline Tensor operator-(const Tensor& a, double b) {
  return add(a, -b);
}
inline Tensor operator*(const Tensor& a, double b) {
  return mul(a, b);
}
inline Tensor operator*(double a, const Tensor& b) {
  return mul(b, a);
}
inline Tensor operator+(double a, const Tensor& b) {
  return add(b, a);
}
Tensor operator/(const Tensor& a, double b);
Tensor operator/(double a, const Tensor& b);
Tensor operator-(double a, const Tensor& b);
Tensor operator-(const Tensor& a);

// ---- functions of one tensor ----
Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);  // derivative 0 at 0
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor square(const Tensor& x);
Tensor sign(const Tensor& x);   // derivative 0
Tensor floor(const Tensor& x);  // derivative 0
Tensor round(const Tensor& x);  // half to even; derivative 0
// Limits x to [low, high]; the derivative is 1 inside, ends included, and 0 outside.
Tensor clamp(const Tensor& x, double low, double high);

// ---- comparisons and logic: bool results, no gradient ----
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);
Tensor eq(const Tensor& a, double b);
Tensor ne(const Tensor& a, double b);
Tensor lt(const Tensor& a, double b);
Tensor le(const Tensor& a, double b);
Tensor gt(const Tensor& a, double b);
Tensor ge(const Tensor& a, double b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& a);

// ---- choice ----
// condition ? a : b, all broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
// x with `value` where mask (bool, broadcast to x) is true.
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

// The dtype in which a and b meet: the higher category of bool < integer < floating point wins;
// inside one, the wider; bfloat16 with float16 gives float32; float8 meets nothing but itself.
DType promote(DType a, DType b);
// Whether y is added to an x of another dtype as it is, without a copy in x's: bfloat16 or float16
// to float32.
bool adds_unconverted(DType x, DType y);

// The shape to which both broadcast. Throws Error(Shape) naming op.
Shape broadcast_shape(const Shape& a, const Shape& b, std::string_view op);
// Sums x over the dimensions that were broadcast from `shape`: the gradient of a broadcast.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace plinth
