#pragma once

// From tensors to the kernels' loops, and from dtypes to types. Only core/ops includes this.

#include <array>
#include <string_view>

#include "core/error.h"
#include "core/tensor.h"
#include "kernels/elementwise/loop.h"
#include "kernels/reduce/reduce.h"

namespace plinth {

namespace detail {
[[noreturn]] void unsupported_dtype(std::string_view op, DType dtype, std::string_view takes);
}

// Calls f.operator()<T>() for float64, float32, bfloat16, float16; else throws Error(DType).
template <class F>
decltype(auto) dispatch_floating(DType dtype, std::string_view op, F&& f) {
  switch (dtype) {
    case DType::Float64: return f.template operator()<double>();
    case DType::Float32: return f.template operator()<float>();
    case DType::BFloat16: return f.template operator()<BFloat16>();
    case DType::Float16: return f.template operator()<Float16>();
    default: detail::unsupported_dtype(op, dtype, "float64, float32, bfloat16, float16");
  }
}

// The same, and int64, int32, uint8.
template <class F>
decltype(auto) dispatch_numeric(DType dtype, std::string_view op, F&& f) {
  switch (dtype) {
    case DType::Int64: return f.template operator()<int64_t>();
    case DType::Int32: return f.template operator()<int32_t>();
    case DType::UInt8: return f.template operator()<uint8_t>();
    case DType::Bool:
    case DType::Float8_e4m3:
    case DType::Float8_e5m2:
      detail::unsupported_dtype(op, dtype,
                                "float64, float32, bfloat16, float16, int64, int32, uint8");
    default: return dispatch_floating(dtype, op, std::forward<F>(f));
  }
}

// Any dtype at all.
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::Bool: return f.template operator()<bool>();
    case DType::Float8_e4m3: return f.template operator()<Float8_e4m3>();
    case DType::Float8_e5m2: return f.template operator()<Float8_e5m2>();
    default: return dispatch_numeric(dtype, "dispatch", std::forward<F>(f));
  }
}

// x's strides when it is broadcast to shape: 0 along a repeated dimension.
Shape broadcast_strides(const Tensor& x, const Shape& shape);

// A loop over `shape`, with neighbouring dimensions joined where every operand allows it.
template <int kOperands>
kernels::Loop<kOperands> make_loop(const Shape& shape,
                                   const std::array<Shape, kOperands>& strides) {
  kernels::Loop<kOperands> loop;
  const auto joins = [&](int64_t d) {
    for (int k = 0; k < kOperands; ++k) {
      if (loop.stride[k][loop.dims - 1] != strides[k][d] * shape[d]) return false;
    }
    return true;
  };
  for (int64_t d = 0; d < shape.dim(); ++d) {
    if (shape[d] == 1) continue;
    if (loop.dims > 0 && joins(d)) {
      loop.size[loop.dims - 1] *= shape[d];
    } else {
      loop.size[loop.dims++] = shape[d];
    }
    for (int k = 0; k < kOperands; ++k) loop.stride[k][loop.dims - 1] = strides[k][d];
  }
  if (loop.dims == 0) {
    loop.dims = 1;
    loop.size[0] = 1;
    for (int k = 0; k < kOperands; ++k) loop.stride[k][0] = 1;
  }
  return loop;
}

// The loop of out and of inputs broadcast to its shape.
template <class... In>
kernels::Loop<1 + sizeof...(In)> loop_over(const Tensor& out, const In&... inputs) {
  return make_loop<1 + sizeof...(In)>(out.shape(),
                                      {out.strides(), broadcast_strides(inputs, out.shape())...});
}

// out[:] = x from the CPU to a GPU or back: contiguous, of one shape and dtype, without recording.
void transfer(const Tensor& out, const Tensor& x);

// out[:] = x broadcast and converted, from any device, without recording.
void copy_into(const Tensor& out, const Tensor& x);

// out[i][:] = x[i] rounded, without recording, in one kernel on a GPU. Each pair is contiguous, of
// one shape, on one device; x are of float32 and out of bfloat16, or float16, all of them.
void copy_parameters_into(const Tensors& out, const Tensors& x);

// out[:] = x + alpha * y, both broadcast, without recording. x has out's dtype, y the same or one
// that adds_unconverted() (elementwise.h).
void add_into(const Tensor& out, const Tensor& x, const Tensor& y, double alpha,
              std::string_view op);

}  // namespace plinth
