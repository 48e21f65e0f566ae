#include <algorithm>

#include "kernels/conv/conv.h"
#include "kernels/conv/unfold.h"
#include "kernels/instantiate.h"
#include "kernels/matmul/matmul.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"
#include "kernels/scratch.h"

namespace plinth::kernels::cpu {
namespace {

using detail::ceil_div;

// Elements of the patch matrix that a task makes and reads again, from the second cache: of the
// forward pass, and of the gradient of the input.
constexpr int64_t kForwardPatches = int64_t{1} << 17, kInputPatches = int64_t{1} << 18;
// Of the patch matrix that all threads share in the gradient of the weight.
constexpr int64_t kSharedPatches = int64_t{1} << 19;
constexpr int64_t kColumns = 32;  // a multiple of the columns of the product's tiles

// Positions whose patches of `depth` taps have about `elements` elements: near-equal parts of
// `positions`, multiples of kColumns.
int64_t part_of(int64_t positions, int64_t depth, int64_t elements) {
  const int64_t most = std::max(kColumns, elements / std::max<int64_t>(1, depth));
  const int64_t parts = std::max<int64_t>(1, ceil_div(positions, most));
  return std::max<int64_t>(1, ceil_div(ceil_div(positions, parts), kColumns) * kColumns);
}

// x in the compute type: x itself, or a copy in scratch.
template <class T>
const compute_t<T>* widened(int64_t count, const T* x, Scratch& scratch) {
  if constexpr (is_wide<T>) {
    return x;
  } else {
    auto* wide = scratch.get<compute_t<T>>(count);
    widen(count, x, wide);
    return wide;
  }
}

template <class T>
void unfold(const ConvDesc& d, const T* x, int64_t first, int64_t last, T* patches) {
  if (tiles_input(d)) {
    unfold_tiles(d, x, d.group_inputs(), first, last, patches);
  } else {
    unfold_rows(d, x, d.group_inputs(), first, last, patches, last - first);
  }
}

// ---- gradient of the input ----

// Of `channels` planes of one sample, from that sample's and group's dy and the taps that read
// these planes.
template <class C>
void input_gradient(const ConvDesc& d, int64_t channels, const C* dy, const C* weight, C* dx) {
  static thread_local Scratch scratch;
  const int64_t taps = channels * d.taps(), positions = d.positions();
  C* patches = scratch.get<C>(taps * positions);
  MatmulDesc product{.batch = 1, .m = taps, .n = positions, .k = d.group_outputs()};
  product.a = {0, 1, d.depth()};
  product.b = {0, positions, 1};
  product.c = {0, positions, 1};
  std::fill_n(dx, channels * d.pixels(), C(0));
  if (tiles_input(d)) {
    std::swap(product.m, product.n);
    product.a = {0, 1, positions};
    product.b = {0, d.depth(), 1};
    product.c = {0, taps, 1};
    matmul(product, dy, weight, patches);
    fold_tiles(d, patches, channels, dx);
  } else {
    matmul(product, weight, dy, patches);
    fold_rows(d, patches, channels, dx);
  }
}

// ---- gradient of the weight ----

// Positions of the whole batch, counted over samples.
struct Span {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

// Calls f(sample, first, last, offset) for the part of the span in each sample, which begins
// `offset` into the span.
template <class F>
void for_each_sample(const ConvDesc& d, const Span& span, F f) {
  const int64_t positions = d.positions();
  for (int64_t at = span.first; at < span.last;) {
    const int64_t sample = at / positions, first = at % positions;
    const int64_t last = std::min(positions, first + span.last - at);
    f(sample, first, last, at - span.first);
    at += last - first;
  }
}

// The patches of a span, and the gradients that belong to them.
template <class T>
class SpanOperands {
 public:
  using C = compute_t<T>;

  SpanOperands(const ConvDesc& d, int64_t group, const T* dy, const T* x)
      : d_(d),
        dy_(dy + group * d.group_outputs() * d.positions()),
        x_(x + group * d.group_inputs() * d.pixels()) {}

  // [group_outputs(), span]
  void gather_gradients(const Span& span, C* to) const {
    parallel_for(d_.group_outputs(), grain_for(span.size()), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        for_each_sample(d_, span, [&](int64_t n, int64_t first, int64_t last, int64_t offset) {
          const T* from = dy_ + (n * d_.out_channels + o) * d_.positions();
          detail::copy_run(last - first, from + first, 1, to + o * span.size() + offset);
        });
      }
    });
  }

  void unfold(const Span& span, C* patches) const {
    if (tiles_input(d_)) return unfold_by_position(span, patches);
    const int64_t taps = d_.taps();
    parallel_for(d_.group_inputs(), grain_for(taps * span.size()), [&](int64_t begin, int64_t end) {
      for_each_sample(d_, span, [&](int64_t n, int64_t first, int64_t last, int64_t offset) {
        unfold_rows(d_, sample(n) + begin * d_.pixels(), end - begin, first, last,
                    patches + begin * taps * span.size() + offset, span.size());
      });
    });
  }

 private:
  void unfold_by_position(const Span& span, C* patches) const {
    parallel_for(span.size(), grain_for(d_.depth()), [&](int64_t begin, int64_t end) {
      const Span part{span.first + begin, span.first + end};
      for_each_sample(d_, part, [&](int64_t n, int64_t first, int64_t last, int64_t offset) {
        unfold_tiles(d_, sample(n), d_.group_inputs(), first, last,
                     patches + (begin + offset) * d_.depth());
      });
    });
  }

