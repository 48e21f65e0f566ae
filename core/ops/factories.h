#pragma once

// Tensors out of nothing. Errors: Shape for negative sizes, Argument for a bad range.

#include <span>

#include "core/tensor.h"
#include "kernels/philox.h"

namespace plinth {

Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor ones(const Shape& shape, TensorOptions options = {});
Tensor full(const Shape& shape, double value, TensorOptions options = {});
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
// A tensor without dimensions.
Tensor scalar(double value, TensorOptions options = {});
// start, start + step, ... below end.
Tensor arange(double start, double end, double step = 1,
              TensorOptions options = {DType::Int64, {}});
Tensor eye(int64_t n, TensorOptions options = {});
// bool [rows, cols]: true where column <= row + diagonal.
Tensor tril_mask(int64_t rows, int64_t cols, int64_t diagonal = 0);

// A copy of values, which must be shape.numel() many.
template <class T>
Tensor from_values(std::span<const T> values, const Shape& shape);
template <class T>
Tensor from_values(std::initializer_list<T> values, const Shape& shape) {
  return from_values(std::span<const T>(values.begin(), values.size()), shape);
}
template <class T>
Tensor from_values(const std::vector<T>& values, const Shape& shape) {
  return from_values(std::span<const T>(values), shape);
}
// The elements in row-major order, converted to double.
std::vector<double> to_vector(const Tensor& x);

// Random numbers of the key's stream, element e of the tensor taking number e of sample key.sample:
// uniform in [low, high), and normal by Box-Muller. They are drawn in float32 (float64 for a
// float64 tensor gets the same numbers, widened).
Tensor uniform(const Shape& shape, double low, double high, const kernels::PhiloxKey& key,
               TensorOptions options = {});
Tensor normal(const Shape& shape, double mean, double stddev, const kernels::PhiloxKey& key,
              TensorOptions options = {});
// The same with the next key of the thread's generator (core/random.h).
Tensor rand(const Shape& shape, TensorOptions options = {});
Tensor randn(const Shape& shape, TensorOptions options = {});

}  // namespace plinth
