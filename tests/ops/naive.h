#pragma once

// Float64 references as plain loops over indices, sharing no code with core's ops or kernels.

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "core/ops/factories.h"
#include "core/tensor.h"

namespace plinth::naive {

using Index = std::vector<int64_t>;

// The element at an index, by the tensor's strides.
inline double at(const Tensor& x, const Index& index) {
  int64_t element = 0;
  for (int64_t d = 0; d < x.dim(); ++d) element += index[d] * x.strides()[d];
  if (x.dtype() == DType::Int64) return static_cast<double>(x.data<int64_t>()[element]);
  if (x.dtype() == DType::Bool) return x.data<bool>()[element];
  return x.data<double>()[element];
}

// Calls f(index) for every index of shape, in row-major order.
template <class F>
void for_each(const Shape& shape, F f) {
  Index index(shape.dim(), 0);
  for (int64_t n = shape.numel(); n > 0; --n) {
    f(index);
    for (int64_t d = shape.dim() - 1; d >= 0; --d) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
}

// The float64 tensor whose element at an index is f(index).
template <class F>
Tensor build(const Shape& shape, F f) {
  std::vector<double> values;
  values.reserve(shape.numel());
  for_each(shape, [&](const Index& index) { values.push_back(f(index)); });
  return from_values(values, shape);
}

template <class F>
Tensor map(const Tensor& x, F f) {
  std::vector<double> values = to_vector(x);
  for (double& v : values) v = f(v);
  return from_values(values, x.shape());
}

// x's element where an index of a larger shape falls on it when x is broadcast.
inline double at_broadcast(const Tensor& x, const Index& index) {
  Index own(index.end() - x.dim(), index.end());
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (x.size(d) == 1) own[d] = 0;
  }
  return at(x, own);
}

// f of two tensors broadcast against each other.
template <class F>
Tensor map(const Tensor& a, const Tensor& b, F f) {
  const Tensor &longer = a.dim() >= b.dim() ? a : b, &shorter = a.dim() >= b.dim() ? b : a;
  Shape shape = longer.shape();
  const int64_t missing = longer.dim() - shorter.dim();
  for (int64_t d = 0; d < shorter.dim(); ++d) {
    if (shape[missing + d] == 1) shape[missing + d] = shorter.size(d);
  }
  return build(shape, [&](const Index& i) { return f(at_broadcast(a, i), at_broadcast(b, i)); });
}

// f(the values along d) -> new values, as many as the first call returns.
inline Tensor along(const Tensor& x, int64_t d,
                    const std::function<std::vector<double>(const std::vector<double>&)>& f) {
  Shape outer = x.shape();
  outer[d] = 1;
  int64_t length = x.size(d);
  std::vector<std::pair<Index, std::vector<double>>> lines;
  for_each(outer, [&](Index index) {
    std::vector<double> line(x.size(d));
    for (int64_t i = 0; i < x.size(d); ++i) {
      index[d] = i;
      line[i] = at(x, index);
    }
    index[d] = 0;
    lines.emplace_back(index, f(line));
    length = static_cast<int64_t>(lines.back().second.size());
  });
  Shape shape = x.shape();
  shape[d] = length;
  const Tensor out = Tensor::empty(shape, {DType::Float64, {}});
  for (auto& [index, line] : lines) {
    for (int64_t i = 0; i < length; ++i) {
      index[d] = i;
      int64_t element = 0;
      for (int64_t k = 0; k < out.dim(); ++k) element += index[k] * out.strides()[k];
      out.data<double>()[element] = line[i];
    }
  }
  return out;
}

// f(all values that go into one result), with dims (none: all) reduced to size 1 or dropped.
inline Tensor reduce(const Tensor& x, const Shape& dims, bool keepdim,
                     const std::function<double(const std::vector<double>&)>& f) {
  std::vector<bool> reduced(x.dim(), dims.empty());
  for (int64_t d : dims) reduced[d < 0 ? d + x.dim() : d] = true;
  Shape kept = x.shape();
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (reduced[d]) kept[d] = 1;
  }
  Tensor out = build(kept, [&](const Index& base) {
    std::vector<double> values;
    for_each(x.shape(), [&](const Index& i) {
      for (int64_t d = 0; d < x.dim(); ++d) {
        if (!reduced[d] && i[d] != base[d]) return;
      }
      values.push_back(at(x, i));
    });
    return f(values);
  });
  if (keepdim) return out;
  Shape shape;
  for (int64_t d = 0; d < x.dim(); ++d) {
    if (!reduced[d]) shape.push_back(x.size(d));
  }
  return from_values(to_vector(out), shape);
}

// In long double: the sums of float64 kernels err less than a plain loop in float64 does.
inline double sum(const std::vector<double>& values) {
  return static_cast<double>(std::accumulate(values.begin(), values.end(), 0.0L));
}

}  // namespace plinth::naive