  const T* sample(int64_t n) const { return x_ + n * d_.in_channels * d_.pixels(); }

  const ConvDesc& d_;
  const T* dy_;
  const T* x_;
};

// Of one group, in the compute type.
template <class T>
void weight_gradient(const ConvDesc& d, int64_t group, const T* dy, const T* x,
                     compute_t<T>* dweight) {
  using C = compute_t<T>;
  static thread_local Scratch gradient_scratch, patch_scratch;
  const SpanOperands<T> operands(d, group, dy, x);
  const int64_t total = d.batch * d.positions();
  const int64_t length = part_of(total, d.depth(), kSharedPatches);
  std::fill_n(dweight, d.group_outputs() * d.depth(), C(0));
  for (int64_t first = 0; first < total; first += length) {
    const Span span{first, std::min(total, first + length)};
    C* gradients = gradient_scratch.get<C>(d.group_outputs() * span.size());
    C* patches = patch_scratch.get<C>(d.depth() * span.size());
    operands.gather_gradients(span, gradients);
    operands.unfold(span, patches);
    MatmulDesc product{.m = d.group_outputs(), .n = d.depth(), .k = span.size()};
    const PatchStrides strides(d, d.depth(), span.size());
    product.a = {0, span.size(), 1};
    product.b = {0, strides.position, strides.tap};
    product.c = {0, d.depth(), 1};
    product.accumulate = true;
    matmul(product, gradients, patches, dweight);
  }
}

}  // namespace

template <class T>
void conv_forward(const ConvDesc& d, const T* x, const T* weight, const T* bias, T* y) {
  const int64_t positions = d.positions(), depth = d.depth();
  const int64_t length = part_of(positions, depth, kForwardPatches);
  const int64_t parts = ceil_div(positions, length);
  parallel_for(d.batch * d.groups * parts, 1, [&](int64_t task, int64_t) {
    static thread_local Scratch scratch;
    const int64_t first = task % parts * length, last = std::min(positions, first + length);
    const int64_t group = task / parts % d.groups, sample = task / parts / d.groups;
    const int64_t in = sample * d.in_channels + group * d.group_inputs();
    const int64_t out = sample * d.out_channels + group * d.group_outputs();
    T* patches = scratch.get<T>(depth * (last - first));
    unfold(d, x + in * d.pixels(), first, last, patches);

    MatmulDesc product{.m = d.group_outputs(), .n = last - first, .k = depth};
    const PatchStrides strides(d, depth, last - first);
    product.a = {0, depth, 1};
    product.b = {0, strides.tap, strides.position};
    product.c = {0, positions, 1};
    product.accumulate = bias != nullptr;
    T* to = y + out * positions + first;
    if (bias != nullptr) {
      for (int64_t o = 0; o < product.m; ++o)
        std::fill_n(to + o * positions, product.n, bias[group * product.m + o]);
    }
    matmul(product, weight + group * product.m * depth, patches, to);
  });
}

template <class T>
void conv_backward_input(const ConvDesc& d, const T* dy, const T* weight, T* dx) {
  using C = compute_t<T>;
  static thread_local Scratch weight_scratch;
  const int64_t in = d.group_inputs(), out = d.group_outputs();
  const C* wide_weight = widened(d.out_channels * d.depth(), weight, weight_scratch);
  const int64_t most = kInputPatches / std::max<int64_t>(1, d.taps() * d.positions());
  const int64_t channels = std::clamp<int64_t>(most, 1, std::max<int64_t>(1, in));
  const int64_t parts = ceil_div(in, channels);
  parallel_for(d.batch * d.groups * parts, 1, [&](int64_t task, int64_t) {
    static thread_local Scratch dy_scratch, dx_scratch;
    const int64_t first = task % parts * channels, count = std::min(channels, in - first);
    const int64_t group = task / parts % d.groups, sample = task / parts / d.groups;
    const T* from = dy + (sample * d.out_channels + group * out) * d.positions();
    const C* taps = wide_weight + group * out * d.depth() + first * d.taps();
    T* to = dx + (sample * d.in_channels + group * in + first) * d.pixels();
    const C* wide_dy = widened(out * d.positions(), from, dy_scratch);
    if constexpr (is_wide<T>) {
      input_gradient(d, count, wide_dy, taps, to);
    } else {
      C* planes = dx_scratch.get<C>(count * d.pixels());
      input_gradient(d, count, wide_dy, taps, planes);
      narrow(count * d.pixels(), planes, to);
    }
  });
}

template <class T>
void conv_backward_weight(const ConvDesc& d, const T* dy, const T* x, T* dweight) {
  using C = compute_t<T>;
  const int64_t size = d.group_outputs() * d.depth();
  for (int64_t group = 0; group < d.groups; ++group) {
    T* to = dweight + group * size;
    if constexpr (is_wide<T>) {
      weight_gradient(d, group, dy, x, to);
    } else {
      static thread_local Scratch scratch;
      C* wide = scratch.get<C>(size);
      weight_gradient(d, group, dy, x, wide);
      narrow(size, wide, to);
    }
  }
}

#define INSTANTIATE(T)                                                           \
  template void conv_forward(const ConvDesc&, const T*, const T*, const T*, T*); \
  template void conv_backward_input(const ConvDesc&, const T*, const T*, T*);    \
  template void conv_backward_weight(const ConvDesc&, const T*, const T*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
