#pragma once

// The loop of an elementwise kernel: sizes, and one stride a dimension for each operand, the last
// dimension innermost. Operand 0 is the output. A stride of 0 repeats an operand (broadcasting).

#include <array>
#include <cstdint>

namespace plinth::kernels {

inline constexpr int kMaxLoopDims = 8;

template <int kOperands>
struct Loop {
  int dims = 0;
  std::array<int64_t, kMaxLoopDims> size{};
  std::array<std::array<int64_t, kMaxLoopDims>, kOperands> stride{};  // in elements

  int64_t inner() const { return dims == 0 ? 1 : size[dims - 1]; }
  int64_t inner_stride(int operand) const { return dims == 0 ? 0 : stride[operand][dims - 1]; }
  int64_t rows() const {
    int64_t product = 1;
    for (int d = 0; d + 1 < dims; ++d) product *= size[d];
    return product;
  }
  // Offsets of the operands at the beginning of inner row `row`.
  std::array<int64_t, kOperands> offsets(int64_t row) const {
    std::array<int64_t, kOperands> result{};
    for (int d = dims - 2; d >= 0; --d) {
      const int64_t index = row % size[d];
      row /= size[d];
      for (int k = 0; k < kOperands; ++k) result[k] += index * stride[k][d];
    }
    return result;
  }
};

}  // namespace plinth::kernels
