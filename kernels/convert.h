#pragma once

// Whole-array conversion between a storage type and its compute type, on one thread: the inner
// loops of kernels on bfloat16 and float16.

#include <bit>
#include <cstdint>

#include "kernels/types.h"

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

namespace plinth::kernels {

// The maskz forms are used because GCC 12 warns of an uninitialised value inside the plain ones.

// On the bits, which the compiler vectorises where it does not the conversions of single elements.
inline void widen(int64_t n, const BFloat16* x, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = std::bit_cast<float>(uint32_t{x[i].bits} << 16);
}

inline void narrow(int64_t n, const float* x, BFloat16* out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t u = std::bit_cast<uint32_t>(x[i]);
    const uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    const uint32_t quiet_nan = u | 0x400000u;
    out[i].bits = static_cast<uint16_t>((x[i] == x[i] ? rounded : quiet_nan) >> 16);
  }
}

inline void widen(int64_t n, const Float16* x, float* out) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    _mm512_storeu_ps(out + i, _mm512_maskz_cvtph_ps(0xffff, half));
  }
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
  }
#endif
  for (; i < n; ++i) out[i] = x[i];
}

inline void narrow(int64_t n, const float* x, Float16* out) {
  int64_t i = 0;
#if defined(__AVX512F__)
  for (; i + 16 <= n; i += 16) {
    const __m256i half =
        _mm512_maskz_cvtps_ph(0xffff, _mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), half);
  }
#elif defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
  }
#endif
  for (; i < n; ++i) out[i] = Float16(x[i]);
}

}  // namespace plinth::kernels
