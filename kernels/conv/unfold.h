#pragma once

// The matrix of a convolution's patches (im2col; Chellapilla, Puri & Simard 2006, "High performance
// convolutional neural networks for document processing"): entry (k, p) is the element of the input
// that tap k, counted over channels and kernel, reads for output position p. A convolution is a
// matrix product with it.
//
// It is laid out as it is quickest to make: where patches tile the input, as in a patch embedding,
// a patch's taps lie side by side and are copied a kernel's row at a time; otherwise positions do,
// and a tap's are copied an output's row at a time.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/conv/conv.h"
#include "kernels/convert.h"

namespace plinth::kernels::cpu {

// Whether each element of the input is read at most once.
inline bool tiles_input(const ConvDesc& d) {
  return d.kernel == d.stride && d.kernel[1] > 1 && d.padding == ConvDesc::Pair{0, 0} &&
         d.dilation == ConvDesc::Pair{1, 1};
}

// Strides of the patch matrix of `taps` by `positions`.
struct PatchStrides {
  int64_t tap, position;
  PatchStrides(const ConvDesc& d, int64_t taps, int64_t positions)
      : tap(tiles_input(d) ? 1 : positions), position(tiles_input(d) ? taps : 1) {}
};

namespace detail {

template <class T, class C>
void copy_run(int64_t count, const T* from, int64_t step, C* to) {
  if (step != 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<C>(from[i * step]);
  } else if constexpr (std::is_same_v<T, C>) {
    std::memcpy(to, from, count * sizeof(T));
  } else {
    widen(count, from, to);
  }
}

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Calls f(position, count, pixel) for each run of positions of [first, last) in one output row for
// which the kernel's tap (row, column) lies in the input: the run's first position, counted from
// `first`, and the pixel that it reads; the next reads the pixel stride[1] further.
template <class F>
void for_each_run(const ConvDesc& d, int64_t row, int64_t column, int64_t first, int64_t last,
                  F f) {
  const int64_t width = d.output(1), step = d.stride[1];
  const int64_t shift = column * d.dilation[1] - d.padding[1];
  for (int64_t p = first; p < last;) {
    const int64_t begin = p % width, end = std::min(width, begin + last - p);
    const int64_t y = p / width * d.stride[0] + row * d.dilation[0] - d.padding[0];
    const int64_t inside = std::max(begin, ceil_div(-shift, step));
    const int64_t count = std::min(end, ceil_div(d.input[1] - shift, step)) - inside;
    if (y >= 0 && y < d.input[0] && count > 0)
      f(p - first + inside - begin, count, y * d.input[1] + inside * step + shift);
    p += end - begin;
  }
}

// The same for patches that tile the input: calls f(position, column, pixel) for each position of
// [first, last) and kernel row, with the pixel that the row begins at.
template <class F>
void for_each_kernel_row(const ConvDesc& d, int64_t first, int64_t last, F f) {
  for (int64_t p = first; p < last; ++p) {
    const int64_t y = p / d.output(1) * d.stride[0], x = p % d.output(1) * d.stride[1];
    for (int64_t row = 0; row < d.kernel[0]; ++row) f(p - first, row, (y + row) * d.input[1] + x);
  }
}

}  // namespace detail

// The patches of `channels` planes at x for positions [first, last) of one sample, with positions
// side by side: tap k's at patches + k tap_stride. C is T or its compute type.
template <class T, class C>
void unfold_rows(const ConvDesc& d, const T* x, int64_t channels, int64_t first, int64_t last,
                 C* patches, int64_t tap_stride) {
  const bool padded = d.padding[0] > 0 || d.padding[1] > 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < d.taps(); ++k) {
      C* to = patches + (c * d.taps() + k) * tap_stride;
      if (padded) std::fill_n(to, last - first, C(0.0f));
      detail::for_each_run(d, k / d.kernel[1], k % d.kernel[1], first, last,
                           [&](int64_t position, int64_t count, int64_t pixel) {
                             detail::copy_run(count, x + c * d.pixels() + pixel, d.stride[1],
                                              to + position);
                           });
    }
  }
}

// The same where patches tile the input, with taps side by side: a position's at
// patches + (position - first) channels taps().
template <class T, class C>
void unfold_tiles(const ConvDesc& d, const T* x, int64_t channels, int64_t first, int64_t last,
                  C* patches) {
  detail::for_each_kernel_row(d, first, last, [&](int64_t position, int64_t row, int64_t pixel) {
    C* to = patches + position * channels * d.taps() + row * d.kernel[1];
    for (int64_t c = 0; c < channels; ++c)
      detail::copy_run(d.kernel[1], x + c * d.pixels() + pixel, 1, to + c * d.taps());
  });
}

// x's planes += the patches that read them, over all positions: unfold_rows' transpose.
template <class C>
void fold_rows(const ConvDesc& d, const C* patches, int64_t channels, C* x) {
  const int64_t step = d.stride[1], positions = d.positions();
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < d.taps(); ++k) {
      const C* from = patches + (c * d.taps() + k) * positions;
      detail::for_each_run(d, k / d.kernel[1], k % d.kernel[1], 0, positions,
                           [&](int64_t position, int64_t count, int64_t pixel) {
                             C* to = x + c * d.pixels() + pixel;
                             for (int64_t i = 0; i < count; ++i) to[i * step] += from[position + i];
                           });
    }
  }
}

// unfold_tiles' transpose, over all positions. It writes x where a patch reads it.
template <class C>
void fold_tiles(const ConvDesc& d, const C* patches, int64_t channels, C* x) {
  detail::for_each_kernel_row(
      d, 0, d.positions(), [&](int64_t position, int64_t row, int64_t pixel) {
        const C* from = patches + position * channels * d.taps() + row * d.kernel[1];
        for (int64_t c = 0; c < channels; ++c)
          detail::copy_run(d.kernel[1], from + c * d.taps(), 1, x + c * d.pixels() + pixel);
      });
}

}  // namespace plinth::kernels::cpu
