#pragma once

// Checks that ops share, one line a check, and the matrix that a row-wise kernel sees. Only
// core/ops includes this.

#include <initializer_list>
#include <string_view>

#include "core/index_check.h"
#include "core/tensor.h"

namespace plinth {

// x must be defined and of a dtype that kernels compute in: float64, float32, bfloat16, float16.
void check_floating(const Tensor& x, std::string_view op, std::string_view argument);
// `argument` must have the dtype and device of `like`.
void check_like(const Tensor& x, const Tensor& like, std::string_view op, std::string_view argument,
                std::string_view like_name);
// `why` says where the expected shape comes from.
void check_shape(const Tensor& x, const Shape& expected, std::string_view op,
                 std::string_view argument, std::string_view why);
// All must be on one device; they are defined.
void check_same_device(std::string_view op, std::initializer_list<const Tensor*> tensors);
// Throws Error(Device) for a tensor on a GPU: the op has no kernel there.
void check_on_cpu(const Tensor& x, std::string_view op);
// x must be int64.
void check_int64(const Tensor& x, std::string_view op, std::string_view argument);

// Throws the check's error if one of `index`, contiguous int64, is out of range: at once on the
// CPU; on a GPU when the host next waits for it (core/index_check.h).
void check_indices(const Tensor& index, const IndexCheck& check);
// index, checked to be int64 and, by check_indices(), within [0, length); in contiguous memory and
// off the graph.
Tensor checked_index(const Tensor& index, int64_t length, std::string_view op,
                     std::string_view argument = "index");

// x seen as the matrix of its last dimension, which it must have.
struct Rows {
  int64_t rows = 0, cols = 0;
};
Rows rows_of(const Tensor& x, std::string_view op, std::string_view argument = "x");

// The tensor's elements, or null where it is undefined.
template <class T>
T* data_or_null(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

// x off the graph and in contiguous memory; undefined stays so.
Tensor plain(const Tensor& x);

// The dtype that kernels compute in on elements of `dtype`.
constexpr DType compute_dtype(DType dtype) {
  return dtype == DType::Float64 ? DType::Float64 : DType::Float32;
}

}  // namespace plinth
