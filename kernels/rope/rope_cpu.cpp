#include "kernels/rope/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/vectors.h"

namespace plinth::kernels::cpu {
namespace {

template <class T, class C>
PLINTH_INLINE void rotate_halves(int64_t half, const T* x, const C* cos, const C* sin, C sign,
                                 T* y) {
  for_vectors<C>(half, [=](int64_t i, auto part, auto) PLINTH_INLINE_LAMBDA {
    const auto a = load(x + i, part), b = load(x + half + i, part);
    const auto c = load(cos + i, part), s = load(sin + i, part) * sign;
    store(y + i, a * c - b * s, part);
    store(y + half + i, a * s + b * c, part);
  });
}

// The even and odd lanes of two adjacent vectors, and their inverse.
template <class V, size_t... I>
PLINTH_INLINE std::pair<V, V> split_pairs(V low, V high, std::index_sequence<I...>) {
  return {__builtin_shufflevector(low, high, (2 * I)...),
          __builtin_shufflevector(low, high, (2 * I + 1)...)};
}
template <class V, size_t... I>
PLINTH_INLINE std::pair<V, V> join_pairs(V even, V odd, std::index_sequence<I...>) {
  constexpr size_t n = sizeof...(I);
  return {__builtin_shufflevector(even, odd, (I / 2 + n * (I % 2))...),
          __builtin_shufflevector(even, odd, (n / 2 + I / 2 + n * (I % 2))...)};
}

template <class T, class C>
PLINTH_INLINE void rotate_interleaved(int64_t half, const T* x, const C* cos, const C* sin, C sign,
                                      T* y) {
  constexpr int w = kLanes<C>;
  using Lanes = std::make_index_sequence<w>;
  int64_t i = 0;
  for (; i + w <= half; i += w) {
    const auto [a, b] =
        split_pairs(load(x + 2 * i, Whole{}), load(x + 2 * i + w, Whole{}), Lanes{});
    const auto c = load(cos + i, Whole{}), s = load(sin + i, Whole{}) * sign;
    const auto [low, high] = join_pairs(a * c - b * s, a * s + b * c, Lanes{});
    store(y + 2 * i, low, Whole{});
    store(y + 2 * i + w, high, Whole{});
  }
  for (; i < half; ++i) {
    const C a = x[2 * i], b = x[2 * i + 1];
    const C c = cos[i], s = sign * sin[i];
    y[2 * i] = T(a * c - b * s);
    y[2 * i + 1] = T(a * s + b * c);
  }
}

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double low = scaling.original_positions / scaling.low_freq_factor;
  const double high = scaling.original_positions / scaling.high_freq_factor;
  if (wavelength > low) return frequency / scaling.factor;
  if (wavelength < high) return frequency;
  const double smooth = (scaling.original_positions / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

template <class T>
void rope(const RopeDesc& desc, const T* x, const compute_t<T>* cos, const compute_t<T>* sin,
          const int64_t* positions, T* y) {
  using C = compute_t<T>;
  const int64_t half = desc.rotary_dim / 2;
  const C sign = desc.inverse ? -1 : 1;
  const int64_t tokens = desc.batch * desc.seq;
  parallel_for(tokens, grain_for(desc.heads * desc.head_dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t b = t / desc.seq, s = t % desc.seq;
      const int64_t position = positions ? positions[t] : desc.offset + s;
      const C* cos_row = cos + position * half;
      const C* sin_row = sin + position * half;
      for (int64_t h = 0; h < desc.heads; ++h) {
        const T* in = x + b * desc.in.batch + s * desc.in.seq + h * desc.in.head;
        T* out = y + b * desc.out.batch + s * desc.out.seq + h * desc.out.head;
        if (desc.interleaved) {
          rotate_interleaved(half, in, cos_row, sin_row, sign, out);
        } else {
          rotate_halves(half, in, cos_row, sin_row, sign, out);
        }
        if (in != out) std::copy(in + desc.rotary_dim, in + desc.head_dim, out + desc.rotary_dim);
      }
    }
  });
}

int64_t first_bad_position(int64_t n, int64_t table_rows, const int64_t* positions) {
  const int64_t* bad =
      std::find_if(positions, positions + n, [=](int64_t p) { return p < 0 || p >= table_rows; });
  return bad == positions + n ? -1 : bad - positions;
}

void rope_frequencies(int64_t rotary_dim, double theta, const RopeScaling& scaling,
                      double* frequencies) {
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * i / rotary_dim);
    switch (scaling.kind) {
      case RopeScaling::Kind::None: frequencies[i] = frequency; break;
      case RopeScaling::Kind::Linear: frequencies[i] = frequency / scaling.factor; break;
      case RopeScaling::Kind::Llama3: frequencies[i] = llama3_frequency(frequency, scaling); break;
    }
  }
}

template <class C>
void rope_table(int64_t rows, int64_t rotary_dim, double theta, const RopeScaling& scaling, C* cos,
                C* sin) {
  const int64_t half = rotary_dim / 2;
  std::vector<double> frequencies(half);
  rope_frequencies(rotary_dim, theta, scaling, frequencies.data());
  parallel_for(rows, grain_for(32 * half), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(p) * frequencies[i];
        cos[p * half + i] = static_cast<C>(std::cos(angle));
        sin[p * half + i] = static_cast<C>(std::sin(angle));
      }
    }
  });
}

#define INSTANTIATE(T)                                                                    \
  template void rope(const RopeDesc&, const T*, const compute_t<T>*, const compute_t<T>*, \
                     const int64_t*, T*);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE
template void rope_table(int64_t, int64_t, double, const RopeScaling&, float*, float*);
template void rope_table(int64_t, int64_t, double, const RopeScaling&, double*, double*);

}  // namespace plinth::kernels::cpu
