#pragma once

// Matrix products into memory that is there: what ops of matrix products have in common on both
// devices. Only core/ops includes this.

#include <string_view>

#include "core/autograd.h"
#include "core/tensor.h"

namespace plinth {

// Checks that a and b have one device and one dtype.
void check_dtypes(const Tensor& a, const Tensor& b, std::string_view op);
// Checks the operands of a linear layer: x [..., in], weight [out, in], bias [out] or undefined.
void check_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, std::string_view op);

// c = a b + bias, for a [batch, m, k], b [batch, k, n] and c [batch, m, n]; a or b may have a batch
// of 1 for all. bias is [n] or undefined. All are off the graph, c contiguous in each matrix. On a
// GPU c may be float32 where a and b are bfloat16 or float16.
void multiply(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& c,
              std::string_view op);
// c += a b.
void multiply_add(const Tensor& a, const Tensor& b, const Tensor& c, std::string_view op);

// before [rows, n] = x w^T + bias, for x [rows, k], w [n, k] and bias [n], and after = gelu(before)
// in the form with tanh: on a GPU in one pass.
void multiply_gelu(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& before,
                   const Tensor& after);
// Its gradient: dbefore = (dy w) gelu'(before), for dy [rows, k] and w [k, n], and dbias [n] = the
// sum of dbefore's rows.
void multiply_gelu_gradient(const Tensor& dy, const Tensor& w, const Tensor& before,
                            const Tensor& dbefore, const Tensor& dbias);

// Where products with dy, or sums of its rows, leave the gradient of an input, `shape`: in grad()
// of a leaf, if that is possible. It has dy's dtype, or, on a GPU, that in which such gradients are
// added up, so that of a float32 weight is not rounded to bfloat16 on the way.
Tensor room_for_gradient(const BackwardContext& c, size_t input, const Shape& shape,
                         const Tensor& dy);
// The gradients of a linear layer's weight, dw [out, in] = dy^T x, and of its bias, db [out] = the
// sum of dy's rows, from dy [rows, out] and x [rows, in]: on a GPU in one pass over dy. Either may
// be undefined, x without dw.
void weight_gradients(const Tensor& dy, const Tensor& x, const Tensor& dw, const Tensor& db);

// c = a b^T + bias, for a [m, k] and b [n, k] of float8, c [m, n] and bias [n] of another dtype of
// floating point, or undefined. The second of an operand's scales is what it is multiplied with.
void multiply_float8(const Tensor& a, const Tensor& a_scales, const Tensor& b,
                     const Tensor& b_scales, const Tensor& bias, const Tensor& c,
                     std::string_view op);

// out [cols] = the sum of x's rows, x [rows, cols] contiguous and off the graph. It is rounded to
// x's dtype, whatever out's is.
void sum_columns(const Tensor& x, const Tensor& out);

}  // namespace plinth
