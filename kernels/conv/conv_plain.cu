#include "kernels/conv/conv_plain_cuda.h"

#include "kernels/device/device.h"
#include "kernels/instantiate.h"

namespace plinth::kernels::cuda::plain {
namespace {

using namespace plinth::device;

constexpr uint32_t kThreads = 256;

// An element of a tensor [batch, channels, rows, columns] by its place in memory.
struct Place {
  int64_t sample, channel, row, column;

  PLINTH_DEVICE Place(int64_t index, int64_t channels, int64_t rows, int64_t columns)
      : sample(index / columns / rows / channels),
        channel(index / columns / rows % channels),
        row(index / columns % rows),
        column(index % columns) {}
};

PLINTH_DEVICE int64_t first_input_channel(const ConvDesc& d, int64_t out_channel) {
  return out_channel / d.group_outputs() * d.group_inputs();
}

// The row (or column) of the input that tap k reads for output position p; -1 in the padding.
PLINTH_DEVICE int64_t read_by(const ConvDesc& d, int axis, int64_t p, int64_t k) {
  const int64_t i = p * d.stride[axis] - d.padding[axis] + k * d.dilation[axis];
  return i >= 0 && i < d.input[axis] ? i : -1;
}

// The output position for which tap k reads the input at i; -1 where there is none.
PLINTH_DEVICE int64_t reader_of(const ConvDesc& d, int axis, int64_t i, int64_t k) {
  const int64_t shifted = i + d.padding[axis] - k * d.dilation[axis];
  if (shifted < 0 || shifted % d.stride[axis] != 0) return -1;
  const int64_t p = shifted / d.stride[axis];
  return p < d.output(axis) ? p : -1;
}

template <class T>
PLINTH_DEVICE compute_t<T> read(Global<const T> from, int64_t index) {
  const T element = from[index];
  return static_cast<compute_t<T>>(element);
}

template <class T>
PLINTH_KERNEL void forward_kernel(ConvDesc d, int64_t count, Global<const T> x,
                                  Global<const T> weight, Global<const T> bias, Global<T> y) {
  const int64_t index = static_cast<int64_t>(block_index().x) * kThreads + thread_index();
  if (index >= count) return;
  const Place at(index, d.out_channels, d.output(0), d.output(1));
  compute_t<T> sum(0);
  if (bias) sum = read<T>(bias, at.channel);
  int64_t tap = at.channel * d.depth();
  int64_t plane = (at.sample * d.in_channels + first_input_channel(d, at.channel)) * d.pixels();
  for (int64_t c = 0; c < d.group_inputs(); ++c, plane += d.pixels()) {
    for (int64_t ky = 0; ky < d.kernel[0]; ++ky) {
      const int64_t row = read_by(d, 0, at.row, ky);
      for (int64_t kx = 0; kx < d.kernel[1]; ++kx, ++tap) {
        const int64_t column = read_by(d, 1, at.column, kx);
        if (row < 0 || column < 0) continue;
        sum += read<T>(x, plane + row * d.input[1] + column) * read<T>(weight, tap);
      }
    }
  }
  y[index] = T(sum);
}

template <class T>
PLINTH_KERNEL void backward_input_kernel(ConvDesc d, int64_t count, Global<const T> dy,
                                         Global<const T> weight, Global<T> dx) {
  const int64_t index = static_cast<int64_t>(block_index().x) * kThreads + thread_index();
  if (index >= count) return;
  const Place at(index, d.in_channels, d.input[0], d.input[1]);
  const int64_t first = at.channel / d.group_inputs() * d.group_outputs();
  compute_t<T> sum(0);
  for (int64_t ky = 0; ky < d.kernel[0]; ++ky) {
    const int64_t row = reader_of(d, 0, at.row, ky);
    for (int64_t kx = 0; kx < d.kernel[1]; ++kx) {
      const int64_t column = reader_of(d, 1, at.column, kx);
      if (row < 0 || column < 0) continue;
      int64_t tap =
          first * d.depth() + at.channel % d.group_inputs() * d.taps() + ky * d.kernel[1] + kx;
      int64_t from =
          (at.sample * d.out_channels + first) * d.positions() + row * d.output(1) + column;
      for (int64_t o = 0; o < d.group_outputs(); ++o) {
        sum += read<T>(dy, from) * read<T>(weight, tap);
        from += d.positions();
        tap += d.depth();
      }
    }
  }
  dx[index] = T(sum);
}

template <class T>
PLINTH_KERNEL void backward_weight_kernel(ConvDesc d, int64_t count, Global<const T> dy,
                                          Global<const T> x, Global<T> dweight) {
  const int64_t index = static_cast<int64_t>(block_index().x) * (kThreads / 32) + warp_index();
  if (index >= count) return;
  // The output channel, the group's input channel, and the tap.
  const Place tap(index, d.group_inputs(), d.kernel[0], d.kernel[1]);
  const int64_t channel = first_input_channel(d, tap.sample) + tap.channel;
  compute_t<T> sum(0);
  for (int64_t p = lane_index(); p < d.batch * d.positions(); p += 32) {
    const int64_t sample = p / d.positions(), position = p % d.positions();
    const int64_t row = read_by(d, 0, position / d.output(1), tap.row);
    const int64_t column = read_by(d, 1, position % d.output(1), tap.column);
    if (row < 0 || column < 0) continue;
    const int64_t pixel =
        (sample * d.in_channels + channel) * d.pixels() + row * d.input[1] + column;
    sum += read<T>(dy, (sample * d.out_channels + tap.sample) * d.positions() + position) *
           read<T>(x, pixel);
  }
  sum = warp_reduce<Sum>(sum);
  if (lane_index() == 0) dweight[index] = T(sum);
}

template <class T>
PLINTH_KERNEL void add_bias_kernel(ConvDesc d, int64_t count, Global<const T> bias, Global<T> y) {
  const int64_t index = static_cast<int64_t>(block_index().x) * kThreads + thread_index();
  if (index >= count) return;
  const int64_t channel = index / d.positions() % d.out_channels;
  const compute_t<T> sum = read<T>(y, index) + read<T>(bias, channel);
  y[index] = T(sum);
}

LaunchShape blocks_of(int64_t count, int64_t per_block) {
  return {{static_cast<uint32_t>((count + per_block - 1) / per_block)}, {kThreads}, 0};
}

}  // namespace

template <class T>
void conv_forward(void* stream, const ConvDesc& d, const T* x, const T* weight, const T* bias,
                  T* y) {
  const int64_t count = d.batch * d.out_channels * d.positions();
  if (count == 0) return;
  launch("conv_forward", forward_kernel<T>, blocks_of(count, kThreads), static_cast<Stream>(stream),
         d, count, x, weight, bias, y);
}

template <class T>
void conv_backward_input(void* stream, const ConvDesc& d, const T* dy, const T* weight, T* dx) {
  const int64_t count = d.batch * d.in_channels * d.pixels();
  if (count == 0) return;
  launch("conv_backward_input", backward_input_kernel<T>, blocks_of(count, kThreads),
         static_cast<Stream>(stream), d, count, dy, weight, dx);
}

template <class T>
void conv_backward_weight(void* stream, const ConvDesc& d, const T* dy, const T* x, T* dweight) {
  const int64_t count = d.out_channels * d.depth();
  if (count == 0) return;
  launch("conv_backward_weight", backward_weight_kernel<T>, blocks_of(count, kThreads / 32),
         static_cast<Stream>(stream), d, count, dy, x, dweight);
}

template <class T>
void conv_add_bias(void* stream, const ConvDesc& d, const T* bias, T* y) {
  const int64_t count = d.batch * d.out_channels * d.positions();
  if (count == 0) return;
  launch("conv_add_bias", add_bias_kernel<T>, blocks_of(count, kThreads),
         static_cast<Stream>(stream), d, count, bias, y);
}

#define INSTANTIATE(T)                                                                  \
  template void conv_forward(void*, const ConvDesc&, const T*, const T*, const T*, T*); \
  template void conv_backward_input(void*, const ConvDesc&, const T*, const T*, T*);    \
  template void conv_backward_weight(void*, const ConvDesc&, const T*, const T*, T*);   \
  template void conv_add_bias(void*, const ConvDesc&, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cuda::plain
