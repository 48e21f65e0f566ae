#pragma once

// Runs of Philox numbers, eight blocks at a time in 64-bit lanes where the machine multiplies
// those: the numbers of philox.h, in the order of their elements.

#include "kernels/philox.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace plinth::kernels {

inline constexpr int kPhiloxRunBlocks = 8;
inline constexpr int kPhiloxRun = 4 * kPhiloxRunBlocks;

// out[4 i + w] = philox(stream, sample, first_block + i)[w], i < kPhiloxRunBlocks.
[[gnu::always_inline]] inline void philox_run(Philox2 stream, int64_t sample, int64_t first_block,
                                              uint32_t* out) {
#ifdef __AVX512F__
  typedef uint64_t Words __attribute__((vector_size(64)));
  const auto multiply = [](Words x, uint32_t constant) {  // of the lower halves
    return reinterpret_cast<Words>(
        _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(x), _mm512_set1_epi64(constant)));
  };
  // Only the lower half of a lane counts until the end.
  const Words counter = static_cast<uint64_t>(first_block) + Words{0, 1, 2, 3, 4, 5, 6, 7};
  Words w0 = counter, w1 = counter >> 32;
  Words w2 = Words{} + static_cast<uint64_t>(sample), w3 = w2 >> 32;
  for (int round = 0; round < 10; ++round) {
    const Words product0 = multiply(w0, 0xD2511F53u), product1 = multiply(w2, 0xCD9E8D57u);
    w0 = (product1 >> 32) ^ w1 ^ stream[0];
    w2 = (product0 >> 32) ^ w3 ^ stream[1];
    w1 = product1;
    w3 = product0;
    stream = {stream[0] + 0x9E3779B9u, stream[1] + 0xBB67AE85u};
  }
  const Words low = (w0 & 0xffffffffu) | (w1 << 32), high = (w2 & 0xffffffffu) | (w3 << 32);
  const Words first = __builtin_shuffle(low, high, Words{0, 8, 1, 9, 2, 10, 3, 11});
  const Words second = __builtin_shuffle(low, high, Words{4, 12, 5, 13, 6, 14, 7, 15});
  _mm512_storeu_si512(out, reinterpret_cast<__m512i>(first));
  _mm512_storeu_si512(out + kPhiloxRun / 2, reinterpret_cast<__m512i>(second));
#else
  for (int i = 0; i < kPhiloxRunBlocks; ++i) {
    const Philox4 words = philox(stream, sample, first_block + i);
    for (int w = 0; w < 4; ++w) out[4 * i + w] = words[w];
  }
#endif
}

// The words that uniform() maps below p, 0 <= p < 1, are those below this.
inline uint32_t uniform_threshold(float p) {
  const float scaled = p * 0x1p24f;  // exact
  const auto whole = static_cast<uint32_t>(scaled);
  return (whole + (static_cast<float>(whole) < scaled ? 1 : 0)) << 8;
}

}  // namespace plinth::kernels
