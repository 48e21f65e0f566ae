#pragma once

// Convolution over two dimensions (a convolution over one has a height of 1), as deep learning has
// it, that is, cross-correlation (Goodfellow, Bengio & Courville 2016, "Deep Learning", 9.1), with
// the stride, padding, dilation and groups of PyTorch's conv2d:
//
//   y[n, o, p] = bias[o] + sum_{c, k} weight[o, c, k] x[n, c of o's group, p stride - padding
//                                                        + k dilation]
//   dx[n, c, i] = sum of dy[n, o, p] weight[o, c, k] over the o, p, k whose term reads x[n, c, i]
//   dweight[o, c, k] = sum_{n, p} dy[n, o, p] x[n, c of o's group, p stride - padding + k dilation]
//
// with p, k, i pairs (row, column), and zeros where x is read outside. A convolution is linear in
// each operand, so that the gradients of these three are again of these three.
//
// Shapes       x [batch, in_channels, input], weight [out_channels, in_channels / groups, kernel],
//              y [batch, out_channels, output], bias [out_channels]: contiguous, any of them empty.
// Dtypes       double, float, BFloat16, Float16; the last two accumulate in float and round once.
// Aliasing     an output overlaps nothing.
// Determinism  the order of every sum depends on the shape only, never on the threads.
// Cost         2 batch positions() out_channels depth() operations each, as a matrix product of the
//              input's patches; the CPU's kernels hold a few MB of these at a time.

#include <array>
#include <cstdint>

#include "kernels/types.h"

namespace plinth::kernels::cpu {

// What groups, stride, kernel and dilation are must be at least 1, and the channels multiples of
// groups; pairs are (rows, columns).
struct ConvDesc {
  using Pair = std::array<int64_t, 2>;

  int64_t batch = 1, in_channels = 1, out_channels = 1, groups = 1;
  Pair input{1, 1}, kernel{1, 1}, stride{1, 1}, padding{0, 0}, dilation{1, 1};
  bool allow_tf32 = false;  // on a GPU, of float: operands may be rounded to TF32

  // The output's size; below 1 where the kernel is larger than the padded input.
  constexpr int64_t output(int d) const {
    const int64_t room = input[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    return room < 0 ? 0 : room / stride[d] + 1;
  }
  constexpr int64_t positions() const { return output(0) * output(1); }
  constexpr int64_t pixels() const { return input[0] * input[1]; }
  constexpr int64_t taps() const { return kernel[0] * kernel[1]; }
  constexpr int64_t group_inputs() const { return in_channels / groups; }
  constexpr int64_t group_outputs() const { return out_channels / groups; }
  // Terms of a sum of the forward pass.
  constexpr int64_t depth() const { return group_inputs() * taps(); }
};

// bias may be null.
template <class T>
void conv_forward(const ConvDesc& desc, const T* x, const T* weight, const T* bias, T* y);

template <class T>
void conv_backward_input(const ConvDesc& desc, const T* dy, const T* weight, T* dx);

template <class T>
void conv_backward_weight(const ConvDesc& desc, const T* dy, const T* x, T* dweight);

}  // namespace plinth::kernels::cpu
