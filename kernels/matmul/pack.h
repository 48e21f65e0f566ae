#pragma once

// Packing of a matrix operand into panels, the order in which a register tile reads it: panel q
// holds rows [q W, (q + 1) W) of the operand, all W elements of one k beside each other,
//   panel[(p W) + r] = operand[q W + r, p],
// with zeros for rows that the operand does not have. A product's left operand is packed with its
// rows as rows, the right one with its columns as rows.

#include <algorithm>
#include <cstring>

#include "kernels/matmul/register_tile.h"
#include "kernels/matmul/transpose.h"

namespace plinth::kernels::cpu {

// The storage of a product's operands for elements T.
template <class T>
struct PackFormat {
  using type = Scalars<compute_t<T>>;
};
#ifdef __AVX512BF16__
template <>
struct PackFormat<BFloat16> {
  using type = BFloat16Pairs;
};
#endif

// An operand as the packer sees it: `rows` by `k` elements.
template <class T>
struct Operand {
  const T* data;
  int64_t row_stride, k_stride;
  int64_t rows, k;
};

template <class Format>
int64_t packed_k(int64_t k) {
  return (k + Format::kPerPacked - 1) / Format::kPerPacked;
}

namespace detail {

// Packed element p of a row, elements beyond k being zero.
template <class Format, class T>
[[gnu::always_inline]] inline typename Format::Packed packed_element(const T* row, int64_t k_stride,
                                                                     int64_t p, int64_t k) {
  if constexpr (Format::kPerPacked == 1) {
    return static_cast<typename Format::Packed>(row[p * k_stride]);
  } else {
    const uint32_t low = row[2 * p * k_stride].bits;
    const uint32_t high = 2 * p + 1 < k ? row[(2 * p + 1) * k_stride].bits : 0;
    return low | high << 16;
  }
}

// One vector of consecutive packed elements of a row whose k_stride is 1.
template <class Format, class T>
[[gnu::always_inline]] inline Vec<typename Format::Packed> packed_vector(const T* row, int64_t p) {
  using P = typename Format::Packed;
  Vec<P> vector;
  if constexpr (std::is_same_v<P, T> || Format::kPerPacked == 2) {
    std::memcpy(&vector, row + Format::kPerPacked * p, sizeof vector);
  } else {
    P converted[kLanes<P>];
    for (int i = 0; i < kLanes<P>; ++i) converted[i] = static_cast<P>(row[p + i]);
    std::memcpy(&vector, converted, sizeof vector);
  }
  return vector;
}

// Rows whose k is contiguous: squares of registers are transposed.
template <class Format, int W, class T>
void pack_transposed(const T* data, int64_t row_stride, int64_t rows, int64_t k,
                     typename Format::Packed* panel) {
  using P = typename Format::Packed;
  constexpr int kSquare = kLanes<P>;
  const int64_t steps = packed_k<Format>(k), whole = k / Format::kPerPacked / kSquare * kSquare;
  // The last, narrower group of rows goes first: what its stores leave beyond W the others replace.
  for (int first = (W - 1) / kSquare * kSquare; first >= 0; first -= kSquare) {
    constexpr int kNarrow = W % kSquare == 0 ? kSquare : W % kSquare;
    const int here = static_cast<int>(std::clamp<int64_t>(rows - first, 0, kSquare));
    const T* from = data + first * row_stride;
    for (int64_t p = 0; p < whole; p += kSquare) {
      Vec<P> square[kSquare];
#pragma GCC unroll 16
      for (int r = 0; r < kSquare; ++r)
        square[r] = r < here ? packed_vector<Format>(from + r * row_stride, p) : Vec<P>{};
      transpose<P>(square);
      P* to = panel + p * W + first;
      // A store wider than what is left of W writes into the next k, whose own store follows; the
      // last one must not reach into what follows the panel.
#pragma GCC unroll 16
      for (int i = 0; i < kSquare - 1; ++i) store(to + i * W, square[i]);
      const int width = first + kSquare <= W ? kSquare : kNarrow;
      std::memcpy(to + (kSquare - 1) * W, &square[kSquare - 1], width * sizeof(P));
    }
    for (int64_t p = whole; p < steps; ++p) {
      const int width = std::min(kSquare, W - first);
      for (int r = 0; r < width; ++r)
        panel[p * W + first + r] =
            r < here ? packed_element<Format>(from + r * row_stride, 1, p, k) : P{};
    }
  }
}

// One vector of the packed elements p of consecutive rows, whose row_stride is 1.
template <class Format, class T>
[[gnu::always_inline]] inline Vec<typename Format::Packed> packed_rows(const T* rows,
                                                                       int64_t k_stride, int64_t p,
                                                                       int64_t k) {
  using P = typename Format::Packed;
  P elements[kLanes<P>];
  for (int r = 0; r < kLanes<P>; ++r)
    elements[r] = packed_element<Format>(rows + r, k_stride, p, k);
  Vec<P> vector;
  std::memcpy(&vector, elements, sizeof vector);
  return vector;
}

// Steps [first, last) of a panel of any strides. Where rows are contiguous and the operand has as
// many as whole vectors need, they are read as vectors; as above, what a store leaves beyond W the
// next replaces.
template <class Format, int W, class T>
void pack_direct(const T* data, int64_t row_stride, int64_t k_stride, int64_t rows, int64_t k,
                 int64_t first, int64_t last, typename Format::Packed* panel) {
  using P = typename Format::Packed;
  constexpr int kSquare = kLanes<P>;
  constexpr int kWhole = (W + kSquare - 1) / kSquare * kSquare;
  int64_t p = first;
  if (row_stride == 1 && rows >= kWhole) {
    for (; p < last - 1; ++p) {
#pragma GCC unroll 16
      for (int r = 0; r < W; r += kSquare)
        store(panel + p * W + r, packed_rows<Format>(data + r, k_stride, p, k));
    }
  }
  for (; p < last; ++p) {
    for (int r = 0; r < W; ++r)
      panel[p * W + r] =
          r < rows ? packed_element<Format>(data + r * row_stride, k_stride, p, k) : P{};
  }
}

}  // namespace detail

// The packing of an operand as tasks that may run at once. Reading follows memory: rows with
// contiguous k are packed a panel a task; otherwise a task packs a few k of every panel, so that it
// reads whole rows of memory and not a sliver of each of a thousand pages.
template <class Format, int W, class T>
class Packer {
 public:
  using P = typename Format::Packed;
  static constexpr int64_t kStepsPerTask = 16;

