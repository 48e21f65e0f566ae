#include "kernels/dropout/dropout.h"

#include <algorithm>
#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/parallel.h"
#include "kernels/philox_simd.h"

namespace plinth::kernels::cpu {
namespace {

constexpr int64_t kStrip = 1024;  // elements whose random words are made at once

// uniform(word) >= p exactly where word >> 8 >= threshold, both being multiples of 2^-24.
uint32_t keep_threshold(double p) {
  return static_cast<uint32_t>(std::ceil(static_cast<double>(static_cast<float>(p)) * 0x1p24));
}

template <class T>
void apply(int64_t n, const uint32_t* words, uint32_t threshold, compute_t<T> scale, const T* x,
           T* y) {
  using C = compute_t<T>;
  using Words = typename detail::VectorOf<uint32_t, kLanes<C>>::type;
  using Lanes = std::conditional_t<sizeof(C) == 8, Vec<int64_t>, Vec<int32_t>>;
  for_vectors<C>(n, [=](int64_t j, auto part, auto) PLINTH_INLINE_LAMBDA {
    Words w;
    std::memcpy(&w, words + j, sizeof w);
    const Lanes number = __builtin_convertvector(w >> 8, Lanes);
    const Vec<C> kept = load(x + j, part) * scale;
    store(y + j, number >= static_cast<int32_t>(threshold) ? kept : Vec<C>{}, part);
  });
}

}  // namespace

template <class T>
void dropout_forward(int64_t n_samples, int64_t elements_per_sample, double p, const PhiloxKey& key,
                     const T* x, T* y, const DropoutPart& part) {
  using C = compute_t<T>;
  const Philox2 stream = philox_stream(key);
  const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
  const uint32_t threshold = keep_threshold(p);
  const int64_t strips = (elements_per_sample + kStrip - 1) / kStrip;
  const int64_t grain = grain_for(4 * std::min(kStrip, elements_per_sample));
  parallel_for(n_samples * strips, grain, [=](int64_t begin, int64_t end) {
    // Room for words of the first block that are not taken, and for those that the last vector of
    // blocks writes beyond the strip.
    uint32_t words[kStrip + 4 * kPhiloxLanes + 4];
    for (int64_t k = begin; k < end; ++k) {
      const int64_t sample = k / strips,
                    last = std::min((k % strips + 1) * kStrip, elements_per_sample);
      for (int64_t e = k % strips * kStrip, n = 0; e < last; e += n) {
        n = std::min(last, e < part.split ? part.split : last) - e;
        const int64_t word = part.word(e), at = sample * elements_per_sample + e;
        philox_fill(stream, key.sample + sample, word / 4, (word % 4 + n + 3) / 4, words);
        apply(n, words + word % 4, threshold, scale, x + at, y + at);
      }
    }
  });
}

#define INSTANTIATE(T)                                                                    \
  template void dropout_forward(int64_t, int64_t, double, const PhiloxKey&, const T*, T*, \
                                const DropoutPart&);
PLINTH_FOR_EACH_FLOAT(INSTANTIATE)
#undef INSTANTIATE

}  // namespace plinth::kernels::cpu
