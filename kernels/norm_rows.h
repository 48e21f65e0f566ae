#pragma once

// What the normalisation kernels share.

#include <cstdint>
#include <vector>

#include "kernels/vectors.h"

namespace plinth::kernels::cpu {

// The given row, or a row of one value where it is null: one loop serves an optional weight or
// bias, whose row stays in the first cache.
template <class T>
class RowOrConstant {
 public:
  RowOrConstant(int64_t cols, const T* row, float value) {
    if (!row) constant_.assign(cols, T(value));
    data = row ? row : constant_.data();
  }
  RowOrConstant(const RowOrConstant&) = delete;
  RowOrConstant& operator=(const RowOrConstant&) = delete;

  const T* data;

 private:
  std::vector<T> constant_;
};

// sum = x + residual, rounded to T; sum may be either.
template <class T>
PLINTH_INLINE void add_rows(int64_t cols, const T* x, const T* residual, T* sum) {
  for_vectors<compute_t<T>>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    store(sum + j, load(x + j, part) + load(residual + j, part), part);
  });
}

}  // namespace plinth::kernels::cpu