  // `panels` has room for panel_count() * W * packed_k<Format>(k) elements.
  Packer(const Operand<T>& operand, P* panels) : x_(operand), panels_(panels) {}

  int64_t panel_count() const { return (x_.rows + W - 1) / W; }
  int64_t tasks() const {
    const int64_t steps = packed_k<Format>(x_.k);
    if (by_panel()) return steps > 0 ? panel_count() : 0;
    return x_.rows > 0 ? (steps + kStepsPerTask - 1) / kStepsPerTask : 0;
  }
  int64_t task_elements() const {
    return by_panel() ? W * x_.k : kStepsPerTask * Format::kPerPacked * x_.rows;
  }

  void run(int64_t task) const {
    const int64_t steps = packed_k<Format>(x_.k);
    if (by_panel()) {
      detail::pack_transposed<Format, W>(x_.data + task * W * x_.row_stride, x_.row_stride,
                                         x_.rows - task * W, x_.k, panels_ + task * W * steps);
      return;
    }
    const int64_t first = task * kStepsPerTask, last = std::min(steps, first + kStepsPerTask);
    for (int64_t q = 0; q < panel_count(); ++q) {
      detail::pack_direct<Format, W>(x_.data + q * W * x_.row_stride, x_.row_stride, x_.k_stride,
                                     x_.rows - q * W, x_.k, first, last, panels_ + q * W * steps);
    }
  }

 private:
  bool by_panel() const { return x_.k_stride == 1 && x_.row_stride != 1; }

  Operand<T> x_;
  P* panels_;
};

}  // namespace plinth::kernels::cpu
