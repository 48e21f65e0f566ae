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

// A product as a value of its own. Of two products that meet in a sum the compiler fuses one with
// it, which one by the code around: the last bit would depend on the types that are loaded.
template <class V>
PLINTH_INLINE V unfused(V product) {
  asm("" : "+x"(product));
  return product;
}

// sum = x + branch, rounded to T; sum may be either.
template <class T, class N>
PLINTH_INLINE void add_rows(int64_t cols, const T* x, const N* branch, T* sum) {
  for_vectors<compute_t<T>>(cols, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    store(sum + j, load(x + j, part) + load(branch + j, part), part);
  });
}

// A row of dx, and the same rounded to N; either may be null.
template <class T, class N>
struct RowGradient {
  T* dx;
  N* dbranch;

  template <class V, class Part>
  PLINTH_INLINE void put(int64_t j, V value, Part part) const {
    if (dx) store(dx + j, value, part);
    if (dbranch) store(dbranch + j, value, part);
  }
};

// Both matrices of such gradients.
template <class T, class N>
struct Gradients {
  T* dx;
  N* dbranch;

  explicit operator bool() const { return dx || dbranch; }
  RowGradient<T, N> row(int64_t i, int64_t cols) const {
    return {dx ? dx + i * cols : nullptr, dbranch ? dbranch + i * cols : nullptr};
  }
};

}  // namespace plinth::kernels::cpu
