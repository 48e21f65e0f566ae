#include "kernels/dropout/dropout_cuda.h"

#include <cmath>

#include "kernels/instantiate.h"
#include "kernels/philox_place.cuh"
#include "kernels/rows_cuda.cuh"

namespace plinth::kernels::cuda {
namespace {

// Elements of a thread: whole vectors, and whole blocks of Philox's four numbers.
template <class T>
constexpr int kUnit = kVectorWidth<T> > 4 ? kVectorWidth<T> : 4;

constexpr uint32_t kThreads = 256;

// How a unit reads memory, and whether its words are whole Philox blocks.
enum class Access { Vectors, Blocks, Words };

// The words of elements [e, e + 4) of a sample.
template <Access kAccess>
PLINTH_DEVICE void draw(const PhiloxArgument& random, int64_t sample, const DropoutPart& part,
                        int64_t e, uint32_t* words) {
  if constexpr (kAccess != Access::Words) {
    const Philox4 numbers = philox(random.stream, random.key.sample + sample, part.word(e) / 4);
    PLINTH_UNROLL
    for (int i = 0; i < 4; ++i) words[i] = numbers[i];
  } else {
    PLINTH_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64_t word = part.word(e + i);
      const Philox4 numbers = philox(random.stream, random.key.sample + sample, word / 4);
      // Selected without an index, which would put the numbers in memory.
      const uint32_t low = word % 2 == 0 ? numbers[0] : numbers[1];
      const uint32_t high = word % 2 == 0 ? numbers[2] : numbers[3];
      words[i] = word % 4 < 2 ? low : high;
    }
  }
}

template <class T, Access kAccess>
PLINTH_KERNEL void dropout_kernel(int64_t n_samples, int64_t elements, uint32_t threshold,
                                  compute_t<T> scale, PhiloxArgument random, DropoutPart part,
                                  Global<const T> x, Global<T> y) {
  constexpr int kWidth = kAccess == Access::Vectors ? kVectorWidth<T> : 1;
  const int64_t unit = static_cast<int64_t>(block_index().x) * block_threads() + thread_index();
  const int64_t begin = unit * kUnit<T>;
  if (begin >= elements) return;
  random.read_place();
  for (int64_t sample = block_index().y; sample < n_samples; sample += grid_blocks().y) {
    uint32_t words[kUnit<T>];
    PLINTH_UNROLL
    for (int e = 0; e < kUnit<T>; e += 4) draw<kAccess>(random, sample, part, begin + e, words + e);
    PLINTH_UNROLL
    for (int i = 0; i < kUnit<T>; i += kWidth) {
      if (begin + i >= elements) break;
      const int64_t at = sample * elements + begin + i;
      compute_t<T> v[kWidth];
      read<T>(x + at, v);
      PLINTH_UNROLL
      for (int e = 0; e < kWidth; ++e)
        v[e] = (words[i + e] >> 8) >= threshold ? v[e] * scale : compute_t<T>(0);
      write<T>(y + at, v);
    }
  }
}

// uniform(word) >= p exactly where word >> 8 >= this, both being multiples of 2^-24.
uint32_t keep_threshold(double p) {
  return static_cast<uint32_t>(std::ceil(static_cast<double>(static_cast<float>(p)) * 0x1p24));
}

}  // namespace

template <class T>
void dropout_forward(void* stream, int64_t n_samples, int64_t elements_per_sample, double p,
                     const PhiloxKey& key, const T* x, T* y, const DropoutPart& part) {
  using C = compute_t<T>;
  if (n_samples == 0 || elements_per_sample == 0) return;
  constexpr int64_t kMaxSamples = 65535;  // of a grid
  const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
  const int64_t units = ceil_div(elements_per_sample, kUnit<T>);
  const LaunchShape shape{
      {static_cast<uint32_t>(ceil_div(units, kThreads)),
       static_cast<uint32_t>(n_samples < kMaxSamples ? n_samples : kMaxSamples)},
      {kThreads},
      0};
  const bool whole = elements_per_sample % kUnit<T> == 0 && common_offset(x, y) == 0;
  const bool splits = part.split < elements_per_sample;
  const bool in_blocks =
      part.first % 4 == 0 && (!splits || (part.split % 4 == 0 && part.jump % 4 == 0));
  const auto kernel = !in_blocks ? dropout_kernel<T, Access::Words>
                      : whole    ? dropout_kernel<T, Access::Vectors>
                                 : dropout_kernel<T, Access::Blocks>;
  launch("dropout", kernel, shape, static_cast<Stream>(stream), n_samples, elements_per_sample,
         keep_threshold(p), scale, PhiloxArgument(key), part, x, y);
}

#define PLINTH_INSTANTIATE(T)                                                                   \
  template void dropout_forward<T>(void*, int64_t, int64_t, double, const PhiloxKey&, const T*, \
                                   T*, const DropoutPart&);
PLINTH_FOR_EACH_FLOAT(PLINTH_INSTANTIATE)
#undef PLINTH_INSTANTIATE

}  // namespace plinth::kernels::cuda
